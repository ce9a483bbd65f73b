// A list of recommendations that shows how it has moved since it was shown last.

import { called, categories, link } from "./items.js";
import { el } from "./dom.js";
import { number } from "./say.js";
import { legend, why } from "./why.js";

const MOVE_MS = 320;

export class Recommendations {
  /** `take(item)`, if given, is offered beside each item; `verb` says what it does. */
  constructor({ take, verb, offset = 0 } = {}) {
    this.list = el("ol", { class: "recommendations" });
    this.element = el("div", {}, this.list);
    this.offset = offset;
    this.take = take;
    this.verb = verb;
    this.places = null;
    this.rows = new Map();
  }

  /** Show this list; how many of its items are elsewhere than before, or new. */
  show(items) {
    const before = new Map([...this.rows].map(([item, row]) => [item, row.getBoundingClientRect().top]));
    const rows = new Map(items.map((one, place) => [one.item, this.row(one, place)]));
    const moved = items.filter((one, place) => this.places !== null && this.places.get(one.item) !== place).length;
    this.list.replaceChildren(...rows.values());
    this.element.replaceChildren(...[legend(items), this.list].filter(Boolean));
    this.slide(rows, before);
    this.rows = rows;
    this.places = new Map(items.map((one, place) => [one.item, place]));
    return moved;
  }

  row(one, place) {
    return el(
      "li",
      {},
      el("div", { class: "place" }, String(place + 1), this.move(one.item, place)),
      el("div", { class: "said" }, el("div", { class: "title" }, link(one.item), categories(one.item, 3)), why(one.item, one.why, this.offset)),
      el("div", { class: "score", title: "the score that the list is sorted by; it has no unit" }, number(one.score)),
      this.take ? el("button", { type: "button", class: "take", "aria-label": `${this.verb} ${called(one.item)}`, onclick: () => this.take(one.item) }, this.verb) : null,
    );
  }

  move(item, place) {
    if (this.places === null) return null;
    const was = this.places.get(item);
    if (was === undefined) return el("span", { class: "move new" }, "new");
    if (was === place) return null;
    const by = Math.abs(was - place);
    const up = was > place;
    const mark = el("span", { "aria-hidden": "true" }, `${up ? "▲" : "▼"} ${by}`);
    return el("span", { class: `move ${up ? "up" : "down"}` }, mark, el("span", { class: "unseen" }, `${up ? "up" : "down"} by ${by}`));
  }

  slide(rows, before) {
    if (this.places === null || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [item, row] of rows) {
      const top = row.getBoundingClientRect().top;
      const from = before.has(item) ? before.get(item) - top : 12;
      const opacity = before.has(item) ? 1 : 0;
      if (from || !opacity) {
        row.animate([{ transform: `translateY(${from}px)`, opacity }, { transform: "none", opacity: 1 }], { duration: MOVE_MS, easing: "ease-out" });
      }
    }
  }
}
