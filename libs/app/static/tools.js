// What the mouse, pen or finger does on the frame.

import { stop } from "./runs.js";
import { changed, command, store, subscribe, tell } from "./store.js";
import { dropDraft, newDraft, sendDraft, thinned } from "./strokes.js";
import { onScreen, pan, pixelsPerUnit, place, setCursor, unitOfPage, view, zoom } from "./view.js";

const canvas = document.getElementById("canvas");
const CLICK = 4; // CSS pixels: what moves less is a click, not a stroke
const ERASER = 12; // of the page's units
const [LEFT, MIDDLE, RIGHT, PEN_ERASER] = [0, 1, 2, 5]; // others lead back and forth in the browser
const fingers = new Map(); // those on the frame, by pointer id: where they are
let gesture = null;

const eraserRadius = () => (ERASER * unitOfPage()) / view.scale / store.state.video.width;
const inside = ({ x, y }) => x >= 0 && x <= 1 && y >= 0 && y <= 1;
const clamp = (value) => Math.min(Math.max(value, 0), 1);

canvas.addEventListener("contextmenu", (event) => event.preventDefault());

canvas.addEventListener("pointerdown", (event) => {
  if (!store.state.video || ![LEFT, MIDDLE, RIGHT, PEN_ERASER].includes(event.button)) return;
  const at = place(event);
  if (event.pointerType === "touch") putFinger(event, at);
  if (gesture) return;
  const pen = event.button === PEN_ERASER;
  const moving = event.button === MIDDLE || (store.tool === "pan" && !pen) || (event.button === LEFT && event.ctrlKey);
  if (!moving && (!inside(at) || !mayDraw())) return;
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  const common = { id: event.pointerId, start: at, last: at, began: performance.now(), frame: store.frame };
  if (moving) gesture = { ...common, kind: "pan" };
  else if (pen || store.tool === "eraser") gesture = { ...common, kind: "erase", path: [[at.x, at.y]], radius: eraserRadius() };
  else beginStroke(event, common, at);
  event.preventDefault();
});

// Whether anything may be drawn now; says why not.
function mayDraw() {
  stop();
  if (store.state.job) tell("a run is going on. Cancel it (Esc) or wait for its end before drawing.");
  else if (store.state.study && !store.state.study.started) tell("press Start first: the clock begins with it.");
  else if (onScreen().frame !== store.frame) tell(`frame ${store.frame + 1} is not on the screen. Draw when you see it.`);
  else return true;
  return false;
}

function beginStroke(event, common, at) {
  const object = event.button === RIGHT ? 0 : store.object;
  const entry = store.state.objects.find((o) => o.id === object);
  if (object !== 0 && !entry) {
    tell("there is no object to draw. Add one first.");
    return;
  }
  if (entry?.locked) {
    tell(`${entry.name} is locked. Unlock it to draw on it.`);
    return;
  }
  const draft = newDraft({ kind: "stroke", object_id: object, points: [[clamp(at.x), clamp(at.y)]] });
  gesture = { ...common, kind: "stroke", draft };
  store.drafts.push(draft);
  changed("drafts");
}

canvas.addEventListener("pointermove", (event) => {
  if (!store.state.video) return;
  const at = place(event);
  if (fingers.has(event.pointerId)) moveFinger(event.pointerId, at);
  if (store.tool === "eraser" || gesture?.kind === "erase") setCursor({ x: at.x, y: at.y, radius: gesture?.radius ?? eraserRadius() });
  if (gesture?.id !== event.pointerId) return;
  if (gesture.kind === "pan") pan(at.px - gesture.last.px, at.py - gesture.last.py);
  const events = event.getCoalescedEvents?.() || [];
  for (const part of events.length ? events : [event]) {
    const { x, y } = place(part);
    if (gesture.kind === "erase") gesture.path.push([clamp(x), clamp(y)]);
    if (gesture.kind === "stroke") gesture.draft.mark.points.push([clamp(x), clamp(y)]);
  }
  gesture.last = at;
  if (gesture.kind === "stroke") changed("drafts");
});

canvas.addEventListener("pointerup", (event) => {
  liftFinger(event.pointerId);
  if (gesture?.id === event.pointerId) finish();
});

canvas.addEventListener("pointercancel", (event) => {
  liftFinger(event.pointerId);
  if (gesture?.id === event.pointerId) abandon();
});

canvas.addEventListener("pointerleave", () => setCursor(null));

function finish() {
  const done = gesture;
  gesture = null;
  if (done.kind === "stroke") finishStroke(done);
  if (done.kind === "erase") command("erase", { frame: done.frame, path: thinned(done.path), radius: done.radius });
  if (store.tool !== "eraser") setCursor(null);
}

function abandon() {
  if (gesture?.draft) dropDraft(gesture.draft);
  gesture = null;
}

function finishStroke({ draft, start, began }) {
  const { mark } = draft;
  const { video } = store.state;
  const far = mark.points.some(
    ([x, y]) => Math.hypot((x - start.x) * video.width, (y - start.y) * video.height) * view.scale > CLICK * pixelsPerUnit(),
  );
  if (!far) Object.assign(mark, { kind: "click", points: [mark.points[0]] });
  mark.points = thinned(mark.points.filter((p, i, all) => i === 0 || p[0] !== all[i - 1][0] || p[1] !== all[i - 1][1]));
  draft.seconds = (performance.now() - began) / 1000;
  changed("drafts");
  sendDraft(draft);
}

// What is being drawn belongs to what was on the screen when it began.
subscribe((what) => {
  if (!["stroke", "erase"].includes(gesture?.kind)) return;
  if (what.has("video")) {
    abandon();
    tell("another video was opened while you were drawing; that stroke was dropped.");
  } else if (what.has("frame") && store.frame !== gesture.frame) finish();
});

// ---- two fingers

// With the second one, the first meant no stroke.  A hand that rests on the screen beside the pen means nothing.
function putFinger(event, at) {
  const other = gesture && !fingers.has(gesture.id);
  fingers.set(event.pointerId, at);
  if (other || fingers.size !== 2) return;
  abandon();
  canvas.setPointerCapture(event.pointerId);
  gesture = { kind: "pinch" };
}

function moveFinger(id, at) {
  const before = [...fingers.values()];
  fingers.set(id, at);
  if (gesture?.kind !== "pinch" || fingers.size !== 2) return;
  const [old, now] = [before, [...fingers.values()]].map(([a, b]) => ({
    x: (a.px + b.px) / 2,
    y: (a.py + b.py) / 2,
    apart: Math.hypot(a.px - b.px, a.py - b.py),
  }));
  pan(now.x - old.x, now.y - old.y);
  if (old.apart > 0) zoom(now.apart / old.apart, now.x, now.y);
}

// The finger that is left does nothing until it is lifted too.
function liftFinger(id) {
  if (fingers.delete(id) && fingers.size === 0 && gesture?.kind === "pinch") gesture = null;
}

canvas.addEventListener(
  "wheel",
  (event) => {
    if (!store.state.video) return;
    event.preventDefault();
    const { px, py } = place(event);
    zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0016)), px, py);
  },
  { passive: false },
);

// Take away what was drawn on this frame and not run yet.
export function clearStrokes() {
  if (store.state.marks[store.frame]) command("clear", { frame: store.frame });
}

const clear = document.getElementById("clear");
clear.onclick = clearStrokes;
subscribe((what) => {
  if (["state", "job", "frame"].some((name) => what.has(name))) {
    clear.disabled = Boolean(store.state.job) || !store.state.marks[store.frame];
  }
});

// ---- choosing a tool

const tools = { brush: "crosshair", eraser: "none", pan: "grab" };

export function chooseTool(tool) {
  store.tool = tool;
  changed("tool");
}

const toolButton = (tool) => document.getElementById(`tool-${tool}`);

for (const tool of Object.keys(tools)) toolButton(tool).onclick = () => chooseTool(tool);

// As in every group of radio buttons, the arrow keys choose.
document.getElementById("tools").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  event.stopPropagation();
  const names = Object.keys(tools);
  chooseTool(names[(names.indexOf(store.tool) + step + names.length) % names.length]);
  toolButton(store.tool).focus();
});

subscribe((what) => {
  if (!what.has("tool")) return;
  for (const [tool, shape] of Object.entries(tools)) {
    toolButton(tool).setAttribute("aria-checked", String(tool === store.tool));
    toolButton(tool).tabIndex = tool === store.tool ? 0 : -1;
    if (tool === store.tool) canvas.style.cursor = shape;
  }
  if (store.tool !== "eraser") setCursor(null);
});
