// From the state to queries, and from queries to neighbours.

import { call, itemPath } from "./api.js";
import { conditions } from "./filters.js";

export const TOP = 10; // what is compared between the clean and the corrupted photo
const FAR = 50; // how far down those are looked for that left the top

/** Whether the state asks for anything. */
export const isAsked = ({ id, text, photo }) => Boolean(id || text || photo);

/** What the query is: {item, clean, noisy, image}; `noisy` and `image` only with a corruption.
 *
 * `clean` and `noisy` are parts of a request to /v1/similar, {id} or {item}.
 */
export async function queryOf(state, model, signal) {
  const { id, text, photo, kind, severity, seed } = state;
  const item = id
    ? await call(itemPath(id), { params: { model }, signal })
    : { id: "", title: text, photos: photo ? 1 : 0 };
  const told = id ? fields(item) : { title: text, images: photo ? [photo] : [] };
  const found = { item, fields: told, clean: id ? { id } : { item: told } };
  if (!kind || !item.photos) return found;
  const source = id ? { id } : { image: photo };
  const made = await call("/v1/corrupt", { body: { ...source, kind, severity, seed, model }, signal });
  const image = `data:${made.media_type};base64,${made.image}`;
  return { ...found, image, noisy: { item: { ...told, images: [image] } } };
}

/** A stored item as a request tells one, but for its photos. */
function fields({ title, brand, category, attributes, price }) {
  const told = { title, brand, category, attributes };
  return Object.fromEntries(Object.entries({ ...told, price }).filter(([, value]) => value !== undefined));
}

/** One model's answer: {hits, held, lost, clean}.
 *
 * Each hit may carry a mark: "held" for one of the clean photo's first TOP, "new" for another one
 * among the first TOP. `lost` are those of the clean first TOP that are no longer there, each with
 * its rank now, or 0 beyond FAR.
 */
export async function neighbours(asked, state, model, signal) {
  const filter = conditions(state);
  const ask = (query, k) =>
    call("/v1/similar", { body: { ...query, k, filter, metadata: true, model }, signal });
  const [clean, noisy] = await Promise.all([
    ask(asked.clean, state.k),
    asked.noisy ? ask(asked.noisy, Math.max(state.k, FAR) + 1) : null,
  ]);
  const isUnknown = Boolean(asked.clean.id && clean.unknown.length);
  if (!noisy) return { hits: clean.results.map(flat), isUnknown };
  const own = asked.clean.id; // the corrupted photo comes without an id to leave out
  const ranked = noisy.results.map(flat).filter((hit) => hit.id !== own);
  const top = clean.results.slice(0, TOP).map(flat);
  const before = new Set(top.map((hit) => hit.id));
  const now = new Map(ranked.map((hit, row) => [hit.id, row + 1]));
  const hits = ranked.slice(0, state.k).map((hit, row) => ({
    ...hit,
    mark: row >= TOP ? "" : before.has(hit.id) ? "held" : "new",
  }));
  const lost = top
    .filter((hit) => !(now.get(hit.id) <= TOP))
    .map((hit) => ({ ...hit, rank: now.get(hit.id) ?? 0 }));
  return { hits, lost, held: top.length - lost.length, of: top.length, isUnknown };
}

const flat = ({ id, score, metadata }) => ({ id, score, ...metadata });
