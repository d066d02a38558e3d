// Colours of objects, and masks as pictures.

import { store } from "./store.js";

const VIVID = ["#ff4d4d", "#3ddc5b", "#4d9bff", "#ffd23d", "#d96bff", "#2fe0d6", "#ff9a3d", "#ff6bb0", "#a5e635", "#9c8cff"];
const SAFE = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"]; // Okabe & Ito

function davis(id) {
  const colour = [0, 0, 0];
  for (let bit = 0; bit < 8; bit++) {
    for (let channel = 0; channel < 3; channel++) colour[channel] |= ((id >> (3 * bit + channel)) & 1) << (7 - bit);
  }
  return "#" + colour.map((value) => value.toString(16).padStart(2, "0")).join("");
}

export function colourOf(id) {
  const entry = store.state.objects.find((o) => o.id === id);
  if (entry?.colour) return entry.colour;
  const { palette } = store.display;
  if (palette === "davis") return davis(id);
  const colours = palette === "safe" ? SAFE : VIVID;
  return colours[(id - 1) % colours.length];
}

export function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

// The mask as a canvas of its own size, coloured as the display settings say; hidden objects are left out.
export function paintMask(mask, canvas = document.createElement("canvas"), options = store.display) {
  canvas.width = mask.width;
  canvas.height = mask.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(mask.width, mask.height);
  const pixels = new Uint32Array(image.data.buffer);
  const fill = new Uint32Array(256);
  const edge = new Uint32Array(256);
  const alpha = Math.round((options.opacity / 100) * 255);
  for (const object of store.state.objects) {
    if (object.hidden) continue;
    const [r, g, b] = rgb(colourOf(object.id));
    fill[object.id] = ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
    edge[object.id] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
  const { ids, width, height } = mask;
  const reach = Math.max(1, Math.round(height / 480)); // a contour that is seen on large frames too
  for (let y = 0, i = 0; y < height; y++) {
    const up = y >= reach ? reach * width : 0;
    const down = y + reach < height ? reach * width : 0;
    for (let x = 0; x < width; x++, i++) {
      const id = ids[i];
      if (id === 0) continue;
      const left = x >= reach ? reach : 0;
      const right = x + reach < width ? reach : 0;
      const inner = ids[i - left] === id && ids[i + right] === id && ids[i - up] === id && ids[i + down] === id;
      pixels[i] = inner || !options.contours ? fill[id] : edge[id];
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// A thumbnail with its mask, drawn into `canvas`.
export async function paintThumbnail(canvas, picture, mask) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  if (mask && store.display.masks) context.drawImage(paintMask(mask), 0, 0, canvas.width, canvas.height);
}
