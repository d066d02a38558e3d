// The keyboard.

import { openHelp } from "./dialogs.js";
import { goToCandidate, goToNext } from "./guidance.js";
import { addObject, chooseObject } from "./objects.js";
import { beginRange, cancel, endRange, play, run, segmentFrame, step } from "./runs.js";
import { changed, showFrame, store } from "./store.js";
import { satisfied, toggleTruth } from "./study.js";
import { chooseTool, clearStrokes } from "./tools.js";
import { fit, zoom } from "./view.js";

function annotated(direction) {
  const frames = [...new Set([...store.state.rounds.map((r) => r.frame), ...Object.keys(store.state.marks).map(Number)])];
  const ahead = frames.filter((f) => (f - store.frame) * direction > 0).sort((a, b) => (a - b) * direction);
  if (ahead.length) showFrame(ahead[0]);
}

function toggleMasks() {
  store.display.masks = !store.display.masks;
  changed("display");
}

function chooseNumber(number) {
  if (number === 0) chooseObject(0);
  else if (store.state.objects[number - 1]) chooseObject(store.state.objects[number - 1].id);
}

const actions = {
  ArrowLeft: (event) => showFrame(store.frame - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => showFrame(store.frame + (event.shiftKey ? 10 : 1)),
  ArrowUp: () => annotated(-1),
  ArrowDown: () => annotated(1),
  Home: () => showFrame(0),
  End: () => showFrame(store.state.video.frames - 1),
  " ": play,
  p: play,
  r: run,
  Enter: segmentFrame,
  Escape: cancel,
  s: satisfied,
  n: goToNext,
  a: () => goToCandidate(0),
  b: () => goToCandidate(1),
  c: () => goToCandidate(2),
  d: () => goToCandidate(3),
  q: () => chooseTool("brush"),
  e: () => chooseTool("eraser"),
  v: () => chooseTool("pan"),
  o: addObject,
  f: fit,
  h: toggleMasks,
  g: toggleTruth,
  Delete: clearStrokes,
  Backspace: clearStrokes,
  "[": beginRange,
  "]": endRange,
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
};

addEventListener("keydown", (event) => {
  const { target } = event;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && store.state.job) {
    event.preventDefault();
    return cancel();
  }
  if (target.matches("input[type=text], input[type=number], select")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "?") {
    event.preventDefault();
    return openHelp();
  }
  if (!store.state.video || event.altKey) return;
  if (event.ctrlKey || event.metaKey) {
    const direction = key === "y" || (key === "z" && event.shiftKey) ? "redo" : key === "z" ? "undo" : null;
    if (!direction) return;
    event.preventDefault();
    return step(direction);
  }
  // A focused button, slider or tick box keeps its own keys.
  if (target.matches("button, input") && [" ", "Enter"].includes(key)) return;
  if (target.matches("input[type=range]") && key.startsWith("Arrow")) return;
  const action = /^[0-9]$/.test(key) ? () => chooseNumber(Number(key)) : actions[key];
  if (!action) return;
  if (event.repeat && ["r", "Enter", "s", "o", "p", " "].includes(key)) return;
  event.preventDefault();
  action(event);
});
