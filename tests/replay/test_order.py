"""Time order in bounded memory: sorting, merging, shuffling ties, cutting."""

import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.meaning.columns import Columns, cut, join, size_of
from replay.order import Ties, shuffled_ties, sorted_by_time
from state.errors import InputError

TIMES = st.lists(st.integers(0, 20), max_size=200)
SIZES = st.integers(1, 50)


def chunked(times: list[int], size: int) -> Iterator[Columns]:
    """A log whose rows are numbered, in chunks."""
    for start in range(0, len(times), size):
        part = np.array(times[start : start + size], np.int64)
        yield {"time_ms": part, "seq": np.arange(start, start + len(part))}


def rows(chunks: Iterator[Columns]) -> list[tuple[int, int]]:
    return [(t, s) for c in chunks for t, s in zip(c["time_ms"].tolist(), c["seq"].tolist(), strict=True)]


@given(TIMES, SIZES, st.integers(1, 300))
def test_sorting_is_stable_however_small_the_memory(times: list[int], size: int, memory: int) -> None:
    expected = sorted(((t, s) for s, t in enumerate(times)), key=lambda row: row[0])
    assert rows(sorted_by_time(chunked(times, size), Ties(None), memory)) == expected


@given(TIMES, SIZES, SIZES, st.integers(1, 300), st.integers(0, 5))
def test_shuffled_ties_depend_on_the_seed_alone(
    times: list[int], size: int, other: int, memory: int, seed: int
) -> None:
    first = rows(shuffled_ties(chunked(sorted(times), size), Ties(seed)))
    assert rows(shuffled_ties(chunked(sorted(times), other), Ties(seed))) == first
    assert rows(sorted_by_time(chunked(sorted(times), other), Ties(seed), memory)) == first
    assert sorted(first) == [(t, s) for s, t in enumerate(sorted(times))]
    assert [t for t, _ in first] == sorted(times)


def test_another_seed_shuffles_otherwise() -> None:
    orders = {tuple(rows(shuffled_ties(chunked([1] * 50, 7), Ties(seed)))) for seed in range(4)}
    assert len(orders) == 4


@given(TIMES, SIZES, SIZES)
def test_cutting_gives_pieces_of_one_size(times: list[int], size: int, piece: int) -> None:
    pieces = list(cut(chunked(times, size), piece))
    assert [size_of(p) for p in pieces[:-1]] == [piece] * (len(pieces) - 1)
    assert rows(iter(pieces)) == rows(chunked(times, size))


@pytest.mark.parametrize("seed", [None, 1])
def test_a_long_log_is_sorted_in_little_memory(seed: int | None) -> None:
    size, memory_rows = 400_000, 8_000

    def chunks() -> Iterator[Columns]:
        rng = np.random.default_rng(0)
        for start in range(0, size, 4_000):
            seq = np.arange(start, start + 4_000)
            yield {"time_ms": rng.integers(0, 10**6, 4_000), "seq": seq, "user": seq, "item": -seq}

    tracemalloc.start()
    before, count = -1, 0
    for part in sorted_by_time(chunks(), Ties(seed), memory_rows):
        assert part["time_ms"][0] >= before
        assert (np.diff(part["time_ms"]) >= 0).all()
        assert (part["seq"] == -part["item"]).all()
        before, count = int(part["time_ms"][-1]), count + size_of(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == size
    assert peak < 12 * memory_rows * 8 * 4 < size * 8 * 4


def test_what_waits_on_disk_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing is left of it when a run is killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    parts = sorted_by_time(chunked([5, 4, 3, 2, 1] * 40, 7), Ties(None), 50)
    assert next(parts)["time_ms"][0] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"no room to sort the log .*; set TMPDIR to a folder that has room"):
        list(sorted_by_time(chunked([2, 1] * 40, 7), Ties(None), 50))


def test_joining_keeps_order() -> None:
    assert rows(iter([join(list(chunked([3, 1, 2], 1)))])) == [(3, 0), (1, 1), (2, 2)]
