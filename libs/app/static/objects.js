// The list of objects.

import { upload } from "./api.js";
import { colourOf } from "./colours.js";
import { changed, command, enqueue, store, subscribe } from "./store.js";

const list = document.getElementById("objects");
let renaming = null; // id of the object whose name is being typed
let choices = 0; // how often the user has chosen

export function chooseObject(id) {
  choices++;
  store.object = id;
  changed("object");
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

// `control` names the button among its object's, so that the focus finds it again when the list is drawn anew.
function button(control, name, label, action, on = false) {
  const element = document.createElement("button");
  element.dataset.control = control;
  element.append(icon(name));
  element.title = label;
  element.setAttribute("aria-label", label);
  element.classList.toggle("on", on);
  element.onclick = (event) => {
    event.stopPropagation();
    action();
  };
  element.disabled = Boolean(store.state.job);
  return element;
}

const change = (id, fields) => command("change_object", { object_id: id, ...fields });

function nameField(object) {
  const input = document.createElement("input");
  Object.assign(input, { type: "text", className: "rename", value: object.name, maxLength: 80 });
  input.setAttribute("aria-label", `New name of ${object.name}`);
  input.dataset.control = "name";
  const finish = (keep) => {
    if (renaming !== object.id) return;
    renaming = null;
    if (keep && input.value.trim() && input.value !== object.name) change(object.id, { name: input.value });
    draw();
  };
  input.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Enter") finish(true);
    if (event.key === "Escape") finish(false);
  };
  input.onblur = () => finish(true);
  input.onclick = (event) => event.stopPropagation();
  queueMicrotask(() => {
    input.focus();
    input.select();
  });
  return input;
}

function row(object, index) {
  const item = document.createElement("li");
  item.classList.toggle("chosen", object.id === store.object);
  item.dataset.object = object.id;
  item.classList.toggle("gone", object.hidden);
  item.onclick = () => chooseObject(object.id);
  const key = document.createElement("span");
  key.className = "key";
  key.textContent = index < 9 ? index + 1 : "";
  const colour = document.createElement("input");
  Object.assign(colour, { type: "color", value: colourOf(object.id), title: `Colour of ${object.name}` });
  colour.dataset.control = "colour";
  colour.setAttribute("aria-label", `Colour of ${object.name}`);
  colour.onclick = (event) => event.stopPropagation();
  colour.onchange = () => change(object.id, { colour: colour.value });
  item.append(key, colour);
  if (renaming === object.id) {
    item.append(nameField(object)); // instead of the buttons: there is little room for a name
    return item;
  }
  const name = nameButton(object.id, object.name);
  name.title = `${object.name}: click to draw it, double-click to rename`;
  name.ondblclick = () => {
    renaming = object.id;
    draw();
  };
  name.onkeydown = (event) => {
    if (event.key === "F2") name.ondblclick();
  };
  item.append(
    name,
    button("hide", object.hidden ? "eye-off" : "eye", `${object.hidden ? "Show" : "Hide"} ${object.name}`, () => change(object.id, { hidden: !object.hidden }), object.hidden),
    button("lock", object.locked ? "lock" : "unlock", `${object.locked ? "Unlock" : "Lock"} ${object.name}: runs do not change a locked object`, () => change(object.id, { locked: !object.locked }), object.locked),
    button("delete", "delete", `Delete ${object.name} (undo brings it back)`, () => command("remove_object", { object_id: object.id })),
  );
  return item;
}

function nameButton(id, text) {
  const name = document.createElement("button");
  name.className = "name";
  name.dataset.control = "name";
  name.textContent = text;
  name.setAttribute("aria-pressed", String(id === store.object));
  name.onclick = () => chooseObject(id);
  return name;
}

function backgroundRow() {
  const item = document.createElement("li");
  item.dataset.object = 0;
  item.classList.toggle("chosen", store.object === 0);
  item.title = "What is not an object; the right button draws it at any time";
  item.onclick = () => chooseObject(0);
  const key = document.createElement("span");
  key.className = "key";
  key.textContent = "0";
  const swatch = document.createElement("span");
  swatch.className = "background-swatch";
  item.append(key, swatch, nameButton(0, "Background"));
  return item;
}

function draw() {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && `[data-object="${focused.closest("li").dataset.object}"] [data-control="${focused.dataset.control}"]`;
  list.replaceChildren(...store.state.objects.map(row), backgroundRow());
  if (place) list.querySelector(place)?.focus();
  document.getElementById("add-object").disabled = Boolean(store.state.job);
  document.getElementById("import-mask").disabled = Boolean(store.state.job);
}

let busy = false; // a job was going on when this was drawn last

subscribe((what) => {
  if (what.has("session")) renaming = null; // first of all: drawing the list anew ends the renaming
  if (renaming !== null) return;
  const begunOrEnded = what.has("job") && busy !== Boolean(store.state.job);
  busy = Boolean(store.state.job);
  if (begunOrEnded || ["object", "display"].some((name) => what.has(name)) || (what.has("state") && different())) draw();
});

let drawn = "";

// Whether the list is another one than was drawn; drawing it anew would interrupt whoever is using it.
function different() {
  const now = JSON.stringify(store.state.objects);
  const other = now !== drawn;
  drawn = now;
  return other;
}

document.getElementById("add-object").onclick = addObject;

export async function addObject() {
  const before = choices;
  const answer = await command("add_object");
  if (answer && choices === before) chooseObject(answer.object_id); // whoever has chosen meanwhile keeps that
}

export function importMask(file) {
  const { frame } = store;
  const { session, upload_bytes: limit } = store.state;
  const ticket = () => ({ session, revision: store.state.revision, frame });
  return enqueue(() => upload("/api/upload/mask", ticket(), file, limit), `Importing ${file.name}`);
}

const input = document.getElementById("import-mask");
input.onchange = async () => {
  if (input.files[0]) await importMask(input.files[0]);
  input.value = "";
};
