// The map: the catalog in two dimensions, to wander in; and the same as a list.

import { call, isAbort } from "./api.js";
import { announce, byId, count, el, leaf, nameOf, put, say, told } from "./dom.js";
import { Canvas } from "./map_canvas.js";
import { photo } from "./photos.js";
import { itemAddress, query } from "./state.js";

const LISTED = 40;
const COLOURS = 8;
const box = byId("map-view");
let made = null; // {model, canvas}
let under = null;

/** Show the map of a model where the state asks for it. */
export async function update(now, model) {
  if (now.view !== "map") return;
  document.title = "Map · TGQ-Former";
  if (made?.model === model) return made.canvas.mark(now.id);
  under?.abort();
  under = new AbortController();
  say("");
  put(box, el("p", { class: "empty" }, "Drawing the map…"));
  try {
    const answer = await call("/v1/map", { params: { model }, signal: under.signal });
    build(answer, model);
    made.canvas.mark(now.id);
  } catch (error) {
    if (isAbort(error)) return undefined;
    put(box);
    say(error.message);
  }
  return undefined;
}

function build({ points, total, explained }, model) {
  const groups = grouped(points);
  const surface = el("canvas", {
    tabindex: 0, role: "application",
    "aria-label": `Map of ${count(points.length)} items. Arrow keys move it, plus and minus zoom, 0 shows all. The list beside it holds the items in view.`,
  });
  const tip = el("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const list = el("ol", { class: "in-view" });
  const heading = el("h2", {});
  const buttons = [["+", "Zoom in", 1.5], ["−", "Zoom out", 1 / 1.5], ["⤢", "Show all", 0]].map(([face, label, factor]) =>
    el("button", { type: "button", "aria-label": label, title: label, onclick: () => (factor ? canvas.zoom(factor) : canvas.reset()) }, face));
  put(box,
    el("div", { class: "map-head" },
      el("h1", {}, "The catalog as ", el("span", {}, model), " sees it"),
      el("p", { class: "muted" }, sentence(points, total, explained))),
    el("div", { class: "map-body" },
      el("div", { class: "surface" }, surface, el("div", { class: "zoom" }, buttons), tip),
      el("section", { class: "list", "aria-label": "Items in view" }, heading, list)),
    legend(groups, (group) => canvas.only(group)));
  const canvas = new Canvas(surface, points, groups.of, {
    model,
    onpick: (point) => query({ id: point.id }),
    onhover: (point, x, y) => hover(tip, surface, point, x, y, model),
    onview: (visible) => show(heading, list, visible, model),
  });
  made = { model, canvas };
}

function sentence(points, total, explained) {
  const sample = points.length < total ? `A sample of ${count(points.length)} of ${count(total)} items` : `All ${count(total)} items`;
  const share = explained.length ? `; its two axes hold ${Math.round(100 * (explained[0] + explained[1]))} % of what sets them apart` : "";
  return `${sample}${share}. Drag to move, scroll or pinch to zoom, choose an item to see its neighbours.`;
}

/** The broadest categories by size: names, and the group of each point. */
function grouped(points) {
  const sizes = new Map();
  const broad = (point) => point.category.split(" > ")[0] || "No category";
  for (const point of points) sizes.set(broad(point), (sizes.get(broad(point)) ?? 0) + 1);
  const names = [...sizes].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const kept = names.length > COLOURS ? [...names.slice(0, COLOURS - 1), "Others"] : names;
  const number = new Map(names.map((name, row) => [name, Math.min(row, kept.length - 1)]));
  return { names: kept, of: points.map((point) => number.get(broad(point))) };
}

function legend({ names }, only) {
  let chosen = -1;
  const buttons = names.map((name, row) => el("button", {
    type: "button", "aria-pressed": "false", class: `colour-${row}`,
    onclick: () => {
      chosen = chosen === row ? -1 : row;
      buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === chosen)));
      only(chosen);
    },
  }, el("i", { "aria-hidden": "true" }), told(name)));
  return el("div", { class: "legend", role: "group", "aria-label": "Show one category alone" }, buttons);
}

function hover(tip, surface, point, x, y, model) {
  tip.hidden = !point;
  if (!point) return;
  if (tip.dataset.id !== point.id) {
    tip.dataset.id = point.id;
    put(tip, photo(point.id, "", { size: 160, model }), told(nameOf(point), "b"), told(leaf(point.category), "span", { class: "muted" }));
  }
  tip.style.left = `${Math.min(Math.max(x, 86), surface.clientWidth - 86)}px`;
  tip.style.top = `${y}px`;
  tip.classList.toggle("below", y < 230);
}

function show(heading, list, visible, model) {
  heading.textContent = `${count(visible.length)} in view`;
  put(list, visible.slice(0, LISTED).map((point) => el("li", {},
    el("a", { href: itemAddress(point.id), "data-go": point.id },
      photo(point.id, "", { size: 96, model }), el("span", {}, told(nameOf(point)), told(leaf(point.category), "small"))))));
  announce(`${count(visible.length)} items in view.`);
}
