// The views of the page, by what stands behind the # of its address.

import { ask } from "./api.js";
import { el, problem } from "./dom.js";
import { takeKey } from "./person.js";
import { begin } from "./served.js";
import * as item from "./item.js";
import * as somebody from "./somebody.js";
import * as system from "./system.js";
import * as user from "./user.js";

const RETRY_MS = 1000;
const VIEWS = { somebody, users: user, items: item, system };
const main = document.getElementById("main");
let leave = null;
let turn = 0;

async function go() {
  const [, name, rest] = /^#\/([a-z]+)(?:\/(.*))?$/s.exec(location.hash) ?? [];
  if (location.hash && !name) return; // a place within the view
  const view = VIEWS[name] ?? somebody;
  const mine = ++turn;
  leave?.();
  leave = null;
  const [said] = [...document.querySelectorAll("nav a")].filter((link) => VIEWS[link.hash.slice(2)] === view);
  document.getElementById("view").textContent = said.textContent;
  document.title = `${said.textContent} · Ebbtide`;
  for (const link of document.querySelectorAll("nav a")) {
    if (VIEWS[link.hash.slice(2)] === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    if (view !== system) await ready(() => mine === turn);
    const left = await view.show(main, rest === undefined ? null : decoded(rest));
    if (mine === turn) leave = left ?? null;
    else left?.();
  } catch (error) {
    if (mine === turn) main.replaceChildren(el("div", { class: "card" }, problem(error)));
  }
}

/** Until the server can answer; what it waits for is told meanwhile. */
async function ready(still) {
  while (still()) {
    try {
      await ask("/readyz", { tries: 1 });
      return;
    } catch (error) {
      if (error.status !== 503 && error.status !== 0) throw error;
      main.replaceChildren(el("section", { class: "card", role: "status" }, el("h2", {}, "Not ready yet"), el("p", {}, error.message), el("p", { class: "soft" }, "It is asked again every second. ", el("a", { href: "#/system" }, "What the system is doing"))));
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

takeKey();
addEventListener("hashchange", go);
begin();
go();
