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
  drafts: [], // strokes on their way to the server: {frame, mark}
  display: { opacity: 50, palette: "vivid", contours: true, masks: true, given: true, follow: true, ...remembered },
  truth: false, // the ground truth is shown (study only)
  connected: true,
};

let scoresAsked = 0; // answers may overtake each other: the one asked for last counts

// `what` names what changed: state, scores, frame, object, tool, drafts, display, job, masks, range, truth, video.
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
  if (other) store.frame = startFrame(state);
  if (state.video && store.frame >= state.video.frames) store.frame = 0;
  if (other || (store.object !== 0 && !state.objects?.some((o) => o.id === store.object))) {
    store.object = state.objects?.[0]?.id ?? 0;
  }
  store.drafts = store.drafts.filter((draft) => draft.session === state.session && !draft.arrived);
  changed("state", "job", "drafts", ...(other ? ["frame", "object", "video"] : []));
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

// A session that was worked on opens where that was.
function startFrame(state) {
  const marked = Object.keys(state.marks || {}).map(Number);
  return marked.at(-1) ?? state.rounds?.at(-1)?.frame ?? 0;
}

// ---- commands

let queue = Promise.resolve();

// Send a command after those before it; resolves to the answer, or to null after telling the user what was wrong.
export function command(name, payload = {}) {
  return enqueue(() => api.post(name.startsWith("/") ? name : `/api/commands/${name}`, { ...ticket(), ...payload }));
}

export function ticket() {
  return { session: store.state.session, revision: store.state.revision };
}

export function enqueue(send) {
  const result = queue.then(async () => {
    try {
      const content = await send();
      if (content.state) await take(content.state);
      return content;
    } catch (error) {
      tell(error.message);
      if (error.status === 409) await refresh().catch(() => {});
      return null;
    }
  });
  queue = result;
  return result;
}

// ---- messages

// The same words are not shown twice; a `lasting` message stays until it is closed or its `remove()` is called.
export function tell(text, options = {}) {
  const box = document.getElementById("messages");
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
