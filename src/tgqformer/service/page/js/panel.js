// The query: its photo, what is known of it, and the corruption that may be laid over the photo.

import { call } from "./api.js";
import { byId, el, later, nameOf, plain, price, put, told } from "./dom.js";
import { noPhoto, photo, picture } from "./photos.js";
import { go, state } from "./state.js";

const panel = byId("panel");
const shown = { key: "" };
let kinds = null;

/** Empty it. */
export function clear() {
  panel.hidden = true;
  shown.key = "";
}

/** Show a query; what can be worked is made once for each query, so that the focus stays. */
export async function show(asked, now, model) {
  const key = JSON.stringify([now.id, now.photo, now.photo ? "" : now.text]);
  if (shown.key !== key) {
    kinds ??= await call("/v1/corruptions");
    build(asked, now, model);
    shown.key = key;
  }
  panel.hidden = false;
  const has = Boolean(asked.image);
  shown.after.hidden = !has;
  if (has) shown.after.replaceChildren(
    picture(asked.image, `The same photo with ${plain(now.kind).toLowerCase()}, severity ${now.severity}`),
    el("figcaption", {}, plain(now.kind)));
  sync(now);
}

function build({ item }, now, model) {
  const source = now.photo
    ? picture(now.photo, "The uploaded photo")
    : item.photos ? photo(item.id, `Photo of ${nameOf(item)}`, { size: 512, model }) : noPhoto();
  shown.after = el("figure", { class: "photo", hidden: true });
  const isWordy = !item.id && !now.photo;
  panel.classList.toggle("wordy", isWordy);
  put(panel,
    isWordy ? null : el("div", { class: "photos" },
      el("figure", { class: "photo" }, source, item.photos ? el("figcaption", {}, now.photo ? "Uploaded" : "As stored") : null),
      shown.after),
    el("div", { class: "about" }, ...(item.id ? ofItem(item) : ofWords(now)),
      el("button", { type: "button", class: "outline", onclick: () => go({ self: true }) }, "Explain the query")),
    item.photos ? corruption() : null);
}

function ofItem(item) {
  const facts = [item.brand, price(item.price)].filter(Boolean).join(" · ");
  const stock = { true: "In stock", false: "Out of stock" }[item.in_stock];
  return [
    el("p", { class: "kind" }, "Neighbours of"),
    told(nameOf(item), "h1"),
    facts && told(facts, "p", { class: "muted" }),
    item.category && told(item.category.replaceAll(" > ", " › "), "p", { class: "muted" }),
    el("p", { class: "muted small" }, told(item.id), stock ? ` · ${stock}` : ""),
  ];
}

function ofWords(now) {
  if (!now.photo) return [el("p", { class: "kind" }, "Neighbours of the words"), told(`“${now.text}”`, "h1")];
  const words = el("input", { type: "text", value: now.text, placeholder: "brass desk lamp", oninput: later((event) => go({ text: event.target.value.trim() }, { replace: true }), 400) });
  return [
    el("p", { class: "kind" }, "Neighbours of"),
    el("h1", {}, "Your photo"),
    el("label", { class: "words" }, "What is for sale in it", words),
    el("p", { class: "muted small" }, "The photo stays in this tab: a link to this view does not hold it."),
  ];
}

function corruption() {
  const group = (label, names) =>
    el("optgroup", { label }, names.map((name) => el("option", { value: name }, plain(name))));
  shown.toggle = el("button", { type: "button", role: "switch", "aria-checked": "false", onclick: turn }, "Corrupt the photo");
  shown.kind = el("select", { "aria-label": "Kind", onchange: (event) => go({ kind: event.target.value }, { replace: true }) },
    group("Overlays", kinds.overlays), group("Clutter", kinds.clutter));
  shown.amount = el("output", {});
  shown.severity = el("input", {
    type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Severity",
    oninput: (event) => {
      shown.amount.textContent = Number(event.target.value).toFixed(2);
      slide(Number(event.target.value));
    },
  });
  shown.controls = el("div", { class: "controls", hidden: true },
    shown.kind,
    el("label", { class: "slider" }, el("span", {}, "Severity"), shown.severity, shown.amount),
    el("button", { type: "button", class: "plain", onclick: () => go({ seed: state().seed + 1 }, { replace: true }) }, "Another draw"));
  return el("div", { class: "corruption" }, shown.toggle,
    el("p", { class: "muted small" }, "What sellers do to photos. Good neighbours hold."), shown.controls);
}

const slide = later((severity) => go({ severity }, { replace: true }), 200);

function turn() {
  const kind = state().kind ? "" : (shown.kind.value || kinds.overlays[0]);
  go({ kind });
}

function sync({ kind, severity }) {
  if (!shown.toggle?.isConnected) return;
  shown.toggle.setAttribute("aria-checked", String(Boolean(kind)));
  shown.controls.hidden = !kind;
  if (kind) shown.kind.value = kind;
  if (document.activeElement !== shown.severity) shown.severity.value = severity;
  shown.amount.textContent = severity.toFixed(2);
}
