// Cards of items.

import { el, leaf, nameOf, price, told } from "./dom.js";
import { photo } from "./photos.js";
import { itemAddress } from "./state.js";

const MARKS = {
  held: ["Held", "among the first ten of the clean photo too"],
  new: ["New", "not among the first ten of the clean photo"],
};

/** A neighbour: its photo opens the explanation, its link searches from it. */
export function card(hit, { model, onopen }) {
  const name = nameOf(hit);
  const [mark, meaning] = MARKS[hit.mark] ?? [];
  return el("li", { class: `card ${hit.mark ? `is-${hit.mark}` : ""}`, "data-id": hit.id },
    el("button", { type: "button", class: "photo", "aria-label": `Why ${name}?`, onclick: () => onopen(hit) },
      photo(hit.id, "", { model }),
      mark && el("span", { class: "mark", title: meaning }, mark)),
    facts(hit, el("span", { class: "score", title: "cosine" }, hit.score.toFixed(3))),
    similar(hit));
}

/** An item to start from: all of it is a link. */
export function starter(item, { model }) {
  return el("li", { class: "card" },
    el("a", { class: "photo", href: itemAddress(item.id), "data-go": item.id, "aria-label": `Neighbours of ${nameOf(item)}` },
      photo(item.id, "", { model })),
    facts(item, null));
}

/** One that left the first ten. */
export function leaver(hit, { model, onopen }) {
  const where = hit.rank ? `now ${hit.rank}.` : "now beyond 50";
  return el("li", {},
    el("button", { type: "button", "aria-label": `Why ${nameOf(hit)}? ${where}`, onclick: () => onopen(hit) },
      photo(hit.id, "", { size: 128, model }), el("span", {}, where)));
}

function facts(item, score) {
  const stock = item.in_stock === false ? el("span", { class: "stock" }, "Out of stock") : null;
  return el("div", { class: "facts" },
    told(item.title || item.id, "p", { class: "title", title: item.title || item.id }),
    el("p", { class: "line" }, told(item.brand || leaf(item.category) || " ", "span", { class: "brand-name" }), score),
    el("p", { class: "line" }, el("span", { class: "price" }, price(item.price)), stock));
}

const similar = (item) =>
  el("a", { class: "go", href: itemAddress(item.id), "data-go": item.id, "aria-label": `Neighbours of ${nameOf(item)}` }, "Neighbours");
