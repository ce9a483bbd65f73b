// A figure with its unit and what it is.

import { el } from "./dom.js";

/** `kind` is good, bad or nothing; a figure of null is not drawn. */
export function tile(name, value, note, kind) {
  if (value === null || value === undefined) return null;
  return el("div", { class: "tile" }, el("span", { class: "name" }, name), el("b", { class: kind ?? "" }, value), note && el("span", { class: "soft" }, note));
}

export const tiles = (...found) => el("div", { class: "tiles" }, found);
