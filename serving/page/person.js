// Who one is on this page: somebody whose clicks are kept here and sent along, or a user whose clicks are events.

import { ask, segment } from "./api.js";
import { el } from "./dom.js";
import { duration, many, moment } from "./say.js";

const MOST_VISITS = 256;
const MINUTE = 60_000;
const LOOK_MS = 50;
const PATIENCE_MS = 30_000;
const KEY = "ebbtide-key";

/** The key for what writes: typed, or of `#key=...`, kept as long as the tab is open. */
export const keyOf = () => sessionStorage.getItem(KEY) ?? "";
export const setKey = (key) => sessionStorage.setItem(KEY, key);

/** Take a key out of the address, so that it stays in no history. */
export function takeKey() {
  const given = /^#key=([^&]+)/.exec(location.hash);
  if (!given) return;
  setKey(decodeURIComponent(given[1]));
  history.replaceState(null, "", "#/somebody");
}

const nobody = () => `page-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
const offsetHere = () => -new Date().getTimezoneOffset();

/** Clicks stay in this page: history and clicks are posted together, and nothing of it is kept. */
export class Session {
  static async of(id) {
    if (id === null) return new Session(null, [], null, offsetHere());
    const said = await ask(`/users/${segment(id)}/memory`, { query: { k: 1 } });
    const history = said.events.map(({ item, time, label, lat, lon }) => ({ item, time, label, lat, lon, tz: said.utc_offset_min }));
    return new Session(id, history, Date.parse(said.event_time), said.utc_offset_min);
  }

  constructor(id, history, lastMs, offset) {
    Object.assign(this, { id, history, lastMs, offset, clicks: [] });
    this.route = "Nothing of it is kept: history and clicks go to POST /sessions/recommendations";
  }

  told() {
    if (this.id === null) return [el("p", {}, "Nobody yet: no history, no name.")];
    const last = `${many(this.history.length, "remembered event")}, the last ${moment(this.lastMs, this.offset)}`;
    return [el("p", {}, "User ", el("a", { href: `#/users/${segment(this.id)}` }, this.id), `: ${last}. Clicks come minutes later.`)];
  }

  click(item) {
    const ms = this.lastMs === null ? Date.now() : this.lastMs + (this.clicks.length + 1) * MINUTE;
    this.clicks.push({ item, ms });
  }

  drop(place) {
    this.clicks.splice(place, 1);
  }

  async recommended(k) {
    const clicks = this.clicks.map(({ item, ms }) => ({ item, time: new Date(ms).toISOString(), tz: this.offset }));
    const events = [...this.history, ...clicks].slice(-MOST_VISITS);
    if (events.length) return ask("/sessions/recommendations", { body: { events, k } });
    return ask(`/users/${nobody()}/recommendations`, { query: { k } });
  }
}

/** Clicks are events: they go to the broker, are learned from, and come back by what is published. */
export class Live {
  static async of(id, key) {
    return new Live(id ?? nobody(), key);
  }

  constructor(id, key) {
    Object.assign(this, { id, key, offset: offsetHere(), clicks: [] });
    this.route = "Clicks go to POST /events and are learned from; the list is GET /users/{id}/recommendations";
  }

  told() {
    return [el("p", {}, "User ", el("a", { href: `#/users/${segment(this.id)}` }, this.id), ": every click is an event, for good.")];
  }

  /** Until the click is in what is published. */
  async click(item) {
    const ms = Date.now();
    const event = { user: this.id, item, time: new Date(ms).toISOString(), label: 1 };
    if (this.shown?.items.has(item)) event.recommendation_id = this.shown.id;
    await ask("/events", { body: event, key: this.key });
    this.clicks.push({ item, ms });
    while (!(await this.published(ms))) {
      if (Date.now() - ms > PATIENCE_MS) throw new Error(`the event was taken, but is not published after ${duration(PATIENCE_MS)}: is \`ebbtide train\` running?`);
      await new Promise((done) => setTimeout(done, LOOK_MS));
    }
  }

  async published(ms) {
    try {
      return Date.parse((await ask(`/users/${segment(this.id)}`)).event_time) >= ms;
    } catch (error) {
      if (error.status === 404) return false;
      throw error;
    }
  }

  async recommended(k) {
    let id = null;
    const found = await ask(`/users/${segment(this.id)}/recommendations`, {
      query: { k, at: this.clicks.length ? new Date().toISOString() : null },
      head: (headers) => (id = headers.get("recommendation-id")),
    });
    this.shown = { id, items: new Set(found.items.map((one) => one.item)) };
    return found;
  }
}
