// Alarms of drift, and what was done about them.

import { card, el } from "./dom.js";
import { many, moment, number, percent } from "./say.js";

const HEADS = ["signal", "when", "before", "after", "is", "state"];
const numeric = (place) => place === 2 || place === 3;

/** A table of alarms, each with `when` it was raised in words. */
export function alarmed(alarms) {
  const head = el("tr", {}, HEADS.map((name, place) => el("th", { scope: "col", class: numeric(place) && "num" }, name)));
  const open = alarms.filter((one) => one.open).length;
  const table = el("table", {}, el("thead", {}, head), el("tbody", {}, alarms.toReversed().map(row)));
  return card("Drift", el("p", { class: "soft" }, `${many(alarms.length, "alarm")}, ${open} open, the newest first.`), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Alarms" }, table));
}

function row(one) {
  const kind = one.worse ? "worse" : one.worse === false ? "better" : "another level";
  const state = one.open ? "open" : one.worse ? "over" : "–";
  const cells = [[one.signal, one.name && el("span", { class: "soft" }, ` ${one.name}`)], one.when, number(one.before), number(one.after), kind, state];
  return el("tr", { class: one.open && "bad" }, cells.map((cell, place) => el("td", { class: numeric(place) && "num" }, cell)));
}

/** What was done about it; nothing where nothing was. */
export function acted(actions) {
  if (!actions?.length) return null;
  const said = (one) => `${moment(one.time_ms)}: ${one.do === "doubt" ? `gave back ${percent(one.share)} of its certainty` : one.do}, on ${one.on} (${number(one.before)} to ${number(one.after)})`;
  return card("What was done about it", el("ul", {}, actions.map((one) => el("li", {}, said(one), judged(one.worth)))));
}

function judged(worth) {
  if (!worth) return null;
  const differ = worth.differences.filter((one) => ["log_loss", "recall@10"].includes(one.metric)).map((one) => `${one.metric} ${one.difference < 0 ? "" : "+"}${one.difference.toFixed(4)}`);
  return el("span", { class: "soft" }, ` Without that, over ${many(worth.events, "event")}: ${[...differ, worth.verdict].join(", ")}.`);
}
