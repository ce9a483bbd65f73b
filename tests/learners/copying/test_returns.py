"""The learned curve of return: counted as defined, exact per row, bounded, and the same where it is read."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.copying.counts.returns import NAMES, OCTAVES, RATES, SLOTS, ReturnArrays, Returns, code_of, told
from learners.copying.settings import CopySettings
from learners.systems.stim import StimSettings
from learners.tables.expiry import Forgotten
from state.compiled import compiled
from state.examples import Floats
from state.keys import NO_KEY
from state.returns import COUNTS, EVENTS, GAP_H, GAPS, INTERVALS, LEAST, bins
from state.tree import digest
from streams.schema import EventBatch
from tests.learners.copying.test_copy_path import DAY_MS, HOUR_MS, MONDAY_MS, Bench, habits

DAY_S = 86_400.0


def returns_of(bench: Bench) -> Returns:
    assert bench.stim.copy is not None
    return bench.stim.copy.search.returns


def unpacked(code: int) -> tuple[int, int, int, int, int]:
    return code >> 23, code >> 17 & 63, code >> 12 & 31, code >> 7 & 31, code & 127


@given(
    st.floats(0.0, 4000 * DAY_S, width=32),
    st.floats(0.0, 4000 * DAY_S, width=32),
    st.integers(1, 100),
    st.integers(0, 5000),
    st.integers(0, 23),
)
def test_the_kernel_and_the_reader_have_the_same_bins(
    age_s: float, span_s: float, count: int, since: int, hour: int
) -> None:
    oldest_s = age_s + span_s if count > 1 else age_s
    k, g, i, e, s = unpacked(code_of(age_s, oldest_s, float(count), since, hour))
    at = bins(np.array([age_s]), np.array([oldest_s]), np.array([count]), np.array([since]))
    assert (k, g, e) == (at.count_I[0], at.gap_I[0], at.events_I[0])
    assert abs(i - at.interval_I[0]) <= (0 if count == 1 else 1)  # on a bound, the last bits differ
    assert s == min(max(int(np.floor(np.log2((age_s + 1) / 900))) + 1, 0), OCTAVES - 1) * SLOTS + hour // 3


@pytest.mark.parametrize("bound_h", GAP_H)
def test_a_bound_belongs_to_the_bin_above_it(bound_h: float) -> None:
    at = GAP_H.index(bound_h)
    assert unpacked(code_of(bound_h * 3600.0, bound_h * 3600.0, 1.0, 0, 0))[1] == at + 1
    assert unpacked(code_of(bound_h * 3600.0 - 1.0, bound_h * 3600.0, 1.0, 0, 0))[1] == at


@dataclass
class Had:
    """What a user has had of an item."""

    times_ms: list[int]
    place: int
    """Of the newest event, among the user's."""


def plain(events: EventBatch, rows: int) -> dict[str, np.ndarray]:
    """Hits and chances of the first `rows` events, one candidate at a time."""
    tables = {
        "all_KG2": np.zeros((COUNTS, GAPS, 2)),
        "interval_KQ2": np.zeros((COUNTS, INTERVALS, 2)),
        "events_KE2": np.zeros((COUNTS, EVENTS, 2)),
        "user_UG2": np.zeros((1000, GAPS, 2)),
        "item_NG2": np.zeros((1000, GAPS, 2)),
    }
    past: dict[int, dict[int, Had]] = {}
    length: dict[int, int] = {}
    for user, item, time_ms in zip(
        events.user_B[:rows].tolist(), events.item_B[:rows].tolist(), events.time_ms_B[:rows], strict=True
    ):
        mine = past.setdefault(user, {})
        for other, had in mine.items():
            newest_s, oldest_s = ((time_ms - had.times_ms[at]) / 1000.0 for at in (-1, 0))
            since = length[user] - 1 - had.place
            one = (np.array([x]) for x in (newest_s, oldest_s, len(had.times_ms), since))
            k, g, i, e = (int(column[0]) for column in bins(*one))
            gain = [float(other == item), 1.0]
            for name, at in (
                ("all_KG2", (k, g)),
                ("interval_KQ2", (k, i)),
                ("events_KE2", (k, e)),
                ("user_UG2", (user, g)),
                ("item_NG2", (other, g)),
            ):
                tables[name][at] += gain
        length[user] = length.get(user, 0) + 1
        mine.setdefault(item, Had([], 0)).times_ms.append(int(time_ms))
        mine[item].place = length[user] - 1
    return tables


OWN_ALWAYS = StimSettings(copy=CopySettings(spare=0.0))
"""What was had is a candidate from the first row on: else that depends on the rows before a chunk."""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench("stim", stim=OWN_ALWAYS).run(habits(days=20))


def test_hits_and_chances_are_those_of_the_definition(bench: Bench) -> None:
    returns, events = returns_of(bench), habits(days=20)
    expected = plain(events, len(events) - len(returns.rows))
    for name in ("all_KG2", "interval_KQ2", "events_KE2"):
        np.testing.assert_array_equal(getattr(returns, name), expected[name], name)
    for row, user in enumerate(returns.users):
        np.testing.assert_array_equal(returns.user_UG2[row], expected["user_UG2"][user])
    for row, item in enumerate(bench.catalogue.items):
        np.testing.assert_array_equal(returns.item_NG2[row], expected["item_NG2"][item])


def test_counts_do_not_depend_on_the_micro_batch(bench: Bench) -> None:
    """Nor on having been asked in between."""
    other = Bench("stim", stim=OWN_ALWAYS).run(habits(days=20), size=7)
    other.stim.rank(other.now(5))
    assert digest(returns_of(other).tree()) == digest(returns_of(bench).tree())


def test_what_is_rhythmic_is_seen_as_such() -> None:
    """Everyone comes back at the same hour of every day, and for half of the day to nothing."""
    rng = np.random.default_rng(0)
    day, user = np.divmod(np.arange(60 * 20), 20)
    time_ms = MONDAY_MS + day * DAY_MS + user * 60_000
    noon = EventBatch.of(user=user, item=500 + user % 3, time_ms=time_ms)
    evening = EventBatch.of(
        user=user, item=100 + rng.integers(0, 90, len(user)), time_ms=time_ms + 6 * HOUR_MS
    )
    order = np.argsort(np.concatenate([noon.time_ms_B, evening.time_ms_B]), kind="stable")
    events = EventBatch.of(
        user=np.concatenate([noon.user_B, evening.user_B])[order],
        item=np.concatenate([noon.item_B, evening.item_B])[order],
        time_ms=np.concatenate([noon.time_ms_B, evening.time_ms_B])[order],
    )
    gap_K = returns_of(Bench("stim").run(events)).rates().return_all[COUNTS - 1]
    assert gap_K[GAP_H.index(24.0) + 1] > 0.8
    assert gap_K[GAP_H.index(6.0) + 1] < 0.01


def test_an_item_says_between_which_times_one_comes_back_to_it() -> None:
    """Half of the returns lie within; of few, or far apart, nothing is said."""
    returns = Returns()
    returns.reserve(4, 0)
    returns.item_NG2[0, GAP_H.index(144.0) + 1 : GAP_H.index(171.0) + 1, 0] = 10.0
    returns.item_NG2[1, GAP_H.index(144.0) + 1, 0] = 19.0
    returns.item_NG2[2, :, 0] = 10.0
    row_I, bound_h_I2 = returns.usual_gaps()
    assert row_I.tolist() == [0]
    assert bound_h_I2.tolist() == [[144.0, 171.0]]


def test_silent_users_and_items_are_forgotten_with_their_counts(bench: Bench) -> None:
    events = habits(days=20)
    returns = returns_of(Bench("stim").run(events))
    users, items = len(returns.users), int(returns.item_NG2[:, :, 1].any(1).sum())
    moved_N = np.arange(len(bench.catalogue)) - 3
    moved_N[:3] = -1
    kept = returns.item_NG2[3 : len(moved_N)].copy()
    gone = np.array([events.user_B[0]])
    returns.forget(Forgotten(0, 0, 0, gone, bench.catalogue.items.keys[:3].copy(), moved_N), np.array([1, 2]))
    assert (len(returns.users), len(returns.user_UG2)) == (users - 1, users - 1)
    assert returns.users.row(int(gone[0])) == -1
    np.testing.assert_array_equal(returns.item_NG2, kept)
    assert {*returns.categories} == {NO_KEY, 1, 2}
    assert items - 3 <= int(returns.item_NG2[:, :, 1].any(1).sum()) <= items


@compiled
def _told(code: int, returns: ReturnArrays, rate_F: Floats) -> None:
    told(code, 0, -1, 0, returns, rate_F)


def test_what_is_published_says_what_is_told(bench: Bench) -> None:
    """To the digits of a rate: the three that a reader needs no item or user for."""
    returns, names = returns_of(bench), ("return_all", "return_interval", "return_events")
    for age_s, oldest_s, count, since in (
        (3600.0, 3600.0, 1, 0),
        (DAY_S, 30 * DAY_S, 9, 3),
        (1e7, 2e7, 3, 80),
    ):
        rate_F = np.zeros(RATES, np.float32)
        _told(code_of(age_s, oldest_s, float(count), since, 0), returns.reserve(1, 0), rate_F)
        at = bins(np.array([age_s]), np.array([oldest_s]), np.array([count]), np.array([since]))
        for name, column_I in returns.rates().columns(at).items():
            expected = np.log1p(rate_F[NAMES.index(name)] / LEAST)
            assert column_I[0] == pytest.approx(expected, rel=1e-4), name
        assert {*names} == {*returns.rates().columns(at)}
