// The live path, as it says of itself every second: rates, lag, freshness, metrics beside the floor, drift.

import { ask } from "./api.js";
import { lines } from "./charts.js";
import { card, el, problem } from "./dom.js";
import { acted, alarmed } from "./drift.js";
import { embeddings } from "./embeddings.js";
import { count, duration, many, moment, number } from "./say.js";
import { tile, tiles } from "./tiles.js";

const KEPT = 600;
const SILENT_S = 10;
const BACKLOG = 1000;
const METRICS = [
  ["recall@10", "recall@10", false],
  ["ndcg@10", "NDCG@10", false],
  ["auc", "AUC", false],
  ["log_loss", "log loss, lower is better", true],
];

export class Live {
  constructor(history) {
    this.history = history;
    this.trouble = el("div", {});
    this.element = el("div", { class: "stack" });
    this.source = new EventSource("/status/stream");
    this.source.onmessage = (event) => this.take(JSON.parse(event.data));
    this.source.onerror = () => this.trouble.replaceChildren(problem(new Error("the stream of the server has ended; it is tried again")));
  }

  /** What is going on, with its history; null where no trainer publishes. */
  static async begun() {
    const said = await ask("/status");
    if (!said.live) return null;
    const shown = new Live(said.history);
    shown.take(said);
    return shown;
  }

  take(said) {
    this.trouble.replaceChildren();
    if (!said.live) return;
    this.note(said);
    const parts = [this.now(said), this.charts(), said.live.alarms.length && alarmed(said.live.alarms.map((one) => ({ ...one, when: moment(one.time_ms) }))), acted(said.live.actions), embeddings(said.live.embeddings)];
    const focused = this.element.contains(document.activeElement);
    if (!focused) this.element.replaceChildren(...parts.filter(Boolean));
  }

  note({ now_ms, live }) {
    const { trained, events_per_s, lag, metrics, floor } = live;
    const last = this.history.at(-1);
    if (last && now_ms - last.at_ms < 500) return;
    this.history = [...this.history.slice(1 - KEPT), { at_ms: now_ms, trained, events_per_s, lag, freshness_p99_ms: live.freshness_ms.p99 ?? null, metrics, floor }];
  }

  now({ live, users, items, version }) {
    const silent = live.silent_s > SILENT_S;
    const dead = Object.values(live.dead_letters).reduce((sum, one) => sum + one, 0);
    const trouble = [live.trouble, silent && `the trainer has said nothing for ${duration(1000 * live.silent_s)}`].filter(Boolean);
    return card(
      "Now",
      this.trouble,
      trouble.map((text) => problem({ title: "Trouble", message: text })),
      tiles(
        tile("events a second", number(live.events_per_s, 1), "learned, over the last 10 s", silent && "bad"),
        tile("lag", many(live.lag, "example"), "that wait for the trainer"),
        tile("freshness, p99", live.freshness_ms.p99 === undefined ? null : duration(live.freshness_ms.p99), `from an event to its being readable, last minute${live.lag > BACKLOG ? ": of a backlog that is still being learned" : ""}`),
        tile("learned", count(live.trained), live.duplicates ? `${many(live.duplicates, "duplicate")} dropped` : "events, each once"),
        tile("version", count(version), live.checkpoint_age_s === null ? null : `checkpoint ${duration(1000 * live.checkpoint_age_s)} old`),
        tile("users", count(users), `${many(items, "item")}`),
        live.event_time_ms === null ? null : tile("clock of the stream", moment(live.event_time_ms).slice(-5), `${moment(live.event_time_ms).slice(0, -6)} UTC, the latest event`),
        dead ? tile("dead letters", count(dead), Object.entries(live.dead_letters).map(([reason, times]) => `${times} ${reason}`).join(", "), "bad") : null,
      ),
    );
  }

  charts() {
    const last = this.history.at(-1);
    const paths = [
      this.chart("Events a second", [["learned", (one) => one.events_per_s, "s0"]]),
      this.chart("Lag, examples that wait", [["lag", (one) => one.lag, "s0"]]),
      this.chart("Freshness p99, ms", [["p99", (one) => one.freshness_p99_ms, "s0"]]),
      ...METRICS.map(([key, name, lower]) => this.judged(key, name, lower, last)),
    ];
    return el("div", { class: "grid three" }, paths.filter(Boolean));
  }

  judged(key, name, lower, last) {
    const value = last?.metrics[key];
    if (value === undefined) return null;
    const floor = last.floor[key];
    const better = floor === undefined ? null : (lower ? value < floor : value > floor) ? "good" : "bad";
    const said = el("p", { class: "soft" }, el("b", { class: better ?? "" }, number(value, 4)), floor === undefined ? "" : ` beside ${number(floor, 4)} of the best floor (dashed)`);
    return this.chart(name, [["the model", (one) => one.metrics[key] ?? null, "s0"], ["the best floor", (one) => one.floor[key] ?? null, "s1"]], said);
  }

  /** A chart over the history; nothing where there are not two points. */
  chart(name, wanted, said) {
    const series = wanted
      .map(([title, value, kind]) => ({ name: title, kind, points: this.history.map((one) => [one.at_ms, value(one)]) }))
      .filter(({ points }) => points.filter(([, y]) => y !== null).length > 1);
    if (!series.length) return null;
    const now = this.history.at(-1).at_ms;
    const inX = (ms) => (ms === now ? "now" : `${duration(now - ms)} ago`);
    return card(name, said, lines(`${name}, over the last ${duration(now - this.history[0].at_ms)}`, series, { inX, height: 150 }));
  }

  end() {
    this.source.close();
  }
}
