// What people call items: asked for in batches, once each.

import { ask, segment } from "./api.js";
import { el } from "./dom.js";

const BATCH = 50;
const LONGEST = 500_000;
const SHOWN = 60;
const known = new Map();

export function take(facts) {
  for (const one of facts) known.set(one.item, one);
}

/** Have the titles of these items at hand. */
export async function learn(items) {
  let lot = [];
  let size = 0;
  const lots = [];
  for (const item of new Set(items)) {
    if (known.has(item)) continue;
    if (lot.length === BATCH || (lot.length && size + item.length > LONGEST)) {
      lots.push(lot);
      [lot, size] = [[], 0];
    }
    lot.push(item);
    size += item.length;
  }
  if (lot.length) lots.push(lot);
  await Promise.all(lots.map(async (items) => take((await ask("/items:batch", { body: { items } })).items)));
}

export const facts = (item) => known.get(item) ?? { item, title: null, columns: {} };

const short = (text) => (text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);

/** What an item is called, as text. */
export const called = (item) => short(facts(item).title ?? item);

/** A link to an item's page: its title, and its id beside it. */
export function link(item) {
  const title = facts(item).title;
  return el(
    "a",
    { class: "item", href: `#/items/${segment(item)}` },
    called(item),
    title && title !== item ? [" ", el("span", { class: "id" }, short(item))] : null,
  );
}

/** Categories of an item, as small texts: those that are words. */
export function categories(item, most = 4) {
  const values = Object.values(facts(item).columns).flat().filter((value) => /^\p{L}/u.test(value));
  return values.slice(0, most).map((value) => el("span", { class: "tag" }, short(value)));
}
