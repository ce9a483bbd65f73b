// Variants that are compared: who is served by which, what came of it, and which wins.

import { ask, has } from "./api.js";
import { card, el } from "./dom.js";
import { count, number } from "./say.js";

const VERDICT = "/variants/verdict";

/** A card, or null where nothing is compared. */
export async function variants() {
  const served = await ask("/variants", { tries: 1 });
  if (served.length < 2) return null;
  const told = (await has(VERDICT)) ? await ask(VERDICT) : null;
  const heads = ["variant", "version", "users", "events", "of recommendations", "a user"];
  const rows = served.map(({ name, version }) => {
    const arm = told?.arms.find((one) => one.name === name);
    const cells = [count(version), ...(arm ? [count(arm.users), count(arm.events), count(arm.taken), number(arm.per_user, 4)] : ["–", "–", "–", "–"])];
    return el("tr", {}, el("th", { scope: "row" }, name, told?.winner === name && el("span", { class: "tag" }, "wins")), cells.map((cell) => el("td", {}, cell)));
  });
  const between = (told?.compared ?? []).map((one) => el("p", {}, `${one.variant} − ${one.other}: ${number(one.difference, 4)} [${number(one.low, 4)}, ${number(one.high, 4)}] events a user, 95 %`));
  const said = told ? told.said : "Which wins is told where the server knows the brokers (--brokers).";
  return card(
    "Variants",
    el("p", {}, el("b", { class: told?.winner ? "good" : "" }, said)),
    between,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Variants" }, el("table", {}, el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows))),
    told && el("p", { class: "soft" }, "Users are split by a hash of their ids. Decide beforehand when to look: who stops at the first winner finds one where there is none."),
  );
}
