// How the published vectors are, as the trainer saw them last.

import { card } from "./dom.js";
import { count, moment, number, percent } from "./say.js";
import { tile, tiles } from "./tiles.js";

/** A card, or null where nobody has looked. */
export function embeddings(seen) {
  if (!seen) return null;
  return card(
    "Embeddings",
    tiles(
      tile("with a vector", percent(seen.covered), `of a sample of ${count(seen.items)} items`, seen.covered < 1 ? "bad" : ""),
      tile("norm", number(seen.norm), `median; 95th percentile ${number(seen.norm_95)}`),
      tile("effective rank", number(seen.effective_rank, 1), `of ${seen.width}: 1 is a line, ${seen.width} evenly spread`),
      tile("centre moved", seen.centroid_shift === null ? null : number(seen.centroid_shift), "since the look before, by the mean norm"),
      tile("neighbours changed", seen.neighbour_churn === null ? null : percent(seen.neighbour_churn), "of the ten nearest, since the look before"),
      tile("looked at", moment(seen.time_ms).slice(-5), `${moment(seen.time_ms).slice(0, -6)} UTC, after event ${count(seen.event)}`),
    ),
  );
}
