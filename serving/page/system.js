// What the system is doing now; of a replay's folder, what the run has come to.

import { ask, has } from "./api.js";
import { card, el, problem } from "./dom.js";
import { Live } from "./live.js";
import { replayed } from "./replayed.js";

export async function show(main) {
  const [live, report] = await Promise.all([has("/status/stream"), has("/report")]);
  main.replaceChildren();
  if (report) {
    try {
      main.append(...replayed(await ask("/report")));
    } catch (error) {
      main.append(el("div", { class: "card" }, problem(error)));
    }
  }
  if (live && !report) {
    const shown = new Live(main);
    return () => shown.end();
  }
  if (!report) {
    main.append(card("The system", el("p", {}, "Neither a run's folder nor a live path is served here: there is nothing to tell. ", el("a", { href: "/metrics" }, "Metrics of this server"))));
  }
  return null;
}
