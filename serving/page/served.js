// What is served, in a line at the top.

import { ask } from "./api.js";
import { count } from "./say.js";

const LOOK_MS = 5000;

export async function begin() {
  const place = document.getElementById("served");
  for (;;) {
    try {
      const said = await ask("/versions");
      const held = [
        said.log,
        said.learner,
        said.users !== undefined && `${count(said.users)} users`,
        said.items !== undefined && `${count(said.items)} items`,
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
