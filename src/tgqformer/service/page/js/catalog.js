// What the search field and the filters suggest from: the first items of the catalog.

import { call } from "./api.js";

const PAGE = 1000;
const PAGES = 5;
let loading = null;
let items = [];
let whole = false;
let loaded = false;

/** Load them once; a fault is thrown and forgotten, so that the next call tries again. */
export function load() {
  loading ??= (async () => {
    const found = [];
    for (let page = 0; page < PAGES; page += 1) {
      const part = await call("/v1/items", { params: { limit: PAGE, offset: page * PAGE } });
      found.push(...part.items);
      whole = found.length >= part.total;
      if (whole || !part.items.length) break;
    }
    loaded = true;
    items = found.map((item) => ({
      ...item,
      searched: `${item.id} ${item.title} ${item.brand} ${item.category}`.toLowerCase(),
    }));
  })().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

/** Whether they are here. */
export const isLoaded = () => loaded;

/** Whether every item of the catalog is known here. */
export const isWhole = () => whole;

export const known = (id) => items.find((item) => item.id === id);

/** Items that hold every word typed; first those whose id, then those whose title begins so. */
export function matches(typed, most = 7) {
  const text = typed.trim().toLowerCase();
  const words = text.split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const rank = (item) => {
    if (item.id.toLowerCase() === text) return 0;
    if (item.id.toLowerCase().startsWith(text)) return 1;
    return item.title.toLowerCase().startsWith(text) ? 2 : 3;
  };
  return items
    .filter((item) => words.every((word) => item.searched.includes(word)))
    .map((item) => [rank(item), item])
    .sort(([a], [b]) => a - b)
    .slice(0, most)
    .map(([, item]) => item);
}

/** Brands, and categories with all their ancestors, in the order of the alphabet. */
export function facets() {
  const categories = new Set();
  const brands = new Set();
  for (const item of items) {
    if (item.brand) brands.add(item.brand);
    const levels = item.category ? item.category.split(" > ") : [];
    levels.forEach((_, depth) => categories.add(levels.slice(0, depth + 1).join(" > ")));
  }
  return { categories: [...categories].sort(), brands: [...brands].sort() };
}
