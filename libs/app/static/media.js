// Pictures and masks that were fetched, a bounded number of them.

import { getMask, reach, ServerError } from "./api.js";
import { store } from "./store.js";

const PICTURE_BYTES = 192 << 20; // of decoded frames

class Cache {
  constructor(limit, drop = () => {}) {
    this.limit = limit;
    this.drop = drop;
    this.items = new Map();
  }

  get(key) {
    const item = this.items.get(key);
    if (item !== undefined) {
      this.items.delete(key);
      this.items.set(key, item);
    }
    return item;
  }

  put(key, item) {
    this.items.set(key, item);
    while (this.items.size > this.limit) {
      const [oldest, dropped] = this.items.entries().next().value;
      this.items.delete(oldest);
      this.drop(dropped);
    }
  }

  clear() {
    for (const item of this.items.values()) this.drop(item);
    this.items.clear();
  }
}

// Later: the one that is on the screen may be drawn once more before its successor is there.
const close = (promise) => setTimeout(() => promise.then((bitmap) => bitmap.close(), () => {}), 2000);
const pictures = new Cache(8, close);
const thumbnails = new Cache(300, close);
const masks = new Cache(40);
const smallMasks = new Cache(300);

export function newVideo() {
  for (const cache of [pictures, thumbnails, masks, smallMasks]) cache.clear();
  const { video } = store.state;
  if (video) pictures.limit = Math.max(3, Math.min(200, Math.floor(PICTURE_BYTES / (video.width * video.height * 4))));
}

async function bitmap(address) {
  const response = await reach(`${address}?v=${store.state.video.fingerprint}`);
  if (!response.ok) throw new ServerError((await response.json()).error, response.status);
  return createImageBitmap(await response.blob());
}

function cached(cache, key, make) {
  const found = cache.get(key);
  if (found !== undefined) return found;
  const promise = make();
  promise.catch(() => cache.items.delete(key));
  cache.put(key, promise);
  return promise;
}

export const picture = (frame) => cached(pictures, frame, () => bitmap(`/api/frames/${frame}`));
export const thumbnail = (frame) => cached(thumbnails, frame, () => bitmap(`/api/thumbnails/${frame}`));
export const mask = (frame) => cached(masks, frame, () => getMask(frame));
export const truth = (frame) => getMask(frame, null, "truth");
export const smallMask = (frame) => cached(smallMasks, frame, () => getMask(frame, 120));

// The masks may be others now: of one frame, or of all.
export function forgetMasks(frame) {
  for (const cache of [masks, smallMasks]) {
    if (frame === undefined) cache.clear();
    else cache.items.delete(frame);
  }
}
