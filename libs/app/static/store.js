// The page's state: what the server last said, and what only this page knows.  Views subscribe and draw.

import * as api from "./api.js";

const listeners = new Set();
const remembered = JSON.parse(localStorage.getItem("gis-display") || "{}");

export const store = {
  state: { video: null, objects: [], marks: {}, rounds: [], recommended: {}, job: null }, // the server's
  scores: [],
  frame: 0, // shown
  object: 1, // drawn with; 0 = background
  tool: "brush",
  drafts: [], // strokes that the server does not have yet, see strokes.js
  working: [], // what the user waits for, in words, in the order it was asked for
  display: { opacity: 50, palette: "vivid", contours: true, masks: true, given: true, follow: true, ...remembered },
  truth: false, // the ground truth is shown (study only)
  connected: true,
};

let scoresAsked = 0; // answers may overtake each other: the one asked for last counts

// `what` names what changed: state, scores, frame, object, tool, drafts, display, job, masks, range, truth, video,
// session (the video was opened anew, or another one), working.
export function changed(...what) {
  if (what.includes("display")) localStorage.setItem("gis-display", JSON.stringify(store.display));
  for (const listener of listeners) listener(new Set(what));
}

export function subscribe(listener) {
  listeners.add(listener);
}

// ---- the server's state

export async function refresh() {
  await take(await api.get("/api/state"));
}

export async function take(state) {
  const before = store.state;
  if (state.server === before.server && state.number < before.number) return; // an older answer came late
  store.state = { objects: [], marks: {}, rounds: [], recommended: {}, ...state };
  const other = before.session !== state.session;
  const otherVideo = identity(before.video) !== identity(state.video);
  if (otherVideo) store.frame = startFrame(state);
  if (state.video && store.frame >= state.video.frames) store.frame = 0;
  if (otherVideo || (store.object !== 0 && !state.objects?.some((o) => o.id === store.object))) {
    store.object = state.objects?.[0]?.id ?? 0;
  }
  store.drafts = store.drafts.filter((draft) => !draft.arrived);
  changed("state", "job", "drafts", ...(other ? ["session", "object"] : []), ...(otherVideo ? ["frame", "video"] : []));
  if (state.video && (other || state.scores_version !== store.scoresVersion)) {
    const number = ++scoresAsked;
    const { version, scores } = await api.get("/api/scores");
    if (number === scoresAsked) {
      store.scoresVersion = version;
      store.scores = scores;
      changed("scores");
    }
  }
  if (!state.video) store.scores = [];
}

// The same for a video after the server was started anew, which gives every opening another fingerprint.
export const identity = (video) => (video ? `${video.path} ${video.fingerprint.split("-")[0]}` : null);

// A session that was worked on opens where that was.
function startFrame(state) {
  const marked = Object.keys(state.marks || {}).map(Number);
  return marked.at(-1) ?? state.rounds?.at(-1)?.frame ?? 0;
}

// ---- commands

const SAVING = "Saving";
const WORDS = {
  segment: "Segmenting this frame",
  run: "Starting the run",
  undo: "Undoing",
  redo: "Doing again",
  "/api/export": "Starting the export",
  "/api/study/finish": "Measuring the result",
};
let queue = Promise.resolve();

// Send a command after those before it; resolves to the answer, or to null after telling the user what was wrong.
// It is meant for the session that is shown now: if another one is open when its turn comes, the server refuses it.
export function command(name, payload = {}) {
  const { session } = store.state;
  const address = name.startsWith("/") ? name : `/api/commands/${name}`;
  return enqueue(() => api.post(address, { session, revision: store.state.revision, ...payload }), WORDS[name]);
}

export function enqueue(send, words = SAVING) {
  const done = begin(words);
  const result = queue.then(() => answered(send, done));
  queue = result;
  return result;
}

// What may take minutes and belongs to no session: the commands do not wait for it.
export function apart(send, words) {
  return answered(send, begin(words));
}

// Something is on its way that a run must not overtake.
export const occupied = () => store.working.some(({ words }) => words !== SAVING);

function begin(words) {
  const item = { words };
  store.working.push(item);
  changed("working");
  return () => {
    store.working = store.working.filter((other) => other !== item);
    changed("working");
  };
}

async function answered(send, done) {
  try {
    const content = await send();
    const taken = content.state ? take(content.state) : null; // the state at once, the scores later
    done();
    await taken;
    return content;
  } catch (error) {
    done();
    tell(error.message);
    if (error.status === 409) await refresh().catch(() => {});
    return null;
  }
}

// ---- messages

// The same words are not shown twice; a `lasting` message stays until it is closed or its `remove()` is called.
export function tell(text, options = {}) {
  const box = document.getElementById("messages");
  raise();
  for (const old of [...box.children]) if (old.dataset.text === text) old.remove();
  const message = document.createElement("div");
  message.className = options.good ? "message good" : "message";
  message.dataset.text = text;
  const words = document.createElement("span");
  words.textContent = text[0].toUpperCase() + text.slice(1);
  if (options.link) {
    const link = document.createElement("a");
    Object.assign(link, { href: options.link, textContent: options.linkText, download: "" });
    words.append(" ", link);
  }
  const close = document.createElement("button");
  close.textContent = "OK";
  close.onclick = () => message.remove();
  message.append(words, close);
  while (box.children.length >= 3) box.firstChild.remove();
  box.append(message);
  if (!options.lasting) setTimeout(() => message.remove(), options.link ? 60000 : 9000);
  return message;
}

// Behind a modal dialog nothing can be read or pressed, so the messages go into the one that is open.
export function raise() {
  const home = document.querySelector("dialog[open]") ?? document.body;
  const notices = document.getElementById("notices");
  if (notices.parentNode !== home) home.append(notices);
}

export function announce(text) {
  document.getElementById("announce").textContent = text;
}

// ---- small helpers of several views

export function showFrame(frame) {
  const video = store.state.video;
  if (!video) return;
  const next = Math.min(Math.max(Math.round(frame) || 0, 0), video.frames - 1);
  if (next === store.frame) return;
  store.frame = next;
  changed("frame");
}

export function annotatedRounds(frame) {
  return store.state.rounds.filter((round) => round.frame === frame);
}

export function scoreText(score) {
  return score == null ? "–" : score.toFixed(3);
}
