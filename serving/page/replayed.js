// A replay's report: what it read, how good it was beside the floors, what drifted.

import { lines } from "./charts.js";
import { card, el } from "./dom.js";
import { cycles } from "./cycles.js";
import { acted, alarmed } from "./drift.js";
import { count, duration, many, moment, number } from "./say.js";
import { tile, tiles } from "./tiles.js";

const METRICS = [
  ["auc", "AUC", "chance that what was liked is scored above what was not", false, "predictor"],
  ["log_loss", "log loss", "lower is better", true, "predictor"],
  ["recall@10", "recall@10", "true item among the first ten of the whole catalogue", false, "ranker"],
  ["ndcg@10", "NDCG@10", "the same, by place", false, "ranker"],
];
const COLOURS = ["s1", "s2", "s3"];

/** Sections of the page. */
export function replayed(report) {
  const told = METRICS.map((metric) => judged(report, metric)).filter(Boolean);
  return [facts(report), told.length ? el("div", { class: "tiles" }, told.map((one) => one.tile)) : null, el("div", { class: "grid" }, told.map((one) => one.card)), cycles(report.coevolution), drift(report), acted(report.actions)].filter(Boolean);
}

function facts(report) {
  const { log, events } = report;
  const lost = [
    [events.dead_letters, "dead letter"],
    [events.duplicates, "duplicate"],
    [events.late, "late event"],
  ].filter(([value]) => value);
  return card(
    `Replay of ${log.name}`,
    tiles(
      tile("events", count(events.used), `of ${count(events.read)} read${lost.map(([value, word]) => `, ${many(value, word)}`).join("")}`),
      tile("speed", `${count(report.events_per_second)}/s`, `${count(report.events_per_cpu_second)} a CPU-second`),
      tile("users in the log", count(log.users), report.user_memory ? `${count(report.user_memory.bytes_per_user)} bytes each` : null),
      tile("items in the log", count(log.items)),
      tile("time covered", duration(log.end_ms - log.start_ms), `${moment(log.start_ms)} to ${moment(log.end_ms)} UTC`),
    ),
    el("p", {}, el("a", { href: "/report.html" }, "The whole report"), " · ", el("a", { href: "/report" }, "as JSON")),
  );
}

/** The model beside the best floor: a tile and a chart, or nothing where nobody was judged by this. */
function judged(report, [key, name, what, lower, role]) {
  const model = report.learners.find((one) => one.name === report[role]);
  const value = model?.scored?.[key];
  if (value === null || value === undefined) return null;
  const better = (a, b) => (lower ? a < b : a > b);
  const floors = report.learners.filter((one) => one.floor && typeof one.scored?.[key] === "number").sort((a, b) => (better(a.scored[key], b.scored[key]) ? -1 : 1));
  const best = floors[0];
  const known = model.intervals?.find?.((one) => one.floor === best?.name && one.metric === key);
  const interval = known && known.low !== null ? `, difference ${number(known.difference, 4)} [${number(known.low, 4)}, ${number(known.high, 4)}]` : "";
  const kind = best ? (better(value, best.scored[key]) ? "good" : "bad") : null;
  const note = best ? `best floor ${number(best.scored[key], 4)} (${best.name})${interval}` : what;
  return { tile: tile(name, number(value, 4), note, kind), card: chart(report, { key, name, what }, model, floors.slice(0, COLOURS.length)) };
}

function chart(report, { key, name, what }, model, floors) {
  let seen = 0;
  const at = model.windows.map((one) => (seen += one.events));
  const series = [model, ...floors].map((one, place) => ({
    name: one.name,
    kind: place ? COLOURS[place - 1] : "s0",
    points: one.windows.map((part, number) => [at[number], part[key] ?? null]),
  }));
  const marks = report.drift
    .filter((alarm) => alarm.worse)
    .map((alarm) => ({ x: alarm.event, kind: alarm.open ? "open" : "", said: `${alarm.signal}: ${number(alarm.before)} to ${number(alarm.after)}` }))
    .filter(({ x }) => x <= at.at(-1));
  const drawn = lines(`${name} by window of events, of ${series.map((one) => one.name).join(", ")}`, series, { marks, inX: (x) => `${count(x)} events` });
  if (!drawn) return null;
  const legend = el("ul", { class: "legend" }, series.map((one, place) => el("li", {}, el("span", { class: `key ${one.kind}` }), place ? `${one.name} (floor)` : one.name)));
  return card(name, drawn, legend, el("p", { class: "soft" }, `${what}; each point a window of ${count(model.windows[0].events)} events, scored before they were learned.`));
}

function drift({ drift: alarms }) {
  if (!alarms.length) return null;
  return alarmed(alarms.map((one) => ({ ...one, when: `event ${count(one.event)}, ${moment(one.time_ms)}` })));
}
