"""Cells of any Arrow type as keys, numbers and texts."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.reading.arrow import Column
from replay.reading.canonical import canonical
from replay.reading.cells import Ids, numbers, texts
from state.keys import NO_KEY, Names, key_of

IDS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str), st.text(max_size=8), st.from_regex(r"-?0?[0-9]{1,20}")
)


def column(cells: list[Any], kind: pa.DataType | None = None) -> Column:
    """Cells as a reader hands them on."""
    return canonical(pa.array(cells, kind))[0]


WORDS = ("", "nan", "NaN", "NULL", "null", "None", "\\N")


@given(st.lists(st.one_of(st.none(), IDS)))
def test_text_ids_have_the_keys_of_their_texts(ids: list[str | None]) -> None:
    expected = [NO_KEY if text is None or text in WORDS else key_of(text) for text in ids]
    assert Ids(Names()).keys(pa.array(ids, pa.string())).tolist() == expected


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([7, None, -3], pa.int32()),
        ([7, None, -3], pa.int64()),
        ([7.0, None, -3.0], pa.float64()),
        (["7", None, "-3"], pa.string()),
        (["7", None, "-3"], pa.large_string()),
        ([b"7", b"", b"-3"], pa.binary()),
        (["7", None, "-3"], pa.dictionary(pa.int8(), pa.string())),
        ([7, None, -3], pa.dictionary(pa.int32(), pa.int64())),
    ],
)
def test_whole_numbers_are_their_own_keys_in_every_type(cells: list[Any], kind: pa.DataType) -> None:
    assert Ids(None).keys(column(cells, kind)).tolist() == [7, NO_KEY, -3]


def test_a_slice_of_a_column_has_its_own_keys() -> None:
    part = pa.array(["1", "x", "22", "y"])[1:3]
    assert Ids(None).keys(part).tolist() == [key_of("x"), 22]


def test_numbers_beyond_62_bits_are_text() -> None:
    ids = [2**64 - 1, 2**62, 5]
    assert Ids(None).keys(column(ids, pa.uint64())).tolist() == [key_of(i) for i in ids]


def test_hashed_ids_keep_their_names_over_chunks() -> None:
    names = Names()
    ids = Ids(names)
    first, second = ids.keys(pa.array(["ann", "bob"])), ids.keys(pa.array(["bob", "12"]))
    assert first[1] == second[0]
    assert [names[int(key)] for key in (*first, second[1])] == ["ann", "bob", "12"]
    assert len(names) == 2


@pytest.mark.parametrize(
    ("cells", "values", "bad"),
    [
        ([1, None], [1, np.nan], [False, False]),
        ([1.5, float("nan"), float("inf")], [1.5, np.nan, np.nan], [False, False, True]),
        ([b"1.5", b"", None, b" 2 "], [1.5, np.nan, np.nan, 2.0], [False] * 4),
        (["1", "one", "nan", "inf"], [1, np.nan, np.nan, np.nan], [False, True, False, True]),
        (["nan", "2"], [np.nan, 2], [False, False]),
        (["1_0", "NULL", "3,5"], [np.nan] * 3, [True, False, True]),
        ([True, False], [1, 0], [False, False]),
        (["True", "FALSE"], [1, 0], [False, False]),
        ([[1], None], [np.nan, np.nan], [True, False]),
    ],
)
def test_numbers_missing_and_bad(cells: list[Any], values: list[float], bad: list[bool]) -> None:
    found = numbers(column(cells))
    assert found.bad_B.tolist() == bad
    np.testing.assert_array_equal(np.where(found.bad_B, np.nan, found.value_B), values)


def test_texts_are_counted_once_and_missing_ones_not_at_all() -> None:
    uniques, index = texts(column(["café", None, "café", "NULL", ""]))
    assert [uniques[i] if i >= 0 else None for i in index.tolist()] == ["café", None, "café", None, None]


@pytest.mark.parametrize(
    ("chunks", "keys", "settled"),
    [
        ([["7", "7.0", "8.00"]], [7, 7, 8], True),
        ([["7"], ["7.0"], ["1.2E7", "1e+16", "-0.0"]], [7, 7, 12_000_000, 10**16, 0], True),
        ([["7.0", "1.5"]], [7, key_of("1.5")], True),
        ([["1.0", "1.1", "1.10", "1"]], [key_of("1.0"), key_of("1.1"), key_of("1.10"), 1], True),
        ([["ann"], ["7.0"]], [key_of("ann"), key_of("7.0")], True),
        ([["7.0", "12e5"]], [key_of("7.0"), key_of("12e5")], True),
        ([["7.0"], ["ann"]], [7, key_of("ann")], False),
        ([["7.0"], [None, "NaN"]], [7, NO_KEY, NO_KEY], True),
    ],
)
def test_a_whole_number_with_decimals_is_one_where_all_ids_are_numbers(
    chunks: list[list[Any]], keys: list[int], settled: bool
) -> None:
    ids = Ids(None)
    assert [key for cells in chunks for key in ids.keys(column(cells, pa.string())).tolist()] == keys
    assert ids.settled == settled


def test_ids_that_turn_out_to_be_texts_are_read_once_more() -> None:
    ids = Ids(None)
    for cells in (["7.0"], ["ann"]):
        ids.keys(column(cells))
    ids.restart()
    assert ids.keys(column(["7.0"])).tolist() == [key_of("7.0")]
    assert ids.settled
