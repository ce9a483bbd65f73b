// Cycles of co-evolution: what moved, whether it was promoted and why; live, a way back for those who have a key.

import { ask, has } from "./api.js";
import { card, el, field, problem, tell } from "./dom.js";
import { keyOf, setKey } from "./person.js";
import { count, many, moment, number, percent } from "./say.js";

const ROLLBACK = "/cycles:rollback";
const AGAIN_MS = 3000;
const SHOWN = 20;
const CLUSTERS = 40;
const interval = (one) => (one ? `${number(one.value)} [${number(one.low)}, ${number(one.high)}]` : "–");
const HEADS = ["cycle", "when", "version", "explored", "codes changed", "acceptance before", "after", "difference, 95 %", "verdict"];

/** A card of a report's cycles; null where there were none. */
export function cycles(told) {
  return told?.cycles?.length ? card("Cycles", said(told)) : null;
}

/** A card of a trainer's cycles that follows them until its `end`; null where its learner has none. */
export async function evolving() {
  const [told, able] = await Promise.all([ask("/cycles", { tries: 1 }), has(ROLLBACK, "post")]);
  return told && new Evolving(able, told);
}

class Evolving {
  constructor(able, told) {
    this.trouble = el("div", {});
    this.body = el("div", {});
    this.card = card("Cycles", this.trouble, this.body, able && this.way());
    this.show(told);
    this.timer = setInterval(() => this.look(), AGAIN_MS);
  }

  show(told) {
    this.body.replaceChildren(...said(told));
  }

  way() {
    const key = el("input", { type: "password", autocomplete: "off", placeholder: "a key of `ebbtide new-key`" });
    key.value = keyOf();
    key.addEventListener("change", () => setKey(key.value.trim()));
    const button = (path, text) => el("button", { type: "button", onclick: () => this.post(path, text) }, text);
    return el("div", {}, field("Key for cycles", key), button("/cycles:run", "Begin a cycle"), button(ROLLBACK, "Explore by the version before"));
  }

  async look() {
    try {
      this.show(await ask("/cycles", { tries: 1 }));
    } catch {
      // The live part of the view says what is wrong with the server.
    }
  }

  async post(path, text) {
    this.trouble.replaceChildren();
    try {
      const answer = await ask(path, { body: {}, key: keyOf() });
      tell(`${text}: ${answer.said ?? "the trainer was asked, and is busy"}`);
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
    }
  }

  end() {
    clearInterval(this.timer);
  }
}

/** What cycles came to, and the newest in a table. */
function said(told) {
  const promoted = told.cycles.filter((one) => one.verdict.promoted).length;
  const clusters = `${many(told.clusters.length - 1, "cluster")} of items by ${told.clusters_by}`;
  const now = told.running ? " A cycle is running." : "";
  const facts = el("p", { class: "soft" }, `${many(told.cycles.length, "cycle")}, ${promoted} promoted; ${clusters}; version ${told.serving} serves.${now}`);
  if (!told.cycles.length) return [facts];
  const head = el("tr", {}, HEADS.map((name) => el("th", { scope: "col" }, name)));
  const table = el("table", {}, el("thead", {}, head), el("tbody", {}, told.cycles.slice(-SHOWN).toReversed().map(row)));
  return [facts, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Cycles" }, table), ...clustered(told), ...answered(told)];
}

/** What items are grouped into, the largest first. */
function clustered(told) {
  const largest = told.clusters.slice(1).toSorted((one, other) => other.items - one.items);
  if (!largest.length) return [];
  const named = largest.slice(0, CLUSTERS).map((one) => el("li", {}, `${one.name}: ${many(one.items, "item")}, such as ${one.popular.join(", ")}`));
  return [el("details", {}, el("summary", {}, "Clusters"), el("ul", {}, named))];
}

/** What became of what was asked of the trainer, the newest last. */
function answered(told) {
  return (told.answers ?? []).map((one) => el("p", { class: "soft" }, `${one.what} was asked for${one.time_ms === null ? "" : ` at ${moment(one.time_ms)}`}: ${one.refused ? "refused: " : ""}${one.said}`));
}

function row(one) {
  const { verdict, verified } = one;
  const version = verdict.promoted ? `${one.from_version} → ${one.to_version}` : one.from_version;
  const cells = [one.number, moment(one.time_ms), version, count(verified.slates), percent(one.codes_changed), number(verdict.before?.value), number(verdict.after?.value), interval(verdict.difference)];
  const outcome = el("b", { class: verdict.promoted ? "good" : "" }, verdict.promoted ? "promoted" : "refused");
  return el("tr", {}, cells.map((cell) => el("td", {}, String(cell))), el("td", {}, outcome, el("span", { class: "soft" }, ` ${verdict.reason}`)));
}
