// The search view: the query above, and each model's neighbours beside each other.

import { call, isAbort } from "./api.js";
import { card, leaver, starter } from "./cards.js";
import { announce, byId, count, el, nameOf, plain, put, say } from "./dom.js";
import { conditions, parameters } from "./filters.js";
import { isAsked, neighbours, queryOf } from "./find.js";
import * as panel from "./panel.js";
import { go, state } from "./state.js";

const MOST = 50;
const STARTERS = 20;
const box = byId("results");
let key = "";
let under = null;
export let asked = null; // the query as last shown, which the explanation speaks of

/** Search where the state asks for something else than what is shown. */
export async function update(now, models) {
  const { view, id, text, photo, kind, severity, seed, k } = now;
  if (view !== "search") return;
  const wanted = JSON.stringify([id, text, photo, kind, kind && [severity, seed], k, conditions(now), models]);
  if (wanted === key) return;
  key = wanted;
  under?.abort();
  under = new AbortController();
  const { signal } = under;
  box.setAttribute("aria-busy", "true");
  say("");
  try {
    if (!isAsked(now)) await browse(now, models[0], signal);
    else if (photo === "uploaded")
      throw new Error("An uploaded photo stays in the tab that it was chosen in; choose it again.");
    else await search(now, models, signal);
  } catch (error) {
    if (isAbort(error)) return;
    key = ""; // the same may be tried again
    asked = null;
    panel.clear();
    box.replaceChildren();
    say(error.message);
  }
  if (!signal.aborted) box.removeAttribute("aria-busy");
}

async function search(now, models, signal) {
  const found = await queryOf(now, models[0], signal);
  await panel.show(found, now, models[0]);
  const answers = await Promise.all(models.map((model) => neighbours(found, now, model, signal)));
  signal.throwIfAborted();
  asked = found;
  const common = models.length > 1 ? shared(answers) : null;
  put(box,
    el("div", { class: "columns", "data-count": models.length },
      models.map((model, row) => column(model, answers[row], models.length > 1))),
    more(now, answers));
  const sentences = models.map((model, row) => sentence(model, answers[row]));
  if (common !== null) sentences.push(`${common} of the first ten are common to all.`);
  document.title = `${nameOf({ ...found.item, title: found.item.title || (now.photo ? "Photo" : "") })} · TGQ-Former`;
  announce(sentences.join(" "));
}

function column(model, answer, isNamed) {
  const open = (hit) => go({ why: hit.id, by: model });
  const { hits, lost, held, of, isUnknown } = answer;
  return el("section", { class: "column", "aria-label": `Neighbours by ${model}`, "data-model": model },
    el("header", {},
      isNamed && el("h2", {}, model),
      held === undefined ? null : meter(held, of)),
    hits.length
      ? el("ol", { class: "cards", onpointerover: twins, onpointerout: twins, onfocusin: twins, onfocusout: twins },
        hits.map((hit) => card(hit, { model, onopen: open })))
      : el("p", { class: "empty" }, isUnknown ? "This model's store does not hold the item." : "No item passes these filters; clear one of them."),
    lost?.length ? el("div", { class: "lost" },
      el("h3", {}, "No longer among the first ten"),
      el("ul", {}, lost.map((hit) => leaver(hit, { model, onopen: open })))) : null);
}

function meter(held, of) {
  const dots = Array.from({ length: of }, (_, row) => el("i", { class: row < held ? "on" : "" }));
  return el("p", { class: "meter" },
    el("span", { class: "dots", "aria-hidden": "true" }, dots),
    el("span", {}, el("b", {}, `${held} of ${of}`), el("span", { class: "long" }, " neighbours"), " hold"));
}

/** The same item stands out in every column while it is pointed at. */
function twins(event) {
  const isOn = event.type === "pointerover" || event.type === "focusin";
  const id = event.target.closest?.("[data-id]")?.dataset.id;
  for (const node of box.querySelectorAll("[data-id]"))
    node.classList.toggle("twin", isOn && node.dataset.id === id && box.querySelectorAll(".column").length > 1);
}

function more(now, answers) {
  if (now.k >= MOST || !answers.some((answer) => answer.hits.length >= now.k)) return null;
  return el("p", { class: "more" },
    el("button", { type: "button", class: "outline", onclick: () => go({ k: Math.min(MOST, now.k + 10) }, { replace: true }) }, "Show more"));
}

function shared(answers) {
  const sets = answers.map((answer) => new Set(answer.hits.slice(0, 10).map((hit) => hit.id)));
  return [...sets[0]].filter((id) => sets.every((set) => set.has(id))).length;
}

function sentence(model, { hits, held, of }) {
  const hold = held === undefined ? "" : `, ${held} of ${of} hold under ${plain(state().kind).toLowerCase()}`;
  return `${hits.length} neighbours by ${model}${hold}.`;
}

async function browse(now, model, signal) {
  const limit = Math.ceil(now.k / 10) * STARTERS;
  const part = await call("/v1/items", { params: { limit, model, ...parameters(now) }, signal });
  panel.clear();
  asked = null;
  document.title = "Neighbours · TGQ-Former";
  const next = el("button", { type: "button", class: "outline", onclick: () => go({ k: Math.min(MOST, now.k + 10) }, { replace: true }) }, "Show more");
  put(box,
    el("div", { class: "intro" },
      el("h1", {}, "Are the neighbours good?"),
      el("p", { class: "muted" }, `Choose one of ${count(part.total)} items, describe one above, or drop a photo anywhere.`)),
    part.items.length
      ? el("ol", { class: "cards" }, part.items.map((item) => starter(item, { model })))
      : el("p", { class: "empty" }, "No item passes these filters; clear one of them."),
    part.total > part.items.length && now.k < MOST ? el("p", { class: "more" }, next) : null);
  announce(`${count(part.total)} items to start from.`);
}
