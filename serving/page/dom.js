// Elements. Whatever comes from outside goes in as text, so it is never markup.

const SVG = "http://www.w3.org/2000/svg";

function made(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element: attributes, listeners as `onclick`, children (elements or texts). */
export const el = (tag, given = {}, ...children) => made(document.createElement(tag), given, children);

/** The same of SVG. */
export const svg = (tag, given = {}, ...children) => made(document.createElementNS(SVG, tag), given, children);

/** A card with a heading. */
export function card(title, ...children) {
  const heading = el("h2", {}, title);
  return el("section", { class: "card" }, heading, ...children);
}

/** Says something to those who listen to the page. */
export function tell(text) {
  document.getElementById("told").textContent = text;
}

/** What went wrong, in the words of the server. */
export const problem = (error) =>
  el(
    "div",
    { class: "problem", role: "alert" },
    el("strong", {}, error.title ?? "Something went wrong"),
    el("span", {}, error.message),
    (error.errors ?? []).map((one) => el("span", { class: "soft" }, one)),
  );

let names = 0;

/** A label beside its control. */
export function field(text, control) {
  control.id ||= `field-${++names}`;
  return el("div", { class: "field" }, el("label", { for: control.id }, text), control);
}
