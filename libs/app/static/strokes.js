// Strokes on their way to the server.  A stroke that it did not take for no fault of the stroke's own is kept in the page
// and sent again as soon as the same video is there: {session, video, frame, mark, seconds, waiting, arrived}.

import * as api from "./api.js";
import { changed, enqueue, identity, refresh, store, subscribe, tell } from "./store.js";

const MAX_POINTS = 20000; // what the server takes
const PATIENCE = 3000; // milliseconds
// No answer, not let in, another state, a go-between without its server: the stroke itself may be good.
const KEPT = new Set([0, 401, 403, 409, 502, 503, 504]);

export function newDraft(mark) {
  const { session, video } = store.state;
  return { session, video: identity(video), frame: store.frame, mark, waiting: false, arrived: false };
}

// Those that belong to the video on the screen.
export const draftsHere = () => store.drafts.filter((draft) => draft.video === identity(store.state.video));

export function dropDraft(draft) {
  store.drafts = store.drafts.filter((other) => other !== draft);
  changed("drafts");
}

// At most as many points as the server takes, with both ends.
export function thinned(points, limit = MAX_POINTS) {
  if (points.length <= limit) return points;
  return Array.from({ length: limit }, (_, i) => points[Math.round((i * (points.length - 1)) / (limit - 1))]);
}

export async function sendDraft(draft) {
  draft.waiting = false;
  await enqueue(async () => {
    const { session, frame, mark, seconds } = draft;
    try {
      const content = await api.post("/api/commands/mark", { session, revision: store.state.revision, frame, mark, seconds });
      draft.arrived = true; // the answer's state holds the mark itself
      return content;
    } catch (error) {
      if (KEPT.has(error.status)) return keep(draft, error);
      draft.arrived = true; // the stroke is at fault, and trying again would not help
      throw error;
    }
  });
  if (draft.arrived) dropDraft(draft);
}

async function keep(draft, error) {
  draft.waiting = true;
  setTimeout(sendWaiting, PATIENCE);
  if (error.status !== 409) {
    const reason = error.status === 0 ? "the server does not answer. Is it still running?" : error.message;
    tell(`${reason} Your stroke is kept in this page and stored when the server takes it: leave the page open.`);
  } else {
    await refresh().catch(() => {});
    if (draft.video !== identity(store.state.video)) {
      tell("another video was opened before your stroke was stored. It is kept in this page and stored when its own video is open again.");
    }
  }
  return {};
}

// Whether the server has it after all: its answer may have been lost on the way.
function isThere({ frame, mark }) {
  const own = JSON.stringify([mark.object_id, mark.points]);
  return (store.state.marks[frame] || []).some(({ object_id, points }) => JSON.stringify([object_id, points]) === own);
}

function sendWaiting() {
  if (store.state.job || !store.connected) return;
  for (const draft of draftsHere().filter(({ waiting }) => waiting)) {
    draft.session = store.state.session;
    if (isThere(draft)) dropDraft(draft);
    else sendDraft(draft);
  }
}

subscribe((what) => {
  if (what.has("state") || what.has("job")) sendWaiting();
});
