// The dialog that tells why: a query and a neighbour, where each is looked at, and what adds up.

import { call, isAbort, itemPath } from "./api.js";
import { byId, count, el, leaf, nameOf, plain, price, put, told } from "./dom.js";
import { heat } from "./heat.js";
import { noPhoto, photoAddress, pixels } from "./photos.js";
import { agreement, gates, shares, words } from "./readings.js";
import { asked } from "./results.js";
import { CLOSED, go, itemAddress, state } from "./state.js";

const dialog = byId("why");
let shown = "";
let under = null;

/** Make the dialog work. */
export function start() {
  dialog.addEventListener("close", () => {
    under?.abort();
    shown = "";
    const { why, self } = state();
    if (why || self) go(CLOSED, { replace: true });
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
}

/** Open, change or close it as the state says. */
export async function update(now, cards) {
  const isWanted = (now.why || now.self) && asked && now.view === "search";
  if (!isWanted) {
    if (dialog.open) dialog.close();
    return;
  }
  const model = cards.find((card) => card.id === now.by)
    ?? cards.find((card) => now.models.includes(card.id)) ?? cards[0];
  const wanted = JSON.stringify([now.why, model.id, asked.fields, asked.image ?? ""]);
  if (wanted === shown) return;
  shown = wanted;
  under?.abort();
  under = new AbortController();
  frame(now, model, cards);
  if (!dialog.open) dialog.showModal();
  try {
    await explain(now, model, under.signal);
  } catch (error) {
    if (!isAbort(error)) put(byId("why-body"), el("p", { class: "empty", role: "alert" }, error.message));
  }
}

function frame(now, model, cards) {
  const title = now.why ? "Why this neighbour?" : "What the model sees in the query";
  const others = cards.length > 1 ? el("div", { class: "choice", role: "group", "aria-label": "Model" },
    cards.map((card) => el("button", {
      type: "button", "aria-pressed": String(card.id === model.id), onclick: () => go({ by: card.id }, { replace: true }),
    }, card.id))) : null;
  const had = dialog.contains(document.activeElement) ? document.activeElement.textContent : null;
  put(dialog,
    el("header", {},
      el("h2", { id: "why-title", tabindex: "-1" }, title),
      others,
      el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
    el("div", { id: "why-body", "aria-live": "polite" }, el("p", { class: "empty" }, "Looking…")));
  const again = [...dialog.querySelectorAll("button")].find((button) => button.textContent === had);
  if (had !== null) (again ?? byId("why-title")).focus();
}

async function explain(now, model, signal) {
  const own = { id: asked.item.id, fields: asked.fields, image: asked.image ?? (now.photo || null) };
  const ownItem = own.id && !asked.image ? { id: own.id } : { item: asked.noisy?.item ?? asked.clean.item };
  const pair = Object.fromEntries(Object.entries(ownItem).map(([name, value]) => [name === "id" ? "other_id" : "other", value]));
  const ask = (body) => model.explains ? call("/v1/explain", { body: { ...body, model: model.id }, signal }) : null;
  const params = { signal, params: { model: model.id } };
  const [query, answer, item] = await Promise.all([
    ask(ownItem),
    now.why ? ask({ id: now.why, ...pair }) : null,
    now.why ? call(itemPath(now.why), params) : null,
  ]);
  const ownPhoto = own.image ?? (own.id && asked.item.photos ? photoAddress(own.id, 512, model.id) : null);
  const rows = [await looked("The query", asked.item, ownPhoto, query)];
  if (item) {
    const source = item.photos ? photoAddress(item.id, 512, model.id) : null;
    rows.push(await looked("The neighbour", item, source, answer));
  }
  signal.throwIfAborted();
  const first = answer ?? query;
  const notes = [...new Set([...(query?.notes ?? []), ...(answer?.notes ?? [])])];
  if (!model.explains) notes.push(`${model.id} cannot explain itself; choose another model.`);
  put(byId("why-body"),
    rows,
    first && el("div", { class: "readings-row" },
      answer && shares(answer.shares, answer.similarity),
      agreement(first.agreement), gates(first.gates), words(first.words)),
    first && answer && el("p", { class: "muted small" }, "Agreement, gates and words are the neighbour's; those of the query are under “Explain the query”."),
    notes.length ? el("ul", { class: "notes muted small" }, notes.map((note) => el("li", {}, note))) : null,
    item && el("p", { class: "actions" }, el("a", { class: "outline", href: itemAddress(item.id), "data-go": item.id }, "Its own neighbours")));
}

/** A row: the photo, and each stream's attention over it. */
async function looked(role, item, source, said) {
  const image = source ? await pixels(source) : null;
  const facts = [item.brand, leaf(item.category), price(item.price)].filter(Boolean).join(" · ");
  const name = nameOf({ ...item, id: item.id || "your photo" });
  return el("section", { class: "looked", "aria-label": role },
    el("div", { class: "what" }, el("p", { class: "kind" }, role), told(name, "p", { class: "title" }), facts && told(facts, "p", { class: "muted small" })),
    el("div", { class: "pictures" },
      el("figure", { class: "photo" }, image ? Object.assign(image, { alt: `Photo of ${name}` }) : noPhoto(), el("figcaption", {}, "Photo")),
      image ? Object.entries(said?.heatmaps ?? {}).map(([stream, map]) =>
        el("figure", { class: "photo" }, heat(image, map, `${plain(stream)} stream`),
          el("figcaption", {}, plain(stream), seen(map)))) : null));
}

const seen = ({ seen: share }) =>
  typeof share === "number" && share < 0.995 ? el("span", { class: "muted" }, ` ${count(Math.round(100 * share))} % of it`) : null;
