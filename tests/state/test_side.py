"""Side tables that grow: which row is in force, and what is dropped."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.side import ALWAYS, Categories, SideTable

TIMES = st.integers(0, 5) | st.just(ALWAYS)
ROWS = st.lists(st.tuples(st.integers(0, 3), TIMES), max_size=12)


def table(rows: list[tuple[int, int]], first: int = 0, begun: int = -1) -> SideTable:
    """Rows of (id, since), each with its number in every column."""
    number_N = np.arange(first, first + len(rows))
    return SideTable(
        np.array([key for key, _ in rows], np.int64),
        np.array([since for _, since in rows], np.int64),
        numbers={"x": number_N.astype(float)},
        categories={"c": Categories.of([[n] * (n % 3) for n in number_N.tolist()])},
        texts={"t": [str(n) for n in number_N.tolist()]},
        vectors={"v": np.repeat(number_N[:, None], 2, 1).astype(np.float32)},
        begun=begun,
    )


def in_force(rows: list[tuple[int, int]], key: int, time_ms: int) -> int:
    """The plain rule: of the rows that hold by then the newest, of equal times the last to come."""
    holding = [(since, n) for n, (row_key, since) in enumerate(rows) if row_key == key and since <= time_ms]
    return max(holding)[1] if holding else -1


def said(side: SideTable, key: int, time_ms: int) -> int:
    """The number of the row in force as all columns say it, -1 where there is none."""
    [row] = side.rows(np.array([key]), np.array([time_ms])).tolist()
    if row < 0:
        return -1
    number = int(side.numbers["x"][row])
    keys = side.categories["c"]
    assert keys.keys[keys.start_N1[row] : keys.start_N1[row + 1]].tolist() == [number] * (number % 3)
    assert (side.texts["t"][row], side.vectors["v"][row].tolist()) == (str(number), [number, number])
    return number


@given(ROWS, ROWS, st.integers(0, 5))
def test_a_table_that_has_grown_says_what_a_whole_one_does(
    begun: list[tuple[int, int]], come: list[tuple[int, int]], settled_ms: int
) -> None:
    rows = begun + come
    grown = table(begun)
    for n, row in enumerate(come):
        grown.add(table([row], len(begun) + n))
    kept = SideTable.of_tree(grown.tree())
    kept.settle(settled_ms)
    again = SideTable.of_tree(kept.tree())
    for key in range(4):
        for time_ms in range(6):
            expected = in_force(rows, key, time_ms)
            assert said(grown, key, time_ms) == expected
            if time_ms >= settled_ms:
                assert said(kept, key, time_ms) == said(again, key, time_ms) == expected


@given(ROWS)
def test_what_is_no_longer_asked_for_is_dropped(rows: list[tuple[int, int]]) -> None:
    side = table([(0, ALWAYS)])
    side.add(table(rows, 1))
    side.settle(5)
    assert len(side) <= 1 + len({key for key, _ in rows})


def test_what_comes_has_the_columns_that_are_there() -> None:
    side = table([(7, ALWAYS)])
    side.add(SideTable(np.array([7, 8]), np.array([1, 1]), numbers={"y": np.ones(2)}))
    [row] = side.rows(np.array([7]), np.array([1])).tolist()
    assert np.isnan(side.numbers["x"][row])
    assert (side.texts["t"][row], side.vectors["v"][row].tolist()) == ("", [0.0, 0.0])
    assert set(side.numbers) == {"x"}
    assert side.knows(np.array([8, 9])).tolist() == [True, False]
