// Starts the page, and lets each part show the state.

import { askForKey, call, key } from "./api.js";
import { byId, el, say } from "./dom.js";
import * as explain from "./explain.js";
import * as filters from "./filters.js";
import * as map from "./map.js";
import * as results from "./results.js";
import * as searchbox from "./searchbox.js";
import { CLOSED, address, go, query, state, watch } from "./state.js";

let cards = [];

/** The models that the state names, or the default one. */
function chosen(now) {
  const known = cards.map((card) => card.id);
  const named = known.filter((name) => now.models.includes(name));
  return named.length ? named : known.slice(0, 1);
}

function render(now) {
  const models = chosen(now);
  const isMap = now.view === "map";
  byId("search-view").hidden = isMap;
  byId("map-view").hidden = !isMap;
  byId("to-search").href = address({ ...now, view: "search", ...CLOSED });
  byId("to-map").href = address({ ...now, view: "map", ...CLOSED });
  for (const [id, on] of [["to-search", !isMap], ["to-map", isMap]])
    byId(id)[on ? "setAttribute" : "removeAttribute"]("aria-current", "page");
  toggles(models);
  searchbox.update(now);
  filters.update(now);
  map.update(now, models[0]);
  if (!now.why && !now.self) explain.update(now, cards); // closes it at once
  results.update(now, models).then(() => explain.update(state(), cards));
}

function toggles(models) {
  const box = byId("models");
  box.hidden = cards.length < 2;
  if (!box.children.length)
    box.append(el("span", { class: "muted small" }, "Models"),
      ...cards.map((card) => el("button", { type: "button", "data-model": card.id, onclick: () => toggle(card.id) }, card.id)));
  for (const button of box.querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(models.includes(button.dataset.model)));
}

function toggle(name) {
  const now = chosen(state());
  const models = now.includes(name) ? now.filter((other) => other !== name) : [...now, name];
  if (models.length) go({ models });
}

/** Links of the page change the state; with a modifier key they open as links do. */
function followed(event) {
  const link = event.target.closest?.("a[data-go], #to-search, #to-map, .brand");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  if (link.dataset.go !== undefined) {
    query({ id: link.dataset.go });
    scrollTo({ top: 0 });
    byId("content").focus({ preventScroll: true }); // the link itself is gone
  } else if (link.id) go({ view: link.id === "to-map" ? "map" : "search", ...CLOSED });
  else query({ models: state().models });
}

async function begin() {
  searchbox.start();
  filters.start();
  explain.start();
  document.addEventListener("click", followed);
  byId("key-open").hidden = !key();
  byId("key-open").addEventListener("click", async () => {
    try {
      await askForKey("The key in use is replaced by this one.");
      location.reload();
    } catch { /* it stays as it was */ }
  });
  try {
    cards = (await call("/v1/models")).data;
  } catch (error) {
    say(error.message);
    return;
  }
  byId("key-open").hidden = !key();
  watch(render);
  filters.offer().then(() => searchbox.update(state())).catch((error) => say(error.message));
}

begin();
