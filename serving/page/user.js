// A user looked up: what is remembered of them, and what would be recommended at another time, elsewhere.

import { ask, segment } from "./api.js";
import { fading, hours, places } from "./charts.js";
import { card, el, problem, tell } from "./dom.js";
import { likeness } from "./item.js";
import { called, learn, link } from "./items.js";
import { lookup } from "./lookup.js";
import { Recommendations } from "./recommendations.js";
import { clock, duration, many, moment, percent } from "./say.js";
import { WhatIf } from "./whatif.js";
import { prepare } from "./why.js";

const K = 10;
const LISTED = 40;
const AHEAD_MS = 3 * 86_400_000;

export async function show(main, id) {
  if (id !== null) return new UserView(id, main).begin();
  const { users } = await ask("/users", { query: { k: 24 } });
  const some = el("ul", { class: "cloud" }, users.map((one) => el("li", {}, el("a", { href: `#/users/${segment(one)}` }, one.slice(0, 60)))));
  main.replaceChildren(card("A user", lookup("users", "Id", ""), users.length ? [el("p", { class: "soft" }, "Some, drawn at random:"), some] : null));
  return null;
}

class UserView {
  constructor(id, main) {
    Object.assign(this, { id, main, turn: 0 });
    this.path = `/users/${segment(id)}`;
    this.list = new Recommendations();
    this.memory = el("div", { class: "grid" });
    this.told = el("p", { class: "soft told" });
    this.trouble = el("div", {});
  }

  async begin() {
    const head = card(`User ${this.id.slice(0, 80)}`, lookup("users", "Another", ""));
    this.main.replaceChildren(head);
    try {
      const said = await ask(`${this.path}/memory`);
      this.list.offset = said.utc_offset_min;
      this.whatIf = new WhatIf(said, () => this.refresh());
      head.append(summary(said));
      const asked = card("What if it were", this.whatIf.element);
      this.main.append(el("div", { class: "two looked" }, asked, el("div", { class: "beside" }, card("Recommendations", this.told, this.trouble, this.list.element)), this.memory));
      await this.refresh();
    } catch (error) {
      head.append(problem(error));
    }
    return () => this.flight?.abort();
  }

  async refresh() {
    this.flight?.abort();
    this.flight = new AbortController();
    const began = performance.now();
    const options = { signal: this.flight.signal };
    const query = this.whatIf.asked();
    try {
      const [memory, found] = await Promise.all([
        ask(`${this.path}/memory`, { ...options, query: { ...query, k: 4 } }),
        ask(`${this.path}/recommendations`, { ...options, query: { ...query, k: K } }),
      ]);
      await Promise.all([prepare(found.items), learn(memory.events.map((one) => one.item)), learn(memory.interests.flatMap((one) => one.items.map((like) => like.item)))]);
      this.trouble.replaceChildren();
      const moved = this.list.show(found.items);
      const ms = Math.round(performance.now() - began);
      this.told.textContent = `As of ${moment(Date.parse(memory.at), memory.utc_offset_min)}, by ${found.by}, version ${found.version}, asked and drawn in ${ms} ms.`;
      if (moved) tell(`${many(moved, "item")} of ${found.items.length} moved`);
      this.memory.replaceChildren(...this.drawn(memory));
    } catch (error) {
      if (error.name !== "AbortError") this.trouble.replaceChildren(problem(error));
    }
  }

  drawn(memory) {
    return [retention(memory), week(memory, this.whatIf), where(memory, this.whatIf), interests(memory)].filter(Boolean);
  }
}

function summary(said) {
  const offset = said.utc_offset_min;
  const clockSaid = offset ? `, ${offset > 0 ? "+" : "−"}${duration(Math.abs(offset) * 60_000)} from UTC` : ", UTC";
  const repeats = said.events.length - new Set(said.events.map((one) => one.item)).size;
  const be = el("a", { href: `#/somebody/${segment(said.user)}` }, "Be this user");
  return el("p", { class: "soft" }, be, ` · ${many(said.events.length, "event")} remembered, ${repeats} of them repeats. The last was on ${moment(Date.parse(said.event_time), offset)} (own clock${clockSaid}). Version ${said.version}.`);
}

function retention({ events, at, utc_offset_min: offset }) {
  if (!events.length) return null;
  const atMs = Date.parse(at);
  const byItem = new Map(events.map((one) => [one.item, one]));
  const kept = [...byItem.values()].sort((a, b) => b.retention - a.retention);
  const said = (one) => `${called(one.item)}: ${percent(one.retention)} left; strength ${duration(1000 * one.strength_s)}`;
  const memories = kept.slice(0, LISTED).map((one) => ({ lastMs: Date.parse(one.last), strengthS: one.strength_s, said: said(one) }));
  const from = Math.min(...memories.map((one) => one.lastMs));
  const until = atMs + Math.max(AHEAD_MS, (atMs - from) / 4);
  const chart = fading(`Retention of ${many(memories.length, "item")} from when each was met last until ${moment(atMs, offset)}`, memories, [from, atMs, until], (ms) => moment(ms, offset));
  const rows = events
    .slice()
    .reverse()
    .map((one) => el("tr", {}, el("td", {}, link(one.item)), el("td", {}, moment(Date.parse(one.time), offset)), el("td", { class: "num" }, percent(one.retention)), el("td", { class: "num" }, duration(1000 * one.strength_s)), el("td", { class: "num" }, one.label === null ? "–" : String(one.label))));
  const head = el("tr", {}, ["item", "when", "left", "strength", "label"].map((name, place) => el("th", { scope: "col", class: place > 1 && "num" }, name)));
  return card(
    "What is left of each memory",
    chart,
    el("p", { class: "soft" }, `The ${many(memories.length, "item")} of which most is left; ${many(events.length, "event")} in all. Each fades by its own strength; dashed: what will be left.`),
    el("details", {}, el("summary", {}, "Every event"), el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Every event" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows)))),
  );
}

function week({ events, at, utc_offset_min: offset }, whatIf) {
  if (!events.length) return null;
  const weights = new Array(168).fill(0);
  for (const one of events) {
    const { day, hour } = clock(Date.parse(one.time), offset);
    weights[24 * day + hour] += one.retention;
  }
  const then = clock(Date.parse(at), offset);
  const chart = hours("What is remembered by weekday and hour; the time asked for has a frame", weights, 24 * then.day + then.hour, (day, hour) => whatIf.time(day, hour));
  return card("Hours of the week", chart, el("p", { class: "soft" }, "Darker: more is left of what was done then. A click asks for that hour."));
}

function where({ events }, whatIf) {
  const found = whatIf.spots(events);
  if (found.length < 2) return null;
  const chart = places("Places of remembered events; larger: more is left of them", found, (place) => whatIf.place(place));
  return card("Places", chart, el("p", { class: "soft" }, `${many(found.length, "place")}; larger: more is left of what was done there. A click asks for it.`));
}

function interests({ interests: found }) {
  if (!found.length) return null;
  const one = ({ name, length, items }) => el("div", {}, el("h3", {}, name, el("span", { class: "soft" }, ` length ${length.toFixed(2)}`)), el("ol", { class: "bars" }, items.map(likeness)));
  return card("Interests, and what each points at", el("div", { class: "interests" }, found.map(one)));
}
