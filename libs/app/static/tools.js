// What the mouse, pen or finger does on the frame.

import { command, changed, enqueue, store, subscribe, tell, ticket } from "./store.js";
import * as api from "./api.js";
import { pan, place, setCursor, unitOfPage, view, zoom } from "./view.js";

const canvas = document.getElementById("canvas");
const CLICK = 4; // CSS pixels: what moves less is a click, not a stroke
const ERASER = 12; // of the page's units
let gesture = null;

const eraserRadius = () => (ERASER * unitOfPage()) / view.scale / store.state.video.width;
const inside = ({ x, y }) => x >= 0 && x <= 1 && y >= 0 && y <= 1;
const clamp = (value) => Math.min(Math.max(value, 0), 1);

canvas.addEventListener("contextmenu", (event) => event.preventDefault());

canvas.addEventListener("pointerdown", (event) => {
  if (!store.state.video || gesture) return;
  const at = place(event);
  const moving = event.button === 1 || store.tool === "pan" || (event.button === 0 && event.ctrlKey);
  if (!moving && !inside(at)) return;
  if (!moving && store.state.job) {
    tell("a run is going on. Cancel it (Esc) or wait for its end before drawing.");
    return;
  }
  if (!moving && store.state.study && !store.state.study.started) {
    tell("press Start first: the clock begins with it.");
    return;
  }
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  const common = { id: event.pointerId, start: at, last: at, began: performance.now(), frame: store.frame };
  if (moving) gesture = { ...common, kind: "pan" };
  else if (store.tool === "eraser") gesture = { ...common, kind: "erase", path: [[at.x, at.y]], radius: eraserRadius() };
  else beginStroke(event, common, at);
  event.preventDefault();
});

function beginStroke(event, common, at) {
  const object = event.button === 2 ? 0 : store.object;
  const entry = store.state.objects.find((o) => o.id === object);
  if (object !== 0 && !entry) {
    tell("there is no object to draw. Add one first.");
    return;
  }
  if (entry?.locked) {
    tell(`${entry.name} is locked. Unlock it to draw on it.`);
    return;
  }
  const mark = { kind: "stroke", object_id: object, points: [[clamp(at.x), clamp(at.y)]] };
  gesture = { ...common, kind: "stroke", draft: { session: store.state.session, frame: store.frame, mark } };
  store.drafts.push(gesture.draft);
  changed("drafts");
}

canvas.addEventListener("pointermove", (event) => {
  if (!store.state.video) return;
  const at = place(event);
  if (store.tool === "eraser") setCursor({ x: at.x, y: at.y, radius: gesture?.radius ?? eraserRadius() });
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
  if (gesture?.id !== event.pointerId) return;
  const done = gesture;
  gesture = null;
  if (done.kind === "stroke") finishStroke(done);
  if (done.kind === "erase") command("erase", { frame: done.frame, path: done.path.slice(0, 20000), radius: done.radius });
});

canvas.addEventListener("pointercancel", () => {
  if (gesture?.draft) store.drafts = store.drafts.filter((draft) => draft !== gesture.draft);
  gesture = null;
  changed("drafts");
});

canvas.addEventListener("pointerleave", () => setCursor(null));

async function finishStroke({ draft, start, last, frame, began }) {
  const { mark } = draft;
  const far = mark.points.some(([x, y]) => {
    const { video } = store.state;
    return Math.hypot((x - start.x) * video.width, (y - start.y) * video.height) * view.scale > CLICK * devicePixelRatio;
  });
  if (!far) Object.assign(mark, { kind: "click", points: [mark.points[0]] });
  mark.points = mark.points.filter((p, i, all) => i === 0 || p[0] !== all[i - 1][0] || p[1] !== all[i - 1][1]);
  changed("drafts");
  const seconds = (performance.now() - began) / 1000;
  await enqueue(() => {
    draft.arrived = true; // the answer's state holds the mark itself
    return api.post("/api/commands/mark", { ...ticket(), frame, mark, seconds });
  });
  store.drafts = store.drafts.filter((other) => other !== draft); // refused: it goes away
  changed("drafts");
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

for (const tool of Object.keys(tools)) {
  document.getElementById(`tool-${tool}`).onclick = () => chooseTool(tool);
}

subscribe((what) => {
  if (!what.has("tool")) return;
  for (const [tool, shape] of Object.entries(tools)) {
    document.getElementById(`tool-${tool}`).setAttribute("aria-checked", String(tool === store.tool));
    if (tool === store.tool) canvas.style.cursor = shape;
  }
  if (store.tool !== "eraser") setCursor(null);
});
