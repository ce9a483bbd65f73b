// What is served, in a line at the top.

import { ask } from "./api.js";
import { many } from "./say.js";

const LOOK_MS = 5000;

export async function begin() {
  const place = document.getElementById("served");
  for (;;) {
    try {
      const said = await ask("/versions", { tries: 1 });
      const held = [
        said.log,
        said.learner,
        said.users !== undefined && many(said.users, "user"),
        said.items !== undefined && many(said.items, "item"),
        said.version !== undefined && `version ${said.version}`,
      ];
      place.textContent = held.filter(Boolean).join(" · ");
      place.classList.remove("bad");
    } catch (error) {
      place.textContent = error.message;
      place.classList.add("bad");
    }
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
}
