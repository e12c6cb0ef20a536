// Which items may answer.

import { facets, load } from "./catalog.js";
import { byId, el, later } from "./dom.js";
import { go, state } from "./state.js";

const NAMES = ["category", "brand", "min", "max"];
const box = byId("filters");
const form = box.querySelector("form");

/** Make the form work. */
export function start() {
  const wide = matchMedia("(min-width: 760px)");
  const fold = () => (box.open = wide.matches);
  wide.addEventListener("change", fold);
  fold();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", later(read, 350));
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    go({ category: "", brand: "", min: "", max: "", stock: false, k: 10 });
  });
}

/** Offer the catalog's categories and brands. */
export async function offer() {
  await load();
  const { categories, brands } = facets();
  byId("categories").replaceChildren(...categories.map((value) => el("option", { value })));
  byId("brands").replaceChildren(...brands.map((value) => el("option", { value })));
}

/** Show what the state asks for. */
export function update(now) {
  for (const name of NAMES)
    if (form.elements[name] !== document.activeElement || !now[name]) form.elements[name].value = now[name];
  form.elements.stock.checked = now.stock;
  const set = NAMES.filter((name) => now[name]).length + Number(now.stock);
  byId("filters-count").textContent = String(set);
  byId("filters-count").hidden = !set;
  form.querySelector("[type=reset]").hidden = !set;
}

/** The state's filters as POST /v1/similar takes them; undefined without any. */
export function conditions({ category, brand, min, max, stock }) {
  const found = {};
  if (category) found.categories = [category];
  if (brand) found.brands = [brand];
  if (min !== "" && Number.isFinite(Number(min))) found.min_price = Number(min);
  if (max !== "" && Number.isFinite(Number(max))) found.max_price = Number(max);
  if (stock) found.in_stock = true;
  return Object.keys(found).length ? found : undefined;
}

/** The same as GET /v1/items takes them. */
export const parameters = ({ category, brand, min, max, stock }) =>
  ({ category, brand, min_price: min, max_price: max, in_stock: stock ? "true" : "" });

function read() {
  const values = Object.fromEntries(NAMES.map((name) => [name, form.elements[name].value.trim()]));
  values.stock = form.elements.stock.checked;
  const now = state();
  if ([...NAMES, "stock"].some((name) => values[name] !== now[name])) go({ ...values, k: 10 });
}
