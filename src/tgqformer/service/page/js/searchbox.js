// The search field: a combobox over the catalog's items, free text, and a photo by file, drop or paste.

import { isLoaded, isWhole, known, load, matches } from "./catalog.js";
import { byId, el, later, say, told } from "./dom.js";
import { photo, uploaded } from "./photos.js";
import { query } from "./state.js";

const field = byId("query");
const list = byId("suggestions");
let options = [];
let active = -1;

/** Make the field work. */
export function start() {
  field.addEventListener("input", later(suggest, 80));
  field.addEventListener("focus", () => load().catch((error) => say(error.message)));
  field.addEventListener("keydown", pressed);
  field.addEventListener("blur", () => setTimeout(close, 150)); // after a click on an option
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  byId("photo-file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
  dropping();
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(isPicture);
    if (file) take(file);
  });
}

/** Show what the state asks for. */
export function update({ text, id, photo: image }) {
  if (document.activeElement !== field) field.value = id ? (known(id)?.title || id) : image ? "" : text;
}

function suggest() {
  const typed = field.value.trim();
  if (!typed || document.activeElement !== field) return close();
  if (!isLoaded()) load().then(() => !list.hidden && suggest()).catch((error) => say(error.message));
  const found = matches(typed);
  options = [
    { run: () => query({ text: typed }), face: [el("span", { class: "glyph" }, "“”"), el("span", {}, "Search for ", told(typed, "b"))] },
    ...found.map((item) => ({ run: () => query({ id: item.id }), face: face(item) })),
  ];
  if (!isWhole() && !found.some((item) => item.id === typed) && !/\s/.test(typed))
    options.push({ run: () => query({ id: typed }), face: [el("span", { class: "glyph" }, "#"), el("span", {}, "The item with id ", told(typed, "b"))] });
  list.replaceChildren(...options.map((option, row) => el("li", {
    id: `suggestion-${row}`, role: "option", "aria-selected": "false",
    onmousedown: (event) => event.preventDefault(), onclick: () => choose(row),
  }, option.face)));
  active = -1;
  list.hidden = false;
  field.setAttribute("aria-expanded", "true");
  field.removeAttribute("aria-activedescendant");
}

function face(item) {
  const about = [item.id, item.brand].filter(Boolean).join(" · ");
  return [photo(item.id, "", { size: 96 }), el("span", {}, told(item.title || item.id), told(about, "small"))];
}

function pressed(event) {
  if (event.key === "Escape" && !list.hidden) {
    event.preventDefault();
    return close();
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return undefined;
  event.preventDefault();
  if (list.hidden) return suggest();
  active = (active + step + options.length + 1) % (options.length + 1);
  if (active === options.length) active = step > 0 ? 0 : options.length - 1;
  [...list.children].forEach((option, row) => option.setAttribute("aria-selected", String(row === active)));
  field.setAttribute("aria-activedescendant", `suggestion-${active}`);
  list.children[active].scrollIntoView({ block: "nearest" });
  return undefined;
}

async function submit() {
  const typed = field.value.trim();
  if (active >= 0 && !list.hidden) return choose(active);
  close();
  if (!typed) return query({});
  if (!/\s/.test(typed)) await load().catch(() => {}); // it may be an id
  return known(typed) ? query({ id: typed }) : query({ text: typed });
}

function choose(row) {
  close();
  options[row].run();
  field.blur(); // lets the field show what was chosen
  field.focus();
  close();
}

function close() {
  list.hidden = true;
  active = -1;
  field.setAttribute("aria-expanded", "false");
  field.removeAttribute("aria-activedescendant");
}

const isPicture = (file) => file.type.startsWith("image/");

async function take(file) {
  if (!file) return;
  try {
    query({ photo: await uploaded(file) });
  } catch (error) {
    say(error.message);
  }
}

function dropping() {
  const curtain = byId("drop");
  addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    curtain.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) curtain.hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    curtain.hidden = true;
    take([...event.dataTransfer.files].find(isPicture));
  });
}
