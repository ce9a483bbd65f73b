// The live path, as it says of itself by server-sent events.

import { card, el, problem } from "./dom.js";

export class Live {
  constructor(main) {
    this.place = el("div", {});
    main.append(this.place);
    this.source = new EventSource("/status/stream");
    this.source.onmessage = (event) => this.place.replaceChildren(card("Now", el("pre", {}, event.data)));
    this.source.onerror = () => this.place.prepend(problem(new Error("the stream of the server has ended; trying again")));
  }

  end() {
    this.source.close();
  }
}
