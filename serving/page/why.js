// Why an item is recommended, in a line each.

import { called, learn } from "./items.js";
import { el } from "./dom.js";
import { moment, percent } from "./say.js";

const LIKE = "like what you had lately: ";
const SHOWN = 0.005;
const PARTS = ["retention", "hour", "week", "place", "before"];
const SAID = { retention: "memory", hour: "hour of day", week: "hour of week", place: "place", before: "what came before" };

/** Items that are named in reasons. */
export const mentioned = (reasons) =>
  reasons.flatMap((one) => (one.item !== undefined ? [one.item] : one.reason.startsWith(LIKE) ? liked(one.reason) : []));

const liked = (reason) => reason.slice(LIKE.length).split(", ");

/** Reasons for an item, as a list; `offset` are the minutes that the user's clock is ahead of UTC. */
export const why = (item, reasons, offset = 0) =>
  el("ul", { class: "why" }, reasons.map((one) => el("li", {}, one.item === undefined ? said(one.reason) : event(item, one, offset))));

/** What the colours of `parts` are. */
export function legend(items) {
  const there = items.flatMap((one) => one.why.map((reason) => reason.parts ?? {}));
  const used = PARTS.filter((part) => there.some((shares) => shares[part] > SHOWN));
  return used.length > 1 ? el("ul", { class: "legend" }, used.map((part) => el("li", {}, el("span", { class: `key of-${part}` }), SAID[part]))) : null;
}

function said(reason) {
  if (reason.startsWith(LIKE)) return LIKE + liked(reason).map(called).join(" and ");
  return reason.startsWith("unknown user") ? reason.slice(reason.lastIndexOf(": ") + 2) : reason;
}

function event(item, one, offset) {
  const matches = [
    ["same hour", one.hour],
    ["same hour of the week", one.week],
    ["same place", one.place],
  ].filter(([, value]) => value >= 0.5);
  return [
    el("b", {}, percent(one.contribution)),
    ` ${one.item === item ? "had" : `from ${called(one.item)}`}${one.times > 1 ? ` ${one.times} times, last` : ""} ${moment(Date.parse(one.when), offset)}`,
    el("span", { class: "soft" }, ` · ${percent(one.retention)} left${matches.map(([name]) => ` · ${name}`).join("")}`),
    parts(one.parts),
  ];
}

function parts(shares) {
  const there = PARTS.filter((part) => shares[part] > SHOWN);
  if (there.length < 2) return null;
  const text = there.map((part) => `${SAID[part]} ${percent(shares[part])}`).join(", ");
  const bar = el("span", { class: "parts", role: "img", "aria-label": `of it: ${text}`, title: text });
  for (const part of there) {
    const piece = el("span", { class: `of-${part}` });
    piece.style.flexGrow = shares[part];
    bar.append(piece);
  }
  return bar;
}

/** Have at hand what reasons and recommendations will name. */
export const prepare = (items) => learn(items.flatMap((one) => [one.item, ...mentioned(one.why)]));
