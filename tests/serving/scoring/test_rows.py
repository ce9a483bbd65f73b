"""Rows that are moved are those that would be made anew."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.scoring.rows import IdRows, VectorRows
from state.arrays import Int64s
from state.ids import key_of

WIDTH = 3
few = st.sets(st.integers(0, 60), max_size=25)


def id_of(n: int) -> str:
    return f"{n:03}"


def vector_of(n: int, turn: int) -> list[float]:
    return [float(n), float(turn), 0.5]


@given(few, st.lists(st.tuples(few, few), max_size=6))
def test_what_comes_and_goes_leaves_what_one_reads_anew(
    first: set[int], turns: list[tuple[set[int], set[int]]]
) -> None:
    held = {n: vector_of(n, 0) for n in first}
    ids = IdRows([id_of(n) for n in sorted(held)])
    vectors = VectorRows(np.array([held[n] for n in sorted(held)], np.float32).reshape(-1, WIDTH))
    for turn, (gone, put) in enumerate(turns, 1):
        leave: Int64s = np.sort(ids.rows_of(id_of(n) for n in gone))
        stay = {n: row for n, row in held.items() if n not in gone}
        come = {n: vector_of(n, turn) for n in sorted(put - stay.keys())}
        places = ids.change(leave, [id_of(n) for n in come])
        vectors.change(leave, places, np.array([*come.values()], np.float32).reshape(-1, WIDTH))
        held = stay | come
        assert vectors.rows_ND.tolist() == [held[n] for n in sorted(held)]
        fresh = IdRows([id_of(n) for n in sorted(held)])
        assert ids.names == fresh.names
        assert dict(ids) == dict(fresh)
        assert ids.key_N.tolist() == fresh.key_N.tolist()
        keys = [key_of(id_of(n)) for n in range(61)]
        assert ids.rows_of_keys(keys).tolist() == fresh.rows_of_keys(keys).tolist()
        assert all((id_of(n) in ids) == (n in held) for n in range(61))


def test_what_is_there_no_longer_leaves_no_number_behind() -> None:
    """Items come and go for months: what finds them does not grow."""
    ids, nobody = IdRows([id_of(n) for n in range(10)]), np.zeros(0, np.int64)
    for n in range(1000):
        ids.change(nobody, [f"new {n}"])
        ids.change(ids.rows_of([f"new {n}"]), [])
    assert len(ids) == 10
    assert len(ids._row_of_number) <= 11
