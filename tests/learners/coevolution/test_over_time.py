"""Figures of a stream over time: what they are of streams whose figures are known, however long these are."""

import numpy as np
import pytest

from learners.coevolution import over_time
from learners.coevolution.entries import KINDS, nothing
from learners.coevolution.over_time import MOST, Lived, OverTime
from state.tree import digest

CLUSTERS, BLOCK = 6, 64


def block(time_ms: int, cluster: int | None = None, seen: int | None = None) -> Lived:
    """Events of one cluster, or of all in turn; users have been shown one cluster before, or nothing."""
    past = nothing(BLOCK, 2)
    past.time_ms_B[:] = time_ms
    if seen is not None:
        past.cluster_BM[:, 0], past.count_BMK[:, 0, KINDS:] = seen, 3.0
    row_B = np.arange(BLOCK)
    return Lived(
        past=past,
        cluster_B=1 + row_B % 4 if cluster is None else np.full(BLOCK, cluster),
        accepted_B=row_B % 2 == 0,
        novel_B=row_B % 4 < 2,
        explored_B=row_B % 8 == 0,
        believed_B=np.where(row_B % 8 == 0, 0.75, 0.0),
    )


def lived(blocks: list[Lived], *, labelled: bool = True) -> OverTime:
    found = OverTime(CLUSTERS, labelled=labelled)
    for one in blocks:
        found.add(one, 5, 2)
    return found


def test_figures_of_a_window() -> None:
    (even,) = lived([block(9)] * 16).moments()
    assert (even.events, even.time_ms, even.version) == (1024, 9, 2)
    assert (even.coverage, even.gini, even.lock_in) == (1.0, 0.0, None)
    assert (even.relevance, even.novelty, even.serendipity) == (0.5, 0.5, 0.25)
    assert even.gap == pytest.approx(0.75 - 1.0)


@pytest.mark.parametrize(("seen", "lock_in"), [(1, 1.0), (2, 0.0)])
def test_ever_the_same_is_locked_in(seen: int, lock_in: float) -> None:
    (one,) = lived([block(9, cluster=1, seen=seen)] * 16).moments()
    assert (one.coverage, one.gini) == (0.25, 0.75)
    assert one.lock_in == pytest.approx(lock_in)


def test_without_labels_nothing_is_said_of_acceptance() -> None:
    (one,) = lived([block(9)] * 16, labelled=False).moments()
    assert (one.relevance, one.serendipity, one.gap) == (None, None, None)
    assert one.novelty == 0.5


def test_a_long_stream_is_told_whole_in_fewer_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_time, "_WINDOW", BLOCK)
    found = lived([block(n, cluster=1 + n % 2) for n in range(MOST + 3)])
    assert [one.events for one in found.moments()] == [2 * BLOCK] * (MOST // 2 + 1)
    assert [one.time_ms for one in found.moments()] == [*range(1, MOST + 2, 2)]
    assert {one.coverage for one in found.moments()} == {0.5}
    assert {one.novelty for one in found.moments()} == {0.5}


def test_it_goes_on_from_its_tree() -> None:
    blocks = [block(n, cluster=1 + n % 3) for n in range(40)]
    half = OverTime(CLUSTERS, labelled=True)
    half.load(lived(blocks[:21]).tree())
    for one in blocks[21:]:
        half.add(one, 5, 2)
    assert digest(half.tree()) == digest(lived(blocks).tree())
