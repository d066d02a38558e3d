// Opening, importing, exporting, help.

import * as api from "./api.js";
import { colourOf } from "./colours.js";
import { HELP } from "./help.js";
import { importMask } from "./objects.js";
import { apart, command, raise, store, subscribe, tell } from "./store.js";

const element = (id) => document.getElementById(id);

function show(id) {
  element(id).showModal();
  raise();
}

for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", raise);

// ---- files

async function browse(box, path) {
  let listing;
  try {
    listing = await api.get(`/api/folders${path ? `?path=${encodeURIComponent(path)}` : ""}`);
  } catch (error) {
    return tell(error.message);
  }
  if (!path && listing.entries.length === 1) return browse(box, listing.entries[0].path);
  const where = document.createElement("div");
  where.className = "where quiet";
  where.textContent = listing.path || "Folders that this server was given";
  const list = document.createElement("ul");
  if (listing.parent || (listing.path && listing.several)) {
    list.append(entry("↑ one folder up", "", () => browse(box, listing.parent)));
  }
  if (listing.pictures) {
    const words = listing.pictures === 1 ? "the picture in this folder" : `the ${listing.pictures} pictures in this folder`;
    list.append(entry(words, "frames: open", () => openPath(listing.path)));
  }
  for (const { name, path: target, kind } of listing.entries) {
    const what = { folder: "folder", mixed: "pictures and more: look", frames: "frames: open", video: "video: open" }[kind];
    const isFolder = kind === "folder" || kind === "mixed";
    list.append(entry((isFolder ? "▸ " : "") + name, what, () => (isFolder ? browse(box, target) : openPath(target))));
  }
  if (!listing.entries.length && !listing.pictures) {
    const note = document.createElement("li");
    note.className = "quiet note";
    note.textContent = "No other videos here. Start the server with --folders to offer more.";
    list.append(note);
  }
  const input = document.createElement("input");
  Object.assign(input, { type: "file", className: "off-screen", accept: "video/*,.mkv,.avi,.wmv,.mpg" });
  input.onchange = () => input.files[0] && uploadVideo(input.files[0]);
  const label = document.createElement("label");
  label.className = "button";
  label.append("Upload a video…", input);
  const row = document.createElement("div");
  row.className = "row";
  row.append(label);
  box.className = "files";
  box.replaceChildren(where, list, row);
}

function entry(text, kind, action) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const words = document.createElement("span");
  words.textContent = kind;
  words.className = "kind";
  button.append(text, words);
  button.onclick = action;
  item.append(button);
  return item;
}

async function openPath(path) {
  const answer = await apart(() => api.post("/api/open", { path }), "Opening the video");
  if (answer) element("open-dialog").close();
}

async function uploadVideo(file) {
  const answer = await apart(() => api.upload("/api/upload/video", {}, file, store.state.upload_bytes), `Uploading ${file.name}`);
  if (answer) element("open-dialog").close();
}

element("open").onclick = () => {
  browse(element("open-files"), null);
  show("open-dialog");
};

// Without a revision: what is drawn during the upload is not in its way.
async function importMasks(file) {
  const { session, upload_bytes: limit } = store.state;
  const answer = await apart(() => api.upload("/api/upload/masks", { session }, file, limit), `Uploading ${file.name}`);
  if (answer) element("open-dialog").close();
}

const masks = element("import-masks");
masks.onchange = async () => {
  if (masks.files[0]) await importMasks(masks.files[0]);
  masks.value = "";
};

// ---- dropping files

for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
}
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [item] = event.dataTransfer.items;
  const [file] = event.dataTransfer.files;
  if (item?.webkitGetAsEntry?.()?.isDirectory) {
    tell("a folder cannot be dropped. Put it where the server can read it (--folders), and choose it with Open; or drop a video file.");
  } else if (file) take(file);
});

function take(file) {
  const [, suffix] = file.name.toLowerCase().match(/\.(png|zip|json)$/) ?? [];
  if (!suffix) uploadVideo(file);
  else if (!store.state.video) tell("masks belong to a video. Open it first, then drop them again.");
  else if (suffix === "png") importMask(file);
  else importMasks(file);
}

// ---- export

const KINDS = [
  ["masks", "Masks", "palette PNGs in DAVIS layout; can be imported again"],
  ["overlay", "Film", "MP4 of the frames with the coloured masks"],
  ["coco", "COCO", "JSON with run lengths and track ids; can be imported again"],
  ["yolo", "YOLO", "segmentation polygons, one text file a frame"],
  ["soft", "Soft masks", "probabilities as grey PNGs, per object"],
  ["cutouts", "Cut-outs", "RGBA PNGs with soft edges, per object"],
];

element("export-kinds").replaceChildren(
  ...KINDS.map(([value, name, text], index) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "kind", value, checked: index === 0 });
    const words = document.createElement("span");
    const title = document.createElement("b");
    title.textContent = name;
    const note = document.createElement("span");
    note.className = "quiet";
    note.textContent = text;
    words.append(title, note);
    label.append(input, words);
    return label;
  }),
);

export function openExport() {
  if (!store.state.video || store.state.job) return;
  const { video, predicted } = store.state;
  element("workspace-path").textContent = video.workspace;
  const missing = video.frames - predicted;
  element("unsegmented").hidden = missing === 0;
  element("unsegmented").textContent = `${missing} of ${video.frames} frames are not segmented; they are exported empty.`;
  show("export-dialog");
}

element("export").onclick = openExport;
element("export-go").onclick = async () => {
  const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;
  const colours = Object.fromEntries(store.state.objects.map(({ id }) => [id, colourOf(id)]));
  const { opacity, contours } = store.display;
  store.awaitsDownload = chosen("form") === "zip";
  const payload = { kind: chosen("kind"), form: chosen("form"), colours, alpha: opacity / 100, contours };
  if (await command("/api/export", payload)) element("export-dialog").close();
};

// ---- help and the empty state

export function openHelp() {
  element("help-keys").replaceChildren(
    ...HELP.map(([keys, text]) => {
      const line = document.createElement("div");
      const names = document.createElement("span");
      for (const key of keys) {
        const box = document.createElement("kbd");
        box.textContent = key;
        names.append(box);
      }
      const words = document.createElement("span");
      words.textContent = text;
      line.append(words, names);
      return line;
    }),
  );
  const { video } = store.state;
  element("help-facts").textContent = video ? `Everything is saved as you go, in ${video.workspace}.` : "";
  show("help-dialog");
}

element("help").onclick = openHelp;

subscribe((what) => {
  if (!what.has("state")) return;
  const empty = !store.state.video;
  if (empty && element("empty").hidden) browse(element("empty-files"), null);
  element("empty").hidden = !empty;
  document.body.classList.toggle("no-video", empty);
});
