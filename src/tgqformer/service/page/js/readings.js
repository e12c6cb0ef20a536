// What a model says of an item, as bars.

import { el, plain, signed, svg, told } from "./dom.js";

/** Gates: a bar for each quantile of the channels' factors, up where they amplify, down where they damp. */
export function gates(found) {
  const names = Object.keys(found);
  if (!names.length) return null;
  return section("Gates", "How each stream is scaled, channel by channel; 1 leaves it as it is.",
    names.map((name) => {
      const { mean, values } = found[name];
      return el("div", { class: "gate" },
        el("p", { class: "reading" }, el("span", {}, plain(name)), el("b", {}, `× ${mean.toFixed(2)}`)),
        bars(values.length ? values : [mean], `${plain(name)} gate: mean factor ${mean.toFixed(2)}, from ${Math.min(...values, mean).toFixed(2)} to ${Math.max(...values, mean).toFixed(2)}`));
    }));
}

function bars(values, label) {
  const reach = Math.max(0.1, ...values.map((value) => Math.abs(value - 1)));
  const step = 120 / values.length;
  return svg("svg", { viewBox: "0 0 120 40", class: "bars", role: "img", "aria-label": label, preserveAspectRatio: "none" },
    values.map((value, row) => {
      const tall = Math.max(0.4, (18 * Math.abs(value - 1)) / reach);
      return svg("rect", { x: row * step + step * 0.12, y: value > 1 ? 20 - tall : 20, width: step * 0.76, height: tall, class: value > 1 ? "up" : "down" });
    }),
    svg("line", { x1: 0, x2: 120, y1: 20, y2: 20 }));
}

/** The cosine of photo and metadata, on a scale from -1 to 1. */
export function agreement(value) {
  if (value === null || value === undefined) return null;
  const scale = el("div", { class: "scale", role: "img", "aria-label": `Agreement ${signed(value)} on a scale from −1 to 1` }, el("i"));
  scale.firstChild.style.left = `${50 + 50 * Math.max(-1, Math.min(1, value))}%`;
  return section("Agreement", "Of the photo with its metadata, from −1 to 1.",
    el("p", { class: "reading" }, el("span", {}, "Cosine"), el("b", {}, signed(value))), scale);
}

const PARTS = { baseline: "Any item", image: "Photo", text: "Metadata" };

/** What photo and metadata add to a pair's similarity. */
export function shares(parts, similarity) {
  const names = Object.keys(PARTS).filter((name) => name in parts);
  if (!names.length) return null;
  const reach = Math.max(...names.map((name) => Math.abs(parts[name])), 0.01);
  return section(`Similarity ${similarity.toFixed(3)}`, "What the photo and the metadata add to that of any two items.",
    names.map((name) => {
      const bar = el("i", { class: parts[name] < 0 ? "against" : "" });
      bar.style.width = `${(100 * Math.abs(parts[name])) / reach}%`;
      return el("p", { class: "share" }, el("span", {}, PARTS[name]), el("span", { class: "track" }, bar), el("b", {}, signed(parts[name])));
    }));
}

/** The metadata, each word on a ground as dark as the anchored queries follow it. */
export function words(found) {
  if (!found.length) return null;
  const highest = Math.max(...found.map((word) => word.weight), 1e-9);
  const order = [...found].sort((a, b) => b.weight - a.weight).map((word) => word.text);
  const strongest = [...new Set(order.filter((word) => word.length > 1))].slice(0, 3);
  return section("Words followed", `By the anchored queries; most of all ${strongest.join(", ")}.`,
    el("p", { class: "words-read" },
      found.flatMap(({ text, weight }) => {
        const word = told(text, "span");
        word.style.setProperty("--weight", (weight / highest).toFixed(3));
        return [word, " "];
      })));
}

const section = (title, note, ...children) =>
  el("section", { class: "readings" }, el("h3", {}, title), el("p", { class: "muted small" }, note), ...children);
