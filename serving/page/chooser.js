// Items to choose from: what is popular, or what the words find.

import { ask } from "./api.js";
import { el, field, problem } from "./dom.js";
import { called, categories, facts, take } from "./items.js";

const PAUSE_MS = 120;
const SHOWN = 18;

export class Chooser {
  constructor(chosen) {
    this.chosen = chosen;
    this.list = el("ul", { class: "choices" });
    const input = el("input", { type: "search", autocomplete: "off", placeholder: "title, word or id" });
    input.addEventListener("input", () => {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.search(input.value), PAUSE_MS);
    });
    this.element = el("div", {}, field("Find", input), this.list);
    this.turn = 0;
  }

  async search(q = "") {
    const turn = ++this.turn;
    try {
      const { items } = await ask("/items", { query: { q, k: SHOWN } });
      if (turn !== this.turn) return;
      take(items);
      this.list.replaceChildren(...(items.length ? items.map((one) => this.choice(one.item)) : [el("li", { class: "soft" }, "nothing is called so")]));
    } catch (error) {
      this.list.replaceChildren(el("li", {}, problem(error)));
    }
  }

  choice(item) {
    const title = facts(item).title;
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", onclick: () => this.chosen(item) },
        el("span", {}, called(item)),
        el("span", { class: "soft" }, categories(item, title ? 2 : 1)),
      ),
    );
  }
}
