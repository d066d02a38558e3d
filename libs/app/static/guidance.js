// Where to look next: the frame whose annotation should help most, and four candidates.

import { paintThumbnail } from "./colours.js";
import * as media from "./media.js";
import { scoreText, showFrame, store, subscribe } from "./store.js";

const next = document.getElementById("next");
const box = document.getElementById("candidates");

// While a run is going on most frames have no new score yet, so there is nothing to propose.
export const candidates = () => (store.state.job ? [] : store.state.recommended.RS4 || []);

export function goToNext() {
  const [frame] = store.state.recommended.RS1 || [];
  if (frame !== undefined) showFrame(frame);
}

export function goToCandidate(index) {
  const frame = candidates()[index];
  if (frame !== undefined) showFrame(frame);
}

async function picture(canvas, frame) {
  const [thumbnail, mask] = await Promise.all([media.thumbnail(frame), media.smallMask(frame)]);
  await paintThumbnail(canvas, thumbnail, mask);
}

function fill(button, frame, title) {
  const canvas = document.createElement("canvas");
  const { video } = store.state;
  Object.assign(canvas, { width: video.width, height: video.height }); // keeps the place until the picture is there
  const caption = document.createElement("span");
  caption.className = "caption";
  const name = document.createElement("b");
  name.textContent = title;
  const facts = document.createElement("span");
  facts.textContent = `${frame + 1} · ${scoreText(store.scores[frame])}`;
  caption.append(name, facts);
  button.replaceChildren(canvas, caption);
  button.dataset.frame = frame;
  button.title = `Frame ${frame + 1}, R-score ${scoreText(store.scores[frame])}`;
  button.setAttribute("aria-label", `${title}: frame ${frame + 1}, R-score ${scoreText(store.scores[frame])}`);
  picture(canvas, frame).catch(() => {});
}

function draw() {
  const { study } = store.state;
  const offered = !study || study.guidance;
  const first = !study || study.guidance === "RS1" ? store.state.recommended.RS1?.[0] : undefined;
  const four = !study || study.guidance === "RS4" ? candidates() : [];
  const any = first !== undefined || four.length > 0;
  document.getElementById("guidance-empty").hidden = any || !offered;
  document.getElementById("guidance-none").hidden = Boolean(offered);
  document.getElementById("guidance-note").hidden = !any;
  next.hidden = first === undefined;
  if (first !== undefined) fill(next, first, "Next (N)");
  box.replaceChildren(
    ...four.map((frame, index) => {
      const button = document.createElement("button");
      fill(button, frame, "ABCD"[index]);
      button.onclick = () => goToCandidate(index);
      return button;
    }),
  );
  mark();
}

function mark() {
  for (const button of [next, ...box.children]) button.classList.toggle("here", Number(button.dataset.frame) === store.frame);
}

next.onclick = goToNext;

subscribe((what) => {
  if (!store.state.video) return;
  if (store.state.job) return mark();
  if (["scores", "state", "display"].some((name) => what.has(name))) draw();
  else if (what.has("frame")) mark();
});
