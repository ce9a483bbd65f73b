"""Which items are recommended, in which order: of all those of a catalogue that have a score.

Shape suffixes: N items, P items of a pool, D width.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from serving.scoring.catalogue import ServedCatalogue
from state.arrays import Bools, Doubles, Floats, Int64s, largest
from state.errors import InputError

LISTED = 1000
"""Items of a list that is read page by page, and recommendations in one answer of `ebbtide serve`."""
_LISTS = 1000
"""Lists that are read page by page, and kept: those asked for last."""
_POOL = 2000
"""Items at most that a diverse list is chosen from."""
Only = Mapping[str, Sequence[str]]


def diverse(score_N: Doubles, vectors_ND: Floats, k: int, diversity: float) -> Int64s:
    """The k best rows, each as good and as unlike those before it as can be; best first.

    Maximal marginal relevance (Carbonell and Goldstein, 1998): the next row is the one with the largest
    (1 - diversity) r - diversity c, where r is its score scaled to [0, 1] in the pool of the best 5 k, and c
    the largest cosine to a row that is chosen already, biases aside. -inf is no candidate.
    """
    if diversity <= 0.0:
        rows = largest(score_N, k)
        return rows[score_N[rows] > -np.inf]
    pool_P = largest(score_N, min(max(5 * k, 50), _POOL))
    pool_P = pool_P[score_N[pool_P] > -np.inf]
    if not len(pool_P):
        return pool_P
    score_P, vectors_PD = score_N[pool_P], vectors_ND[pool_P, :-1]
    worth_P = (1.0 - diversity) * (score_P - score_P[-1]) / max(score_P[0] - score_P[-1], 1e-30)
    unit_PD = vectors_PD / np.maximum(np.linalg.norm(vectors_PD, axis=1, keepdims=True), 1e-30)
    chosen: list[int] = []
    alike_P = np.zeros(len(pool_P))
    for _ in range(min(k, len(pool_P))):
        best = int(np.argmax(worth_P - diversity * alike_P))
        chosen.append(best)
        worth_P[best] = -np.inf
        cosine_P = unit_PD @ unit_PD[best]
        alike_P = cosine_P if len(chosen) == 1 else np.maximum(alike_P, cosine_P)
    return pool_P[chosen]


def having(columns: Mapping[str, Only], only: Only, catalogue: ServedCatalogue) -> Bools:
    """The items (N,) that have one of the values in each of the columns asked for. Raises InputError.

    `columns`: column -> value -> ids of items, by the published item table.
    """
    allowed_N = np.ones(len(catalogue.ids), np.bool_)
    for column, values in only.items():
        if column not in columns:
            known = ", ".join(sorted(columns)) or "none; replay with --items FILE"
            raise InputError(f"filter: no column {column!r} was published of items; there are: {known}")
        having_N = np.zeros(len(catalogue.ids), np.bool_)
        for value in values:
            ids = columns[column].get(value, ())
            having_N[catalogue.row_of_id.rows_of(ids)] = True
        allowed_N &= having_N
    return allowed_N


class Lists:
    """Lists that are read page by page."""

    def __init__(self) -> None:
        self._lists: OrderedDict[object, list[str]] = OrderedDict()

    def begin(self, key: object, ids: list[str]) -> None:
        self._lists[key] = ids[:LISTED]
        self._lists.move_to_end(key)
        while len(self._lists) > _LISTS:
            self._lists.popitem(last=False)

    def page(self, key: object, page: int, k: int) -> list[str] | None:
        """The ids of a page; None where there is no such list any longer."""
        held = self._lists.get(key)
        return None if held is None else held[page * k : (page + 1) * k]
