// What the system is doing now; of a replay's folder, what the run has come to.

import { ask, has } from "./api.js";
import { evolving } from "./cycles.js";
import { card, el } from "./dom.js";
import { Live } from "./live.js";
import { replayed } from "./replayed.js";
import { variants } from "./variants.js";
import { versions } from "./versions.js";

/** Nothing, of a store that cannot be asked now: the live part says so. */
function unready(error) {
  if (error.status !== 503) throw error;
  return null;
}

export async function show(main) {
  const [live, compared, kept] = await Promise.all([Live.begun(), variants().catch(unready), versions().catch(unready)]);
  const report = !live && (await has("/report")) ? replayed(await ask("/report")) : [];
  const nothing = card("The system", el("p", {}, "No trainer publishes here, and there is no report of a replay. ", el("a", { href: "/metrics" }, "Metrics of this server")));
  const evolved = live && (await evolving().catch(unready));
  const parts = [live?.element, ...report, evolved?.card, compared, kept].filter(Boolean);
  main.replaceChildren(...(parts.length ? parts : [nothing]));
  return () => {
    live?.end();
    evolved?.end();
  };
}
