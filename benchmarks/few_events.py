"""What two rankers of one run are worth on items that hardly anybody has had, paired over users.

    python -m benchmarks.few_events DIR mmq "mmq: plain ids" --under 10

DIR is the folder of `ebbtide replay`; events are those of its second half, or from --score-from on, that were
ranked, and whose item had fewer than so many events before.

Shape suffixes: E events, U users.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds

from learners.judging.metrics import Z95, standard_error
from state.arrays import Int64s

_AT = (10, 50)


def events_before(item_E: Int64s) -> Int64s:
    """How many earlier events each event's item has had.

    >>> events_before(np.array([3, 5, 3, 3])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(item_E, kind="stable")
    sorted_E = item_E[order]
    before_E = np.empty(len(item_E), np.int64)
    before_E[order] = np.arange(len(item_E)) - np.searchsorted(sorted_E, sorted_E)
    return before_E


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("other")
    parser.add_argument("--under", type=int, default=10)
    parser.add_argument("--score-from", type=float, default=0.5, help="part of the events that is left out")
    asked = parser.parse_args()
    columns = ("item", "user", f"rank.{asked.model}", f"rank.{asked.other}")
    table = ds.dataset(asked.folder / "predictions", format="arrow").to_table(columns=list(columns))
    item_E, user_E, rank_E, other_E = (table[name].to_numpy() for name in columns)
    chosen_E = (rank_E > 0) & (events_before(item_E) < asked.under)
    chosen_E[: int(len(item_E) * asked.score_from)] = False
    row_E = np.unique(user_E[chosen_E], return_inverse=True)[1]
    events, users = int(chosen_E.sum()), int(row_E.max()) + 1
    print(f"{events:,} events of {users:,} users, with items of fewer than {asked.under} events before")
    for k in _AT:
        hit_E, other_hit_E = rank_E[chosen_E] <= k, other_E[chosen_E] <= k
        difference_E = hit_E.astype(np.float64) - other_hit_E
        mean = float(difference_E.mean())
        half = Z95 * standard_error(np.bincount(row_E, difference_E - mean, users) / events, users)
        print(
            f"recall@{k}: {hit_E.mean():.4f} against {other_hit_E.mean():.4f},"
            f" {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"
        )


if __name__ == "__main__":
    main()
