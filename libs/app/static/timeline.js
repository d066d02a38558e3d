// The timeline: R-scores as a strip, rounds, candidates, marked frames; hovering shows thumbnails.

import { paintThumbnail } from "./colours.js";
import { candidates } from "./guidance.js";
import * as media from "./media.js";
import { keepSize } from "./pixels.js";
import { runRange } from "./runs.js";
import { annotatedRounds, scoreText, showFrame, store, subscribe } from "./store.js";

const box = document.getElementById("timeline");
const canvas = document.getElementById("strip");
const preview = document.getElementById("preview");
const context = canvas.getContext("2d");
const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(name).trim();
let wanted = 0;

const count = () => store.state.video?.frames || 1;
const column = (frame) => ((frame + 0.5) / count()) * canvas.width;

function frameAt(event) {
  const area = canvas.getBoundingClientRect();
  return Math.min(Math.max(Math.floor(((event.clientX - area.left) / area.width) * count()), 0), count() - 1);
}

function redraw() {
  cancelAnimationFrame(wanted);
  wanted = requestAnimationFrame(draw);
}

const SPREAD = 0.05; // scores that differ by less look alike, whatever the video's lowest and highest are

// Low scores are orange, high ones blue, between the lowest and the highest score of the video.
function scoreColour(share) {
  const low = [255, 122, 26];
  const high = [63, 143, 216];
  return `rgb(${low.map((value, i) => Math.round(value + (high[i] - value) * share)).join(" ")})`;
}

function draw() {
  const { video, study } = store.state;
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!video) return;
  const unit = devicePixelRatio * (parseFloat(getComputedStyle(document.documentElement).fontSize) / 16);
  const top = 22 * unit;
  const height = canvas.height - top;
  drawScores(top, height, unit, study && !study.guidance);
  drawRange(top, unit);
  const x = column(store.frame);
  context.fillStyle = "#fff";
  context.fillRect(x - 1.25 * unit, 0, 2.5 * unit, canvas.height);
  if (!study || study.guidance === "RS4") drawCandidates(unit, top);
  drawRounds(unit, top);
}

function drawScores(top, height, unit, secret) {
  const known = store.scores.filter((score) => score != null);
  const low = known.reduce((a, b) => Math.min(a, b), Infinity);
  const high = known.reduce((a, b) => Math.max(a, b), -Infinity);
  const frames = count();
  const columns = Math.min(frames, Math.floor(canvas.width / Math.max(1, Math.floor(devicePixelRatio))));
  const width = canvas.width / columns;
  const gap = width > 6 * devicePixelRatio ? devicePixelRatio : 0;
  for (let i = 0; i < columns; i++) {
    let lowest = null; // of the frames under this column: what is worst must be seen
    for (let f = Math.floor((i * frames) / columns); f < Math.floor(((i + 1) * frames) / columns); f++) {
      const score = store.scores[f];
      if (score != null && (lowest === null || score < lowest)) lowest = score;
    }
    const share = lowest === null ? 1 : 1 - (high - lowest) / Math.max(high - low, SPREAD);
    const part = lowest === null || secret ? 0.12 : 0.25 + 0.75 * share;
    context.fillStyle = lowest === null ? colour("--none") : secret ? colour("--high") : scoreColour(share);
    context.fillRect(i * width, top + height * (1 - part), Math.max(width - gap, 1), height * part);
  }
}

// What the next run leaves alone is darkened.
function drawRange(top, unit) {
  const { first, last } = runRange();
  const left = (first / count()) * canvas.width;
  const right = (Math.min(last + 1, count()) / count()) * canvas.width;
  context.fillStyle = "#15181dc0";
  context.fillRect(0, top, left, canvas.height - top);
  context.fillRect(right, top, canvas.width - right, canvas.height - top);
  context.fillStyle = colour("--focus");
  if (first > 0) context.fillRect(left - unit, top - 4 * unit, 2 * unit, canvas.height);
  if (last < count() - 1) context.fillRect(right - unit, top - 4 * unit, 2 * unit, canvas.height);
}

function label(x, text, unit, fill, ink) {
  const size = 9 * unit;
  context.font = `600 ${11 * unit}px system-ui, "DejaVu Sans", sans-serif`;
  const width = Math.max(2 * size, context.measureText(text).width + 8 * unit);
  const left = Math.min(Math.max(x - width / 2, 0), canvas.width - width);
  context.fillStyle = fill;
  context.beginPath();
  context.roundRect(left, 1 * unit, width, 2 * size, size);
  context.fill();
  context.fillStyle = ink;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, left + width / 2, 1 * unit + size);
}

function tick(x, unit, top, fill) {
  context.fillStyle = fill;
  context.fillRect(x - unit, top - 3 * unit, 2 * unit, canvas.height - top + 3 * unit);
}

function drawCandidates(unit, top) {
  candidates().forEach((frame, index) => {
    tick(column(frame), unit, top, "#ffb00099");
    label(column(frame), "ABCD"[index], unit, colour("--accent"), colour("--on-accent"));
  });
}

function drawRounds(unit, top) {
  const rounds = new Map();
  for (const { frame, number } of store.state.rounds) rounds.set(frame, [...(rounds.get(frame) || []), number]);
  for (const [frame, numbers] of rounds) {
    tick(column(frame), unit, top, "#ffffffaa");
    label(column(frame), numbers.join(","), unit, "#fff", "#15181d");
  }
  for (const frame of Object.keys(store.state.marks).map(Number)) {
    tick(column(frame), unit, top, colour("--focus"));
    label(column(frame), "✎", unit, colour("--focus"), "#0b1a26");
  }
}

// ---- pointer and keys

let dragging = false;
box.addEventListener("pointerdown", (event) => {
  dragging = true;
  box.setPointerCapture(event.pointerId);
  showFrame(frameAt(event));
});
box.addEventListener("pointerup", () => (dragging = false));
box.addEventListener("pointermove", (event) => {
  if (!store.state.video) return;
  const frame = frameAt(event);
  if (dragging) showFrame(frame);
  hover(event, frame);
});
box.addEventListener("pointerleave", () => {
  preview.hidden = true;
  hovered = null;
});

let hovered = null;
let timer = 0;

function hover(event, frame) {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const { video } = store.state;
  const width = (7.5 * rem * video.width) / video.height + 0.8 * rem;
  preview.style.left = `${Math.min(Math.max(event.clientX - width / 2, 4), innerWidth - width - 4)}px`;
  preview.style.bottom = `${innerHeight - box.getBoundingClientRect().top + 6}px`;
  if (frame === hovered) return;
  hovered = frame;
  preview.hidden = false;
  const rounds = annotatedRounds(frame).map((round) => round.number);
  const secret = store.state.study && !store.state.study.guidance;
  const facts = [`frame ${frame + 1}`];
  if (!secret) facts.push(`R-score ${scoreText(store.scores[frame])}`);
  if (rounds.length) facts.push(`round ${rounds.join(", ")}`);
  preview.querySelector("span").textContent = facts.join(" · ");
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const pair = await Promise.all([media.thumbnail(frame), media.smallMask(frame)]).catch(() => null);
    if (pair && hovered === frame) paintThumbnail(preview.querySelector("canvas"), ...pair);
  }, 40);
}

keepSize(canvas, box, redraw);

subscribe((what) => {
  if (["frame", "scores", "state", "video", "range"].some((name) => what.has(name))) redraw();
  box.setAttribute("aria-valuemax", String(count()));
  box.setAttribute("aria-valuenow", String(store.frame + 1));
  const secret = store.state.study && !store.state.study.guidance;
  box.setAttribute("aria-valuetext", `frame ${store.frame + 1}${secret ? "" : `, R-score ${scoreText(store.scores[store.frame])}`}`);
});
