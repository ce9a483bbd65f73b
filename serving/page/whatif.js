// "What if it were Friday evening, here": a weekday, an hour and a place to ask for.

import { el, field } from "./dom.js";
import { DAYS, clock, many, moment, next, percent } from "./say.js";

const PAUSE_MS = 60;

export class WhatIf {
  constructor(said, changed) {
    this.lastMs = Date.parse(said.event_time);
    this.offset = said.utc_offset_min;
    this.changed = changed;
    this.known = this.spots(said.events);
    const { day, hour } = clock(this.lastMs, this.offset);
    this.day = el("input", { type: "range", min: 0, max: 6, step: 1, value: day });
    this.hour = el("input", { type: "range", min: 0, max: 23, step: 1, value: hour });
    this.where = el("select", {}, el("option", { value: "" }, "where they were last"), this.known.map((one, place) => el("option", { value: place }, one.said)), el("option", { value: "else" }, "elsewhere"));
    this.lat = el("input", { type: "number", min: -90, max: 90, step: "any", value: this.known[0]?.lat.toFixed(4) ?? 0 });
    this.lon = el("input", { type: "number", min: -180, max: 180, step: "any", value: this.known[0]?.lon.toFixed(4) ?? 0 });
    this.else = el("div", { class: "row", hidden: true }, field("Latitude, °", this.lat), field("Longitude, °", this.lon));
    this.said = el("output", { class: "when" });
    this.daySaid = el("output", {});
    this.hourSaid = el("output", {});
    this.timed = false;
    for (const control of [this.day, this.hour]) control.addEventListener("input", () => this.moved(true));
    for (const control of [this.where, this.lat, this.lon]) control.addEventListener("input", () => this.moved(this.timed));
    const placed = this.known.length > 0;
    this.element = el(
      "div",
      { class: "whatif" },
      this.said,
      field(["Weekday", this.daySaid], this.day),
      field(["Hour", this.hourSaid], this.hour),
      placed ? [field("Place", this.where), this.else] : null,
      el("button", { type: "button", onclick: () => this.reset() }, "As of the last event"),
    );
    this.tell();
  }

  /** Places of events, each once, of which most is left first. */
  spots(events) {
    const found = new Map();
    for (const { lat, lon, retention } of events) {
      if (lat === null) continue;
      const one = found.get(`${lat} ${lon}`) ?? { lat, lon, weight: 0, events: 0 };
      one.weight += retention;
      one.events += 1;
      found.set(`${lat} ${lon}`, one);
    }
    const sorted = [...found.values()].sort((a, b) => b.events - a.events || b.weight - a.weight);
    const total = sorted.reduce((sum, one) => sum + one.events, 0);
    return sorted.map((one) => ({ ...one, said: `${one.lat.toFixed(3)}°, ${one.lon.toFixed(3)}° (${many(one.events, "event")}, ${percent(one.events / total)})`, here: this.where && this.chosen()?.lat === one.lat && this.chosen()?.lon === one.lon }));
  }

  chosen() {
    if (this.where.value === "") return null;
    if (this.where.value === "else") return { lat: Number(this.lat.value), lon: Number(this.lon.value) };
    return this.known[this.where.value];
  }

  /** What to ask the routes for. */
  asked() {
    const place = this.chosen();
    return { at: this.timed ? new Date(this.atMs()).toISOString() : null, lat: place?.lat, lon: place?.lon };
  }

  atMs() {
    return next(this.lastMs, this.offset, Number(this.day.value), Number(this.hour.value));
  }

  time(day, hour) {
    this.day.value = day;
    this.hour.value = hour;
    this.moved(true);
  }

  place(number) {
    this.where.value = number;
    this.moved(this.timed);
  }

  reset() {
    const { day, hour } = clock(this.lastMs, this.offset);
    this.where.value = "";
    this.time(day, hour);
    this.moved(false);
  }

  moved(timed) {
    this.timed = timed;
    this.else.hidden = this.where.value !== "else";
    this.tell();
    clearTimeout(this.later);
    this.later = setTimeout(this.changed, PAUSE_MS);
  }

  tell() {
    const named = `${DAYS[this.day.value]}, ${this.hour.value}:00`;
    this.daySaid.textContent = DAYS[this.day.value];
    this.hourSaid.textContent = `${this.hour.value}:00`;
    this.day.setAttribute("aria-valuetext", this.daySaid.textContent);
    this.hour.setAttribute("aria-valuetext", this.hourSaid.textContent);
    this.said.textContent = this.timed ? `${named} (${moment(this.atMs(), this.offset)})` : `The moment of the last event, ${moment(this.lastMs, this.offset)}`;
  }
}
