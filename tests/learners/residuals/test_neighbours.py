"""Neighbours against a reference with dictionaries, and their bounded table of pairs."""

from collections import defaultdict
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.residuals.neighbours import NeighbourPart, Neighbours
from learners.tables.pair_sums import PairTable, pair_key, place_for, place_of
from tests.learners.parts import Drive, Log


def reference(
    log: Log, of: Literal["items", "users"], room: int, shrink: float, exposure: bool
) -> list[list[float]]:
    """The definitions, event by event."""
    owner, other = (log.user, log.item) if of == "items" else (log.item, log.user)
    past: dict[int, list[int]] = defaultdict(list)
    outcome: dict[int, float] = {}
    total: dict[frozenset[int], float] = defaultdict(float)
    count: dict[frozenset[int], float] = defaultdict(float)
    seen: dict[int, int] = defaultdict(int)

    def meet(q: int) -> None:
        for h in past[owner[q]][-room:]:
            count[frozenset((other[h], other[q]))] += 1
        past[owner[q]].append(q)
        seen[other[q]] += 1

    def learn(q: int) -> None:
        if np.isnan(log.residual[q]):
            return
        if not exposure:
            meet(q)
        for h in past[owner[q]][-room:]:
            if h in outcome:
                total[frozenset((other[h], other[q]))] += log.residual[q] * outcome[h]
        if q in past[owner[q]][-room:]:
            outcome[q] = log.residual[q]

    made, learned = [], 0
    for b in range(len(owner)):
        while learned < log.due[b]:
            learn(learned)
            learned += 1
        mine = past[owner[b]][-room:]
        pairs = [frozenset((other[h], other[b])) for h in mine]
        c = [
            count[p] / np.sqrt((seen[other[b]] + 1) * (seen[other[h]] + 1))
            for p, h in zip(pairs, mine, strict=True)
        ]
        known = [(k, outcome[h]) for k, h in enumerate(mine) if h in outcome]
        w = [total[p] / (count[p] + shrink) for p in pairs]
        pull = sum(w[k] * e for k, e in known)
        made.append(
            [
                pull / (sum(w[k] ** 2 for k, _ in known) + 0.3),
                20.0 * pull / np.sqrt(len(known) + 10),
                sum(c[k] * e for k, e in known) / (sum(c[k] for k, _ in known) + 1),
                4.0 * sum(c) / (len(mine) + 3),
            ]
        )
        if exposure:
            meet(b)
    return made


@pytest.mark.parametrize("of", ["items", "users"])
@given(seed=st.integers(0, 1000), delay=st.integers(0, 40), room=st.integers(1, 12), exposure=st.booleans())
@settings(max_examples=25, deadline=None)
def test_features_are_those_of_the_reference(
    of: Literal["items", "users"], seed: int, delay: int, room: int, exposure: bool
) -> None:
    log = Log(120, seed, delay)
    part = NeighbourPart(Neighbours(room=room, shrink=3.0, exposure=exposure), of)
    made_BF = Drive(part, log).run(0, 120, 50)
    np.testing.assert_allclose(made_BF, reference(log, of, room, 3.0, exposure), rtol=1e-4, atol=1e-5)


def test_the_table_grows_when_half_full_and_keeps_nearly_all_it_had() -> None:
    table = PairTable(1 << 14)
    places = len(table.pairs.words_P2)
    for i in range(3000):
        if len(table) + 1 > table.room:
            table.grow()
        table.pairs.floats_P4[place_for(table.pairs, pair_key(i, i + 1)), 2] = i
    assert len(table.pairs.words_P2) > places
    found = [place_of(table.pairs, pair_key(i + 1, i)) for i in range(3000)]
    lost = sum(place < 0 for place in found)
    assert lost < 150
    assert all(table.pairs.floats_P4[p, 2] == i for i, p in enumerate(found) if p >= 0)


def test_at_its_bound_a_new_pair_takes_the_place_of_the_least_counted() -> None:
    table = PairTable(4)
    for i in range(4):
        table.pairs.floats_P4[place_for(table.pairs, pair_key(i, 9)), 3] = 5 - i
    assert table.room > 1 << 60
    place_for(table.pairs, pair_key(7, 8))
    assert len(table) == 4
    assert place_of(table.pairs, pair_key(3, 9)) == -1
    assert place_of(table.pairs, pair_key(7, 8)) >= 0
    assert place_of(table.pairs, pair_key(0, 9)) >= 0


def test_renumbered_pairs_are_found_under_their_new_rows() -> None:
    table = PairTable(1 << 12)
    for a, b in ((0, 1), (2, 3), (1, 3)):
        table.pairs.floats_P4[place_for(table.pairs, pair_key(a, b)), 2] = a + b
    table.renumber(np.array([-1, 1, 2, 0]))
    assert len(table) == 2
    assert table.pairs.floats_P4[place_of(table.pairs, pair_key(2, 0)), 2] == 5
    assert table.pairs.floats_P4[place_of(table.pairs, pair_key(1, 0)), 2] == 4
