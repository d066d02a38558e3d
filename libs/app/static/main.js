// Puts the page together.

import { listen } from "./api.js";
import "./dialogs.js";
import "./keys.js";
import { handle, runRange } from "./runs.js";
import { candidates } from "./guidance.js";
import "./objects.js";
import { annotatedRounds, changed, raise, refresh, scoreText, showFrame, store, subscribe, tell } from "./store.js";
import "./study.js";
import "./timeline.js";
import { chooseTool } from "./tools.js";
import { fit, onScreen, place, view, zoom } from "./view.js";

const element = (id) => document.getElementById(id);

// ---- display settings

const settings = { opacity: "opacity", palette: "palette", contours: "contours", masks: "show-masks", given: "show-given", follow: "follow" };

for (const [name, id] of Object.entries(settings)) {
  const input = element(id);
  input.oninput = () => {
    store.display[name] = input.type === "checkbox" ? input.checked : input.type === "range" ? Number(input.value) : input.value;
    changed("display");
  };
}

subscribe((what) => {
  if (!what.has("display")) return;
  for (const [name, id] of Object.entries(settings)) {
    const input = element(id);
    if (input.type === "checkbox") input.checked = store.display[name];
    else input.value = store.display[name];
  }
});

element("zoom-in").onclick = () => zoom(1.25);
element("zoom-out").onclick = () => zoom(0.8);
element("zoom-fit").onclick = fit;

// The frame shows that it has the focus only to those who move with the Tab key.
addEventListener("keydown", (event) => event.key === "Tab" && document.body.classList.add("tabbing"));
addEventListener("pointerdown", () => document.body.classList.remove("tabbing"));

// ---- texts about the video and the frame

function hint() {
  const { video, marks, rounds, job, study, objects, predicted } = store.state;
  if (!video || job || study) return "";
  const marked = Object.keys(marks).length;
  if (!rounds.length && !marked) return "Draw over an object with the left mouse button. The right button marks what it is not.";
  if (!rounds.length) return "Press R to follow the object through the video, or Enter to segment only this frame.";
  if (marked) return "Press R to take the new strokes into account.";
  const missing = video.frames - predicted;
  if (missing > 0 && objects.length) return `${missing} ${missing === 1 ? "frame is" : "frames are"} not segmented yet. Press R to ${goOn()}.`;
  return "";
}

function goOn() {
  const { first, last } = runRange();
  if (first <= 0 && last >= store.state.video.frames - 1) return "go on";
  return `run frames ${first + 1} to ${Math.min(last + 1, store.state.video.frames)}; empty the fields "first" and "last" to run all of them`;
}

subscribe((what) => {
  const { video } = store.state;
  if (what.has("state")) {
    element("video-name").textContent = video ? video.name : "GIS";
    element("video-facts").textContent = video ? `${video.frames} frames, ${video.width}×${video.height}` : "guided video segmentation";
    document.title = video ? `${video.name} – GIS` : "GIS: guided video segmentation";
    if (video) for (const id of ["first", "last", "frame-number"]) element(id).max = video.frames;
  }
  if (what.has("state") || what.has("job") || what.has("range")) {
    element("hint").textContent = hint();
    element("hint").hidden = !hint();
  }
  if (what.has("frame") || what.has("scores") || what.has("state")) {
    // A number that is being typed stays: the server speaks at any moment, in a run several times a second.
    const number = element("frame-number");
    if (what.has("frame") || document.activeElement !== number) number.value = store.frame + 1;
    const rounds = annotatedRounds(store.frame).map((round) => round.number);
    const secret = store.state.study && !store.state.study.guidance;
    const facts = [video ? `of ${video.frames}` : ""];
    element("canvas").setAttribute("aria-label", `Frame ${store.frame + 1} with masks and strokes`);
    if (!secret) facts.push(`R-score ${scoreText(store.scores[store.frame])}`);
    if (rounds.length) facts.push(`round ${rounds.join(", ")}`);
    element("frame-facts").textContent = facts.join(" · ");
  }
});

// ---- what is under way

const SOON = 300; // milliseconds: what is over by then needs no sign
let waiting = 0;

subscribe((what) => {
  if (!what.has("working")) return;
  const sign = element("working");
  const [first] = store.working;
  if (first) element("working-text").textContent = `${first.words}…`;
  else sign.hidden = true;
  if (!first || waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    raise();
    sign.hidden = !store.working.length;
  }, SOON);
});

// ---- begin

let lost = null; // the message that says so

function disconnected(text) {
  lost?.remove();
  lost = tell(text, { lasting: true });
  store.connected = false;
}

const listenAgain = listen(handle, {
  lost() {
    if (store.connected) disconnected("The connection to the server is lost; trying again. Everything that it has received is saved.");
  },
  found() {
    store.connected = true;
    lost?.remove();
    refresh().catch((error) => tell(error.message));
  },
  refused() {
    disconnected("The server does not let this page in any more: it was probably started anew. Open the address that it printed then. Everything that it has received is saved.");
  },
  needed: () => Boolean(store.state.job), // its end is told only once
});
subscribe((what) => what.has("job") && listenAgain());
chooseTool("brush");
changed("display");
refresh().catch((error) => tell(error.message));

// For tests and for the curious, in the browser's console.
window.gis = { store, changed, view, onScreen, place, showFrame, candidates };
