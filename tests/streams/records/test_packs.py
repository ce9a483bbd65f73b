"""Records in a map, many to an entry: as if each had one, in a map that does not grow without end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import InputError
from streams.records.packs import Packs
from tests.streams.doors import Map

VALUE = st.one_of(st.none(), st.binary(max_size=20), st.just(bytes(300_000)))
CHANGES = st.dictionaries(st.integers(0, 30).map(lambda number: b"user/%d" % number), VALUE, max_size=20)
A, B, C = b"a", b"b", b"c"


@given(writes=st.lists(CHANGES, max_size=30), opened=st.sets(st.integers(0, 29)))
def test_a_map_holds_what_was_written_last_whoever_has_it(
    writes: list[dict[bytes, bytes | None]], opened: set[int]
) -> None:
    entries, expected, changed = Map(), dict[bytes, bytes](), 0
    packs = Packs(entries)
    for number, changes in enumerate(writes):
        packs.write(changes)
        gone = {key for key, value in changes.items() if value is None}
        expected |= {key: value for key, value in changes.items() if value is not None}
        expected = {key: value for key, value in expected.items() if key not in gone}
        copied = Map(entries)
        again, found = Packs.of(copied)
        assert found == expected
        if number in opened:
            packs, entries = again, copied
        changed = max(changed, len(changes))
    assert len(entries) <= 3 * (31 + changed)


def test_a_map_of_records_that_change_all_the_time_holds_each_once() -> None:
    entries = Map()
    packs = Packs(entries)
    for number in range(100):
        packs.write({A: b"%d" % number, B: b"%d" % -number})
    assert Packs.of(entries)[1] == {A: b"99", B: b"-99"}
    assert len(entries) == 1


def test_what_stays_as_it_is_is_moved_out_of_packs_that_are_stale_otherwise() -> None:
    """Each pack has one record that stays, and ten that the next has, too."""
    entries, others = Map(), [b"%d" % number for number in range(10)]
    packs = Packs(entries)
    stays = {b"stays %d" % turn: b"%d" % turn for turn in range(40)}
    for key, value in stays.items():
        packs.write({key: value, **dict.fromkeys(others, value)})
    assert Packs.of(entries)[1] == {**stays, **dict.fromkeys(others, b"39")}
    assert len(entries) < 20


def test_what_is_gone_does_not_come_back_from_an_older_pack() -> None:
    entries = Map()
    packs = Packs(entries)
    packs.write({A: b"1", B: b"1", C: b"1"})
    packs.write({A: None})
    packs.write({B: b"2"})
    assert Packs.of(entries)[1] == {B: b"2", C: b"1"}
    for turn in range(20):
        packs.write({B: b"%d" % turn})
    assert Packs.of(entries)[1] == {B: b"19", C: b"1"}
    packs.write({B: None, C: None})
    for turn in range(20):
        packs.write({A: b"%d" % turn})
    assert Packs.of(entries)[1] == {A: b"19"}


def test_alike_records_are_compressed_and_large_ones_in_packs_of_about_a_megabyte() -> None:
    entries = Map()
    Packs(entries).write({b"%d" % number: bytes(range(256)) * 2000 for number in range(10)})
    assert len(entries) == 4
    assert sum(map(len, entries.values())) < 10 * 512_000 / 20


@pytest.mark.parametrize("damage", [b"", b"not a pack", bytes(100)])
def test_a_damaged_pack_is_named(damage: bytes) -> None:
    entries = Map()
    Packs(entries).write({A: b"1"})
    entries[min(entries)] = damage
    with pytest.raises(InputError, match=r"^state pack '000000000000' is damaged: "):
        Packs.of(entries)
