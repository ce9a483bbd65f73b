"""Ids as 64-bit keys, and the growing map from key to row."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import InputError
from state.keys import NO_KEY, KeyMap, Names, drop, find, key_of, put
from state.name_table import NameTable
from state.text_keys import text_keys

KEYS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=300)


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("0", 0), ("-12", -12), ("4611686018427387903", 2**62 - 1)]
)
def test_a_whole_number_is_its_own_key_however_written(text: str, number: int) -> None:
    assert key_of(text) == key_of(number) == number


@pytest.mark.parametrize("text", ["007", "-0", "1.0", "", " 7", "4611686018427387904", "ünï", "a" * 10_000])
def test_other_ids_are_hashed_apart_from_numbers(text: str) -> None:
    assert 2**62 <= key_of(text) < 2**63
    assert key_of(text) != NO_KEY


def test_the_hash_never_changes() -> None:
    assert key_of("anna") == 5497351756246697168


WRITTEN = (
    st.text(max_size=6) | st.from_regex(r"-?[0-9]{1,20}", fullmatch=True) | st.text(min_size=60, max_size=400)
)


@given(
    st.lists(
        WRITTEN | st.sampled_from(["-", "-0", "0", f"{2**62 - 1}", f"-{2**62}", "9" * 19, "a" * 128]),
        max_size=9,
    )
)
def test_keys_of_many_texts_are_those_of_each(texts: list[str]) -> None:
    said = [text.encode() for text in texts]
    edge_N1 = np.cumsum([0, *map(len, said)])
    assert text_keys(b"".join(said), edge_N1).tolist() == [key_of(text) if text else NO_KEY for text in texts]


@given(st.lists(st.text('ab"\\\x7fü ', max_size=4), max_size=20), st.data())
def test_a_table_of_names_says_what_a_dict_of_them_does(texts: list[str], data: st.DataObject) -> None:
    table, names = NameTable(), dict[int, str]()
    for text in texts:
        if (key := key_of(text)) not in names:
            names[key] = text
        table.add_text(key, text)
        if data.draw(st.booleans()):
            assert table[key] == text
    assert table == names
    keys = sorted({*data.draw(st.lists(st.sampled_from([*names, 7]))), NO_KEY})
    assert table.as_json(np.array(keys)) == json.dumps({key: names[key] for key in keys if key in names})


def test_names_give_back_what_an_id_was_called() -> None:
    names = Names()
    assert names[names.add("anna")] == "anna"
    assert names[names.add("7")] == "7"
    assert len(names) == 1


def test_two_texts_with_one_key_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # No two texts with the same 62 bits are at hand, so the hash is made to collide.
    monkeypatch.setattr("state.ids.key_of", lambda identifier: 2**62)
    names = Names()
    names.add("anna")
    with pytest.raises(InputError, match=r"'anna' and 'bert' have the same 64-bit key"):
        names.add("bert")


@given(KEYS, st.integers(1, 50))
def test_rows_are_numbered_by_first_sight_whatever_the_batches(keys: list[int], size: int) -> None:
    reference: dict[int, int] = {}
    expected = [reference.setdefault(key, len(reference)) for key in keys]
    key_map = KeyMap()
    column = np.array(keys, np.int64)
    rows = [key_map.rows(column[i : i + size], grow=True) for i in range(0, len(keys), size)]
    assert [row for part in rows for row in part.tolist()] == expected
    assert list(key_map) == list(reference)
    assert key_map.rows(column).tolist() == expected


@given(KEYS, st.integers(-(2**63), 2**63 - 1))
def test_a_missing_key_has_no_row(keys: list[int], other: int) -> None:
    key_map = KeyMap(np.array(keys, np.int64))
    assert (key_map.row(other) >= 0) == (other in keys)


@given(KEYS)
def test_a_loaded_map_goes_on_like_the_saved_one(keys: list[int]) -> None:
    saved = KeyMap(np.array(keys, np.int64))
    loaded = KeyMap()
    loaded.load(saved.tree())
    more = np.array([1, 2, *keys, 3], np.int64)
    assert loaded.rows(more, grow=True).tolist() == saved.rows(more, grow=True).tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 12)), max_size=80))
def test_keys_that_are_taken_out_leave_the_others_to_be_found(steps: list[tuple[bool, int]]) -> None:
    """A table of 16 with up to 15 keys: long runs, around the end too."""
    table, there = np.full((16, 2), -1, np.int64), dict[int, int]()
    for step, (come, key) in enumerate(steps):
        if come and key not in there and len(there) < 15:
            there[key] = step
            put(table, key, step)
        elif not come and key in there:
            del there[key]
            drop(table, key)
        assert [find(table, key) for key in range(-3, 13)] == [there.get(key, -1) for key in range(-3, 13)]
