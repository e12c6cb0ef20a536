// What is looked at. All of it stands in the address but for an uploaded photo, which stays here.

const DEFAULTS = {
  view: "search", id: "", text: "", photo: "", models: [],
  category: "", brand: "", min: "", max: "", stock: false,
  kind: "", severity: 0.5, seed: 0, k: 10, why: "", by: "", self: false,
};
const FLAGS = ["stock", "self"];
/** No explanation is open. */
export const CLOSED = { why: "", by: "", self: false };
const NUMBERS = { severity: [0, 1], seed: [0, 2 ** 31], k: [10, 50] };

let current = { ...DEFAULTS };
let watcher = () => {};

/** Start: read the address, and call `render(state)` now and whenever the state changes. */
export function watch(render) {
  watcher = render;
  addEventListener("popstate", () => {
    current = read(location.search);
    watcher(current);
  });
  current = read(location.search);
  watcher(current);
}

export const state = () => current;

/** Change some of it; with `replace` the way back leads past this change. */
export function go(changes, { replace = false } = {}) {
  current = { ...current, ...changes };
  history[replace ? "replaceState" : "pushState"](null, "", address(current));
  watcher(current);
}

/** A new query: filters and models stay, what belongs to the old query goes. */
export function query(changes) {
  go({ view: "search", id: "", text: "", photo: "", ...CLOSED, k: 10, ...changes });
}

/** The address of a query by item, for links that can be opened in another tab. */
export const itemAddress = (id) =>
  address({ ...current, view: "search", id, text: "", photo: "", ...CLOSED, k: 10 });

/** The address of a state. */
export function address(some) {
  const parts = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = some[name];
    if (name === "models") value.forEach((model) => parts.append("model", model));
    else if (name === "photo") value && parts.set("photo", "uploaded");
    else if ((name === "severity" || name === "seed") && !some.kind) continue;
    else if (value !== usual) parts.set(name, value === true ? "1" : value);
  }
  const text = parts.toString();
  return text ? `/?${text}` : "/";
}

function read(search) {
  const parts = new URLSearchParams(search);
  const found = { ...DEFAULTS, models: parts.getAll("model") };
  for (const name of Object.keys(DEFAULTS)) {
    const value = parts.get(name);
    if (value === null || name === "models") continue;
    if (name in NUMBERS) {
      const [low, high] = NUMBERS[name];
      if (value !== "" && Number.isFinite(Number(value)))
        found[name] = Math.min(high, Math.max(low, Number(value)));
    } else found[name] = FLAGS.includes(name) ? value === "1" : value;
  }
  found.seed = Math.round(found.seed);
  found.k = Math.round(found.k);
  if (found.view !== "map") found.view = "search";
  return found;
}
