// Be somebody: new, or a user of the log; every click changes the list.

import { ask, has } from "./api.js";
import { Chooser } from "./chooser.js";
import { card, el, field, problem, tell } from "./dom.js";
import { Live, Session, keyOf, setKey } from "./person.js";
import { learn, link } from "./items.js";
import { many, moment } from "./say.js";
import { prepare } from "./why.js";
import { Recommendations } from "./recommendations.js";

const K = 10;

export async function show(main, id) {
  const view = new Somebody(await has("/events", "post"));
  main.replaceChildren(view.element);
  await view.be(id);
}

class Somebody {
  constructor(takesEvents) {
    this.takesEvents = takesEvents;
    this.list = new Recommendations({ take: (item) => this.click(item), verb: "Take" });
    this.who = el("div", {});
    this.trail = el("ol", { class: "trail" });
    this.told = el("p", { class: "soft told" });
    this.trouble = el("div", {});
    this.turn = 0;
    const chooser = new Chooser((item) => this.click(item));
    this.element = el(
      "div",
      { class: "two" },
      el(
        "div",
        {},
        card("You", this.controls(), this.who, this.trail),
        card("What there is", el("p", { class: "soft" }, "Click what you like, five things or so. The list goes by it at once."), chooser.element),
      ),
      el("div", { class: "beside" }, card("Recommended to you", this.told, this.trouble, this.list.element)),
    );
    chooser.search();
  }

  controls() {
    const id = el("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "id, as in the log" });
    const form = el("form", { class: "row" }, field("A user of the log", id), el("button", {}, "Be this user"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (id.value) this.be(id.value);
    });
    const anybody = el("button", { type: "button", onclick: () => this.anybody(id) }, "Anybody");
    const fresh = el("button", { type: "button", onclick: () => this.be(null) }, "Be new");
    form.append(anybody, fresh);
    return this.takesEvents ? [form, this.sending()] : form;
  }

  /** Where clicks go, for those who have a key. */
  sending() {
    const key = el("input", { type: "password", autocomplete: "off", placeholder: "a key of `ebbtide new-key`" });
    key.value = keyOf();
    key.addEventListener("change", () => {
      setKey(key.value.trim());
      this.be(null);
    });
    return el("details", { open: Boolean(key.value) }, el("summary", {}, "Send clicks as events, to be learned from"), field("Key", key));
  }

  async anybody(input) {
    await this.guarded(async () => {
      const { users } = await ask("/users", { query: { k: 1 } });
      if (!users.length) return;
      input.value = users[0];
      await this.be(users[0]);
    });
  }

  async be(id) {
    await this.guarded(async () => {
      const key = keyOf();
      const person = key && this.takesEvents ? await Live.of(id, key) : await Session.of(id);
      this.person = person;
      this.list.offset = person.offset;
      this.list.places = null;
      this.who.replaceChildren(...person.told());
      await this.refresh(0);
    });
  }

  async click(item) {
    await this.guarded(async () => {
      const began = performance.now();
      await this.person.click(item);
      await this.refresh(began);
    });
  }

  /** Ask again, and show how the list has moved; a later click goes before an earlier answer. */
  async refresh(began) {
    const turn = ++this.turn;
    const { items, by, version } = await this.person.recommended(K);
    await Promise.all([prepare(items), learn(this.person.clicks.map((one) => one.item))]);
    if (turn !== this.turn) return;
    this.remember();
    const moved = this.list.show(items);
    const ms = began ? Math.round(performance.now() - began) : null;
    this.told.dataset.ms = ms ?? "";
    const taken = ms === null ? "" : `, ${ms} ms after the click`;
    this.told.textContent = `${by === "popularity" ? "What is popular, as long as nobody knows you" : `By ${by}`}, version ${version}${taken}. ${this.person.route}.`;
    if (ms !== null) tell(`${many(moved, "item")} of ${items.length} moved; first is now ${items.length ? items[0].item : "nothing"}`);
  }

  remember() {
    const clicks = this.person.clicks;
    const drop = (place) => {
      this.person.drop(place);
      this.guarded(() => this.refresh(performance.now()));
    };
    this.trail.replaceChildren(
      ...clicks.map((one, place) =>
        el(
          "li",
          { title: moment(one.ms, this.person.offset) },
          link(one.item),
          this.person.drop && el("button", { type: "button", class: "drop", "aria-label": `Take back ${one.item}`, onclick: () => drop(place) }, "×"),
        ),
      ),
    );
  }

  async guarded(work) {
    this.trouble.replaceChildren();
    try {
      await work();
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
    }
  }
}
