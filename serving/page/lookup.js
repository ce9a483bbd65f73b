// A form that leads to a user's or an item's page.

import { segment } from "./api.js";
import { el, field } from "./dom.js";

/** `kind` is `users` or `items`; `more` are further buttons. */
export function lookup(kind, label, id, ...more) {
  const input = el("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "id, as in the log", value: id ?? "" });
  const form = el("form", { class: "row" }, field(label, input), el("button", {}, "Look up"), more);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value) location.hash = `#/${kind}/${segment(input.value)}`;
  });
  return form;
}
