// Running, progress, cancelling; undo and redo; playback.

import * as api from "./api.js";
import { goToNext } from "./guidance.js";
import { forgetMasks } from "./media.js";
import { announce, changed, command, occupied, refresh, showFrame, store, subscribe, tell } from "./store.js";
import { load } from "./view.js";

const element = (id) => document.getElementById(id);
let returnTo = null; // the frame that the user looked at when the run began

function range(id) {
  const value = parseInt(element(id).value, 10);
  return Number.isFinite(value) ? value - 1 : null;
}

// The shown frame becomes the first, or the last, of the next runs; once more, and the range is open at that end again.
function setRange(id) {
  const input = element(id);
  input.value = range(id) === store.frame ? "" : store.frame + 1;
  changed("range");
}

export const beginRange = () => setRange("first");
export const endRange = () => setRange("last");

// The frames of the next run, both included: the whole video unless the fields say less.
export function runRange() {
  return { first: range("first") ?? 0, last: range("last") ?? Infinity };
}

export async function run() {
  if (store.state.job || occupied()) return;
  stop();
  await command("run", { direction: element("direction").value, first: range("first"), last: range("last") });
}

export async function segmentFrame() {
  if (store.state.job || occupied()) return;
  stop();
  await command("segment", { frame: store.frame });
}

export function cancel() {
  if (store.state.job) api.post("/api/cancel", {}).catch((error) => tell(error.message));
}

export async function step(direction) {
  if (store.state.job) return;
  const answer = await command(direction);
  if (answer && answer.frame !== null) showFrame(answer.frame);
}

// ---- events of the server

export function handle(event) {
  if (event.type === "changed") {
    const { session, revision } = store.state;
    if (event.session !== session || event.revision > revision) refresh().catch(() => {});
  } else if (event.type === "refresh") refresh().catch(() => {});
  else if (event.type === "started") {
    if (event.job.label === "The run") returnTo = store.frame;
    setJob(event.job);
  } else if (event.type === "progress") progressed(event);
  else if (event.type === "finished" || event.type === "failed") ended(event);
}

function setJob(job) {
  store.state = { ...store.state, job };
  changed("job");
}

function progressed(event) {
  setJob(event.job);
  if (event.frame === undefined) return;
  store.scores[event.frame] = event.score;
  store.scoresVersion = null;
  forgetMasks(event.frame);
  if (store.display.follow && !store.truth) showFrame(event.frame);
  changed("scores");
  if (event.frame === store.frame) load();
}

async function ended(event) {
  setJob(null);
  const shown = store.frame; // whoever goes elsewhere while the page asks for the new state, stays there
  await refresh().catch(() => {});
  if (event.type === "failed") tell(event.message);
  if (event.label === "The run") {
    // RS1 leads the user of the evaluation to the frame to correct, as the published interface does.
    if (store.state.study?.guidance === "RS1") goToNext();
    else if (returnTo !== null && store.display.follow && store.frame === shown) showFrame(returnTo);
    returnTo = null;
    if (event.type === "finished") announce(event.cancelled ? "The run was stopped." : "The run is complete.");
  } else if (event.download) {
    tell("The export is ready.", { good: true, link: event.download, linkText: "Download it" });
    const link = document.createElement("a");
    Object.assign(link, { href: event.download, download: "" });
    if (store.awaitsDownload) link.click();
    store.awaitsDownload = false;
  } else if (event.path) tell(`The export is in ${event.path}.`, { good: true });
  else if (event.masks) tell(`Masks of ${event.masks} frames were imported.`, { good: true });
}

// ---- playback

let playing = 0;

export function play() {
  if (playing) return stop();
  const { video } = store.state;
  if (!video) return;
  if (store.frame === video.frames - 1) showFrame(0);
  let began = performance.now();
  let from = store.frame;
  playing = setInterval(() => {
    const frame = from + Math.floor(((performance.now() - began) / 1000) * video.frames_per_second);
    if (frame >= video.frames) {
      showFrame(video.frames - 1);
      stop();
    } else showFrame(frame);
  }, 1000 / Math.min(video.frames_per_second, 60));
  showPlaying(true);
}

export function stop() {
  clearInterval(playing);
  playing = 0;
  showPlaying(false);
}

function showPlaying(now) {
  const [toPlay, toPause] = element("play").querySelectorAll("svg");
  toPlay.toggleAttribute("hidden", now);
  toPause.toggleAttribute("hidden", !now);
}

// ---- the bar

function seconds(value) {
  if (value === null) return "";
  const whole = Math.ceil(value);
  return whole < 60 ? `${whole} s left` : `${Math.floor(whole / 60)} min ${whole % 60} s left`;
}

subscribe((what) => {
  const { state } = store;
  if (what.has("job") || what.has("state") || what.has("working")) {
    const { job } = state;
    element("progress").hidden = !job;
    if (job) {
      const name = job.label === "The run" ? "Running" : job.label === "The export" ? "Exporting" : "Importing";
      element("progress-text").textContent = job.total ? `${name} · ${job.done} of ${job.total} · ${seconds(job.seconds_left)}` : `${name}…`;
      element("progress-bar").max = job.total || 1;
      element("progress-bar").value = job.done;
    }
    const marked = Object.keys(state.marks).length > 0;
    element("run").disabled = Boolean(job) || occupied() || !(marked || state.rounds.length);
    element("undo").disabled = Boolean(job) || !state.undo;
    element("redo").disabled = Boolean(job) || !state.redo;
    element("undo").title = state.undo ? `Undo: ${state.undo.label} (Ctrl-Z)` : "Nothing to undo";
    element("redo").title = state.redo ? `Redo: ${state.redo.label} (Ctrl-Shift-Z)` : "Nothing to redo";
    for (const id of ["export", "satisfied", "open"]) element(id).disabled = Boolean(job);
  }
  if (["job", "state", "working", "frame"].some((name) => what.has(name))) {
    element("segment").disabled = Boolean(state.job) || occupied() || !state.marks[store.frame];
  }
});

for (const id of ["first", "last"]) element(id).oninput = () => changed("range");
subscribe((what) => {
  if (what.has("video")) for (const id of ["first", "last"]) element(id).value = "";
});

element("run").onclick = run;
element("segment").onclick = segmentFrame;
element("cancel").onclick = cancel;
element("undo").onclick = () => step("undo");
element("redo").onclick = () => step("redo");
element("play").onclick = play;
element("previous").onclick = () => showFrame(store.frame - 1);
element("following").onclick = () => showFrame(store.frame + 1);
element("frame-number").onchange = (event) => {
  showFrame(event.target.value - 1);
  event.target.value = store.frame + 1;
};
