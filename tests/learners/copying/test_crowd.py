"""What everybody does, counted row by row, beside counts written for reading."""

import numpy as np
import pytest

from learners.copying.candidates.evidence import kilometres2
from learners.copying.counts.crowd import (
    FOLLOW_DAYS,
    FOLLOW_FADE,
    LAST,
    POPULAR_DAYS,
    SLOTS,
    Crowd,
    CrowdRows,
    cut,
    leaders,
    mark_leaders,
    time_slot,
)
from learners.tables.followers import count_of
from state.keys import NO_KEY, Int64s
from state.tree import digest

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SIZE, ITEMS = 400, 12


def rows(seed: int = 0, *, labelled: bool = False, placed: bool = True) -> CrowdRows:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, SIZE).astype(np.float32) if labelled else np.full(SIZE, np.nan, np.float32)
    item = rng.integers(0, ITEMS, SIZE)
    return CrowdRows(
        item_Q=item,
        user_Q=rng.integers(0, 6, SIZE),
        time_ms_Q=1_500_000_000_000 + np.cumsum(rng.integers(0, 3 * HOUR_MS, SIZE)),
        tz_min_Q=np.full(SIZE, -240),
        label_Q=label,
        category_Q=item % 3,
        cell_Q=rng.integers(0, 3, SIZE) if placed else np.full(SIZE, NO_KEY),
        lat_Q=np.asarray(40.0 + item * 0.01),
        lon_Q=np.asarray(-74.0 + item * 0.01),
    )


def learned(all_rows: CrowdRows, step: int = SIZE) -> Crowd:
    crowd = Crowd()
    for start in range(0, SIZE, step):
        crowd.learn(cut(all_rows, start, start + step), ITEMS)
    return crowd


def positive(all_rows: CrowdRows) -> Int64s:
    return np.flatnonzero(~(all_rows.label_Q <= 0.5))


@pytest.mark.parametrize("labelled", [False, True])
def test_popularity_is_the_share_of_faded_positives(labelled: bool) -> None:
    given = rows(labelled=labelled)
    crowd, now = learned(given), int(given.time_ms_Q[-1])
    for v, days in enumerate(POPULAR_DAYS):
        weight_N = np.zeros(ITEMS)
        for q in positive(given):
            weight_N[given.item_Q[q]] += 0.5 ** ((now - given.time_ms_Q[q]) / (days * DAY_MS))
        np.testing.assert_allclose(crowd.popular.share(v, ITEMS), weight_N / weight_N.sum(), rtol=1e-9)


def test_hours_are_counted_by_kind_of_day_and_in_all() -> None:
    given = rows()
    count_N = np.zeros((ITEMS, SLOTS + 1))
    last = int(given.time_ms_Q[-1])
    for q in range(SIZE):
        worth = 0.5 ** ((last - given.time_ms_Q[q]) / (60 * DAY_MS))
        count_N[given.item_Q[q], time_slot(int(given.time_ms_Q[q]), -240)] += worth
        count_N[given.item_Q[q], SLOTS] += worth
    faded = learned(given).slotted.arrays
    now = 2.0 ** ((faded.clock_V3[0, 0] - last) / faded.half_life_ms_V[0])
    got = faded.weight_VN[0, : ITEMS * (SLOTS + 1)].reshape(ITEMS, -1) * now
    np.testing.assert_allclose(got, count_N, rtol=1e-9, atol=1e-12)


def test_time_slots_tell_working_days_from_days_off() -> None:
    thursday = 1_500_508_800_000  # 2017-07-20 00:00 UTC
    assert time_slot(thursday, 0) == 0
    assert time_slot(thursday + 23 * HOUR_MS, 0) == 23
    assert time_slot(thursday + 2 * DAY_MS + 5 * HOUR_MS, 0) == 24 + 5
    assert time_slot(thursday + 4 * DAY_MS, -60) == 24 + 23


@pytest.mark.parametrize("labelled", [False, True])
def test_every_event_leads_on_and_positives_are_led_to(labelled: bool) -> None:
    given = rows(labelled=labelled)
    crowd = learned(given)
    now = int(given.time_ms_Q[-1])
    for v, (days, fade) in enumerate(zip(FOLLOW_DAYS, FOLLOW_FADE, strict=True)):
        count_NN = np.zeros((ITEMS, ITEMS))
        had: dict[int, list[int]] = {}
        for q in range(SIZE):
            last = had.setdefault(int(given.user_Q[q]), [])
            if q in positive(given):
                for back, z in enumerate(last[: -LAST - 1 : -1]):
                    worth = 0.5 ** ((now - given.time_ms_Q[q]) / (days * DAY_MS))
                    count_NN[z, given.item_Q[q]] += fade**back * worth
            last.append(int(given.item_Q[q]))
        pairs = crowd.follow.arrays
        scale = 2.0 ** ((pairs.reference_ms_V[v] - now) / pairs.half_life_ms_V[v])
        got = [[count_of(pairs, v, z, j) * scale for j in range(ITEMS)] for z in range(ITEMS)]
        np.testing.assert_allclose(got, count_NN, rtol=1e-6, atol=1e-12)


def test_places_count_what_they_sell_and_items_know_where_they_are() -> None:
    given = rows()
    crowd = learned(given)
    pairs, place = crowd.places.arrays, crowd.place_map.row(1)
    sold = [count_of(pairs, 0, place, n) for n in range(ITEMS)]
    assert [n for n in range(ITEMS) if sold[n] > 0] == sorted(set(given.item_Q[given.cell_Q == 1].tolist()))
    assert crowd.category_N[:ITEMS].tolist() == [n % 3 for n in range(ITEMS)]
    km = np.sqrt(kilometres2(crowd.km_N3, 4, 5))
    assert km == pytest.approx(1.396, rel=0.005)  # a hundredth of a degree each way at 40 degrees north


def test_how_rows_are_cut_changes_nothing_and_a_restart_goes_on() -> None:
    given = rows(labelled=True)
    whole = learned(given)
    assert digest(learned(given, 7).tree()) == digest(whole.tree())
    resumed = Crowd()
    half = Crowd()
    half.learn(cut(given, 0, 150), ITEMS)
    resumed.load(half.tree())
    resumed.learn(cut(given, 150, SIZE), ITEMS)
    assert digest(resumed.tree()) == digest(whole.tree())


def test_leaders_are_the_greatest_first_and_never_without_weight() -> None:
    weight_N = np.array([0.0, 3.0, 1.0, 3.0, 2.0, 9.0])
    assert leaders(weight_N, 5, 3).tolist() == [1, 3, 4]
    assert leaders(weight_N, 5, 10).tolist() == [1, 3, 4, 2]
    assert leaders(weight_N, 0, 10).tolist() == []


@pytest.mark.parametrize("count", [0, 1, 7, 60])
def test_a_few_leaders_are_marked_as_they_are_listed(count: int) -> None:
    weight_N3 = np.random.default_rng(count).integers(0, 9, (50, 3)).astype(np.float64)
    led_N = np.zeros(50, np.bool_)
    mark_leaders(weight_N3.reshape(-1), 2, 3, count, led_N)
    assert np.flatnonzero(led_N).tolist() == sorted(leaders(weight_N3[:, 2], 50, count).tolist())
