// Versions that are kept: which is served, and a way back for those who have a key.

import { ask, has } from "./api.js";
import { card, el, field, problem, tell } from "./dom.js";
import { keyOf, setKey } from "./person.js";
import { count, moment } from "./say.js";

const ROLLBACK = "/versions/{version}:rollback";

/** A card, or null where nothing is kept. */
export async function versions() {
  const [said, able] = await Promise.all([ask("/versions", { tries: 1 }), has(ROLLBACK, "post")]);
  return said.kept?.length ? new Versions(able).show(said) : null;
}

class Versions {
  constructor(able) {
    this.able = able;
    this.trouble = el("div", {});
    this.body = el("div", {});
    this.card = card("Versions", this.trouble, this.body);
  }

  show(said) {
    const back = said.version !== said.newest;
    const key = el("input", { type: "password", autocomplete: "off", placeholder: "a key of `ebbtide new-key`" });
    key.value = keyOf();
    key.addEventListener("change", () => setKey(key.value.trim()));
    this.body.replaceChildren(
      el("p", { class: back ? "bad" : "soft" }, back ? `Readers are served version ${count(said.version)}, an earlier one; the newest is ${count(said.newest)}.` : `Readers are served the newest, ${count(said.newest)}.`),
      ...(this.able ? [field("Key", key)] : []),
      ...(this.able && back ? [el("button", { type: "button", onclick: () => this.post("/versions:resume") }, "Serve the newest again")] : []),
      el("ul", { class: "kept" }, said.kept.toReversed().map((one) => this.row(one))),
    );
    return this.card;
  }

  row({ version, note, made, bytes, served }) {
    const go = () => this.post(`/versions/${version}:rollback`);
    return el(
      "li",
      {},
      el("span", {}, el("b", {}, count(version)), note && ` ${note}`, el("span", { class: "soft" }, ` · ${moment(Date.parse(made))} UTC · ${(bytes / 1e6).toFixed(1)} MB`)),
      served ? el("span", { class: "tag" }, "served") : this.able && el("button", { type: "button", "aria-label": `Roll back to version ${version}`, onclick: go }, "Roll back"),
    );
  }

  async post(path) {
    this.trouble.replaceChildren();
    try {
      const said = await ask(path, { body: {}, key: keyOf() });
      this.show(said);
      tell(`version ${said.version} is served`);
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
    }
  }
}
