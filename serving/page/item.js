// An item looked up: what is known of it, and what is like it.

import { ask, segment } from "./api.js";
import { strip } from "./charts.js";
import { Chooser } from "./chooser.js";
import { card, el, problem } from "./dom.js";
import { called, facts, learn, link } from "./items.js";
import { lookup } from "./lookup.js";
import { moment, number } from "./say.js";

const K = 12;

export async function show(main, id) {
  if (id === null) {
    const chooser = new Chooser((item) => (location.hash = `#/items/${segment(item)}`));
    main.replaceChildren(card("An item", lookup("items", "Id", ""), chooser.element));
    return chooser.search();
  }
  const path = `/items/${segment(id)}`;
  const head = card(`Item ${id}`, lookup("items", "Another", ""));
  main.replaceChildren(head);
  try {
    const [vector, like] = await Promise.all([ask(path), ask(`${path}/similar`, { query: { k: K } }), learn([id])]);
    await learn(like.items.map((one) => one.item));
    head.querySelector("h2").textContent = called(id);
    head.append(about(id, vector));
    if (like.items.length) main.append(card("Like it", el("ol", { class: "bars" }, like.items.map(likeness))));
  } catch (error) {
    head.append(problem(error));
  }
  return null;
}

const pair = (name, value) => [el("dt", {}, name), el("dd", {}, value)];

function about(id, { vector, version, event_time }) {
  const numbers = vector.slice(0, -1);
  return el(
    "dl",
    { class: "facts" },
    pair("id", id),
    Object.entries(facts(id).columns).map(([column, values]) => pair(column.replaceAll("_", " "), values.join(", "))),
    pair("last event", `${moment(Date.parse(event_time))} UTC`),
    pair("version", String(version)),
    pair("bias", number(vector.at(-1))),
    pair(`vector, ${numbers.length} numbers`, strip("The item's vector; positive numbers in one colour, negative in another", numbers)),
  );
}

/** A name, a bar from 0 to 1, and the cosine. */
export function likeness({ item, score }) {
  const bar = el("meter", { min: 0, max: 1, value: Math.max(0, score), "aria-label": `cosine ${number(score, 2)}` });
  return el("li", {}, link(item), bar, el("span", { class: "score", title: "cosine of the two vectors" }, number(score, 2)));
}
