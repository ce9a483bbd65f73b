// Cycles of co-evolution: what moved, and whether it was promoted.

import { card, el } from "./dom.js";
import { many, moment, number } from "./say.js";

const interval = (one) => (one ? `${number(one.value)} [${number(one.low)}, ${number(one.high)}]` : "–");
const HEADS = ["cycle", "when", "version", "slates", "codes changed", "acceptance before", "after", "difference, 95 %", "verdict"];

/** A card of a report's cycles; null where there were none. */
export function cycles(told) {
  if (!told?.cycles?.length) return null;
  const head = el("tr", {}, HEADS.map((name) => el("th", { scope: "col" }, name)));
  const rows = told.cycles.map((one) => {
    const { verdict } = one;
    const cells = [one.number, moment(one.time_ms), verdict.promoted ? `${one.from_version} → ${one.to_version}` : one.from_version, one.slates, one.codes_changed, number(verdict.before?.value), number(verdict.after?.value), interval(verdict.difference)];
    return el("tr", {}, cells.map((cell) => el("td", {}, String(cell))), el("td", {}, el("b", { class: verdict.promoted ? "good" : "" }, verdict.promoted ? "promoted" : "refused"), el("span", { class: "soft" }, ` ${verdict.reason}`)));
  });
  const promoted = told.cycles.filter((one) => one.verdict.promoted).length;
  const said = `${many(told.cycles.length, "cycle")}, ${promoted} promoted; ${many(told.clusters.length, "cluster")} of items by ${told.clusters_by}; version ${told.serving} serves.`;
  return card("Cycles", el("p", { class: "soft" }, said), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Cycles" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows))));
}
