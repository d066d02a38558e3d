// The frame with masks and strokes; zoom and pan.

import * as api from "./api.js";
import { colourOf, paintMask } from "./colours.js";
import * as media from "./media.js";
import { keepSize } from "./pixels.js";
import { annotatedRounds, refresh, store, subscribe, tell } from "./store.js";
import { draftsHere } from "./strokes.js";

const canvas = document.getElementById("canvas");
const stage = document.getElementById("stage");
const context = canvas.getContext("2d");
const MAX_SCALE = 40;

export const view = { scale: 1, x: 0, y: 0, fitted: true }; // device pixels per frame pixel, offset of the frame
let shown = null; // {frame, picture}: what is on the canvas now
let overlay = null; // {frame, canvas}
let truth = null;
const NOTHING_GIVEN = { frame: -1, marks: [] };
let given = NOTHING_GIVEN; // the strokes of earlier rounds on the frame
export let cursor = null; // {x, y, radius} of the eraser, in frame fractions
let wanted = 0;

export function setCursor(value) {
  cursor = value;
  redraw();
}

// ---- what to show

let busy = false;
let again = false;

// Fetch what the current frame needs, then draw.  Only one fetch at a time: while playing, frames in between are skipped.
export async function load() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  do {
    again = false;
    await loadOnce()
      .catch((error) => (error.status === 409 ? refresh() : tell(error.message))) // 409: another video is open by now
      .catch(() => {});
  } while (again);
  busy = false;
}

async function loadOnce() {
  const { video } = store.state;
  if (!video) {
    clear();
    return;
  }
  const { frame } = store;
  const gone = () => store.state.video?.fingerprint !== video.fingerprint;
  const [picture, mask] = await Promise.all([media.picture(frame), media.mask(frame)]).catch((error) => {
    if (!gone() && frame === store.frame) clear(); // nobody should take another frame's picture for this one's
    throw error;
  });
  if (gone()) return;
  shown = { frame, picture };
  overlay = { frame, mask, canvas: paintMask(mask) };
  truth = null;
  if (store.truth) truth = paintMask(await media.truth(frame), undefined, { ...store.display, contours: true });
  if (annotatedRounds(frame).length === 0) given = { frame, marks: [] };
  else if (given.frame !== frame || given.revision !== store.state.revision) {
    const { revision } = store.state;
    const marks = await api.get(`/api/annotations/${frame}`);
    if (gone()) return;
    given = { frame, revision, marks };
  }
  redraw();
  const next = frame + 1;
  if (next < video.frames) media.picture(next).catch(() => {}); // the likely next one
}

function clear() {
  shown = overlay = truth = null;
  given = NOTHING_GIVEN;
  redraw();
}

subscribe((what) => {
  if (what.has("session")) {
    clear();
    media.newVideo();
  }
  if (what.has("video")) fit();
  if (what.has("state") && !what.has("masks")) media.forgetMasks();
  if (["frame", "state", "masks", "truth"].some((name) => what.has(name))) load();
  else if (what.has("display") || what.has("drafts")) {
    if (what.has("display") && overlay) overlay.canvas = paintMask(overlay.mask);
    redraw();
  }
});

// For tests: which frame the canvas shows, and the mask under it.
export function onScreen() {
  return { frame: shown?.frame ?? null, mask: overlay?.mask ?? null, busy };
}

// ---- geometry

export function fit() {
  const { video } = store.state;
  view.fitted = true;
  if (!video) return redraw();
  const margin = 8 * pixelsPerUnit();
  // Room for the hint and the progress bar below, and for the banner of the evaluation above.
  const below = 54 * unitOfPage();
  const above = store.state.study ? 46 * unitOfPage() : margin;
  const height = canvas.height - above - below;
  view.scale = Math.min((canvas.width - 2 * margin) / columns() / video.width, height / video.height);
  view.scale = Math.max(view.scale, 0.01);
  view.x = (canvas.width - columns() * video.width * view.scale) / 2;
  const shownHeight = video.height * view.scale;
  view.y = Math.min(Math.max((canvas.height - shownHeight) / 2, above), canvas.height - below - shownHeight);
  redraw();
}

// Canvas pixels of a CSS pixel.
export const pixelsPerUnit = () => canvas.width / (canvas.getBoundingClientRect().width || 1);

// Canvas pixels of what is one CSS pixel on a small screen; large screens get larger type, and strokes to match.
export const unitOfPage = () => (pixelsPerUnit() * parseFloat(getComputedStyle(document.documentElement).fontSize)) / 14.5;

const columns = () => (store.truth ? 2 : 1); // the ground truth is shown beside

export function zoom(factor, x = canvas.width / 2, y = canvas.height / 2) {
  const scale = Math.min(Math.max(view.scale * factor, 0.02), MAX_SCALE);
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  view.fitted = false;
  redraw();
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  view.fitted = false;
  redraw();
}

// A pointer event's place as fractions of the frame (they may lie outside [0, 1]), and in device pixels.
export function place(event) {
  const box = canvas.getBoundingClientRect();
  // Not devicePixelRatio: it may be another one already than the canvas was made for.
  const px = (event.clientX - box.left) * (canvas.width / box.width);
  const py = (event.clientY - box.top) * (canvas.height / box.height);
  const { video } = store.state;
  return { px, py, x: (px - view.x) / view.scale / video.width, y: (py - view.y) / view.scale / video.height };
}

keepSize(canvas, stage, (factor) => {
  if (view.fitted) return fit();
  for (const name of ["scale", "x", "y"]) view[name] *= factor;
  redraw();
});

// ---- drawing

export function redraw() {
  cancelAnimationFrame(wanted);
  wanted = requestAnimationFrame(draw);
}

function draw() {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const { video } = store.state;
  if (!shown || !video) return;
  context.setTransform(view.scale, 0, 0, view.scale, view.x, view.y);
  context.imageSmoothingEnabled = view.scale < 8; // closer up, the pixels themselves are looked at
  context.imageSmoothingQuality = "high";
  context.drawImage(shown.picture, 0, 0, video.width, video.height);
  if (store.display.masks && overlay?.frame === shown.frame) {
    context.drawImage(overlay.canvas, 0, 0, video.width, video.height);
  }
  if (store.truth && truth) {
    context.drawImage(shown.picture, video.width, 0, video.width, video.height);
    context.drawImage(truth, video.width, 0, video.width, video.height);
  }
  if (store.display.given && given.frame === shown.frame) {
    const shownIds = new Set([0, ...store.state.objects.filter((o) => !o.hidden).map((o) => o.id)]);
    for (const mark of given.marks) if (shownIds.has(mark.object_id)) drawMark(mark, video, 0.45);
  }
  for (const mark of store.state.marks[shown.frame] || []) drawMark(mark, video, 1);
  for (const draft of draftsHere()) if (draft.frame === shown.frame) drawMark(draft.mark, video, 1);
  if (cursor) drawCursor(video);
  if (store.truth && truth) ["your masks", "ground truth"].forEach((text, i) => drawTitle(text, i * video.width, video));
}

// A title on one of the two pictures.
function drawTitle(text, left, video) {
  const unit = unitOfPage() / view.scale;
  context.font = `600 ${13 * unit}px system-ui, "DejaVu Sans", sans-serif`;
  context.fillStyle = "#000b";
  context.fillRect(left, video.height, context.measureText(text).width + 16 * unit, 22 * unit);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, left + 8 * unit, video.height + 11 * unit);
}

function drawMark(mark, video, alpha) {
  const unit = unitOfPage() / view.scale;
  const background = mark.object_id === 0;
  const colour = background ? "#000" : colourOf(mark.object_id);
  context.globalAlpha = alpha;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  const [first, ...rest] = mark.points.map(([x, y]) => [x * video.width, y * video.height]);
  if (mark.kind === "click" || rest.length === 0) {
    context.arc(first[0], first[1], 6 * unit, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
    context.lineWidth = 2 * unit;
    context.setLineDash(background ? [3 * unit, 3 * unit] : []);
    context.strokeStyle = "#fff";
    context.stroke();
  } else {
    context.moveTo(...first);
    for (const point of rest) context.lineTo(...point);
    context.strokeStyle = "#fff";
    context.lineWidth = 7.5 * unit;
    context.setLineDash([]);
    context.stroke();
    context.strokeStyle = colour;
    context.lineWidth = 4.5 * unit;
    context.setLineDash(background ? [9 * unit, 8 * unit] : []);
    context.stroke();
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
}

function drawCursor(video) {
  const unit = unitOfPage() / view.scale;
  context.beginPath();
  context.arc(cursor.x * video.width, cursor.y * video.height, cursor.radius * video.width, 0, 2 * Math.PI);
  context.lineWidth = 3 * unit;
  context.strokeStyle = "#000";
  context.stroke();
  context.lineWidth = 1.5 * unit;
  context.strokeStyle = "#fff";
  context.stroke();
}
