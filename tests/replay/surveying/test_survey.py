"""One look over a log: counts, order, ties, silences, repeats; and counting in bounded memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.meaning.columns import Columns, cut
from replay.meaning.far_off import HOUR_MS
from replay.surveying.distinct import Distinct, pairs
from replay.surveying.survey import Survey, Surveyor
from state.keys import Names, pair

ROLES = frozenset({"user", "item", "time"})


def survey(columns: Columns, piece: int = 1000, names: Names | None = None) -> Survey:
    surveyor = Surveyor(names or Names())
    for part in cut([columns], piece):
        surveyor.add(part)
    return surveyor.survey(unit="ms", roles=ROLES, dead={})


def log(times: list[int], users: list[int], items: list[int], **more: list[int]) -> Columns:
    columns = {"time_ms": times, "user": users, "item": items, **more}
    return {name: np.array(column, np.int64) for name, column in columns.items()}


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 4), min_size=1, max_size=60), st.integers(1, 70))
def test_it_counts_what_is_there(rows: list[tuple[int, int, int, int]], piece: int) -> None:
    rows.sort(key=lambda row: row[0])
    times, users, items, sessions = (list(column) for column in zip(*rows, strict=True))
    seen = survey(log(times, users, items, session=sessions), piece)
    runs = np.unique(times, return_counts=True)[1]
    assert (seen.rows, seen.users, seen.items) == (len(rows), len(set(users)), len(set(items)))
    assert seen.exact
    assert seen.in_order
    assert (seen.first_ms, seen.last_ms, seen.longest_tie) == (times[0], times[-1], runs.max())
    assert seen.tie_share == pytest.approx((len(rows) - len(runs)) / len(rows))
    assert seen.user_item_repeat == pytest.approx(1 - len(set(zip(users, items, strict=True))) / len(rows))
    assert seen.session_item_repeat == pytest.approx(
        1 - len(set(zip(sessions, items, strict=True))) / len(rows)
    )


@pytest.mark.parametrize(("times", "in_order"), [([1, 2, 2, 3], True), ([1, 3, 2, 4], False)])
@pytest.mark.parametrize("piece", [1, 2, 10])
def test_it_sees_whether_times_are_in_order(times: list[int], in_order: bool, piece: int) -> None:
    assert survey(log(times, times, times), piece).in_order == in_order


def test_silences_are_whole_hours_longest_first() -> None:
    hours = [0, 1, 2, 10, 11, 13]
    times = [h * HOUR_MS + 5 for h in hours]
    assert survey(log(times, hours, hours)).silences == [
        (3 * HOUR_MS, 10 * HOUR_MS),
        (12 * HOUR_MS, 13 * HOUR_MS),
    ]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(("kind", "is_sorted"), [("ascending", True), ("descending", True), ("mixed", False)])
def test_it_sees_ties_sorted_by_item(kind: str, is_sorted: bool, text: bool) -> None:
    rng = np.random.default_rng(0)
    names = Names()
    keys = [names.add(f"item {n:03}") if text else n for n in range(100)]
    groups = [sorted(rng.choice(100, 5, replace=False).tolist()) for _ in range(100)]
    if kind == "mixed":
        groups = [rng.permutation(group).tolist() for group in groups]
    order = -1 if kind == "descending" else 1
    items = [keys[n] for group in groups for n in group[::order]]
    times = np.repeat(np.arange(100), 5).tolist()
    assert survey(log(times, times, items), names=names).ties_sorted == is_sorted


def test_ties_are_seen_in_a_file_that_is_not_in_order() -> None:
    rows = [(time, user, item) for user in range(50) for item in range(20) for time in (item // 5,)]
    times, users, items = (list(column) for column in zip(*rows, strict=True))
    seen = survey(log(times, users, items))
    assert not seen.in_order
    assert seen.ties_sorted


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_few_keys_are_counted_exactly(keys: list[int]) -> None:
    distinct = Distinct()
    for part in np.array_split(np.array(keys, np.int64), 3):
        distinct.add(part)
    assert (distinct.count, distinct.exact) == (len(set(keys)), True)


def test_many_keys_are_counted_about() -> None:
    distinct = Distinct(capacity=1 << 14)
    for start in range(0, 300_000, 10_000):
        distinct.add(np.arange(start, start + 20_000))
    assert not distinct.exact
    assert distinct.count == pytest.approx(310_000, rel=0.03)


def test_pairs_are_those_of_keys() -> None:
    a, b = np.array([1, 2, -5]), np.array([2, 1, 7])
    assert pairs(a, b).tolist() == [pair(int(x), int(y)) for x, y in zip(a, b, strict=True)]
