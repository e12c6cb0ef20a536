// Elements without HTML: whatever a catalog says reaches the page as text and as nothing else.

/** An element. `onclick` and its kin listen; null and false properties and children are left out. */
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same in SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...present(children));
  return node;
}

const present = (children) =>
  children.flat(2).filter((child) => child !== null && child !== undefined && child !== false && child !== "");

/** Put children, left out where they are null, in place of those a node has. */
export const put = (node, ...children) => node.replaceChildren(...present(children));

export const byId = (id) => document.getElementById(id);

/** A text of a catalog, whose direction is its own business. */
export const told = (text, tag = "span", properties = {}) => el(tag, { dir: "auto", ...properties }, text);

/** A function that runs `wait` ms after it was last called. */
export function later(run, wait) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...values), wait);
  };
}

const PRICE = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const price = (value) => (typeof value === "number" ? PRICE.format(value) : "");
export const count = (value) => value.toLocaleString("en");
export const signed = (value) => `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)}`;

/** `corner_badge` as people write it. */
export const plain = (name) => {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};

/** The last level of a category, which is what a card has room for. */
export const leaf = (category) => (category || "").split(" > ").pop();

/** What an item is called: its title, or its id where it has none. */
export const nameOf = (item) => item?.title || item?.id || "this query";

/** Show or hide the page's one sentence of error. */
export function say(sentence) {
  byId("error").textContent = sentence || "";
  byId("error").hidden = !sentence;
}

/** Tell a screen reader. */
export function announce(sentence) {
  byId("status").textContent = sentence;
}
