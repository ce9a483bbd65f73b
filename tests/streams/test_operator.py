"""The operator: the same as the blackboard version, however the stream is cut."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.cells import named
from state.errors import InputError
from state.examples import BY_ENTRY, BY_ITEM, USER_RATES, ExampleBatch, concat
from state.keys import NO_KEY
from state.memory.mask import joint, narrowed, select
from state.memory.memory_config import MemoryConfig
from state.tree import digest
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch
from tests.gapped import ANY_LATENESS_MS, times
from tests.streams.reference import Event, Reference, Row

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@st.composite
def streams(draw: st.DrawFn) -> EventBatch:
    """Few users and items, ties, jumps, late events, repeated ids, missing values."""
    size = draw(st.integers(0, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    labelled = draw(st.sampled_from(["all", "none", "some"]))
    placed = draw(st.sampled_from(["none", "named", "cells", "both"]))
    random = np.random.default_rng(seed)
    steps = random.choice([0, 0, 1, 1000, HOUR_MS, 7 * HOUR_MS, 3 * DAY_MS], size)
    time_ms = 1_600_000_000_000 + np.cumsum(steps)
    behind = random.choice([0, 0, 0, 1, HOUR_MS, 20 * HOUR_MS, 2 * DAY_MS], size)
    if size > 1 and draw(st.booleans()):
        time_ms = draw(times(size))
    label = random.choice([0.0, 1.0, 0.5], size)
    if labelled != "all":
        label[random.random(size) < (1.0 if labelled == "none" else 0.3)] = np.nan
    point = random.choice([0.0, 0.004, 0.1, 20.0, np.nan], size)
    columns: dict[str, np.ndarray] = {}
    if placed in ("named", "both"):
        columns["place"] = random.choice([3, 4, NO_KEY], size)
    if placed in ("cells", "both"):
        columns |= {"lat": 40.0 + point, "lon": -74.0 + point}
    return EventBatch.of(
        user=random.integers(0, draw(st.sampled_from([3, 3, 12])), size),
        item=random.integers(0, draw(st.integers(1, 12)), size),
        time_ms=time_ms - behind,
        label=label,
        category=random.choice([1, 2, NO_KEY], size),
        tz_min=random.choice([0, -300, 330], size),
        event_id=np.where(random.random(size) < 0.5, random.integers(0, 30, size), NO_KEY),
        **columns,
    )


configs = st.builds(
    OperatorConfig,
    label_delay_ms=st.sampled_from([0, 1, HOUR_MS, 2 * DAY_MS]),
    lateness_ms=st.sampled_from([0, HOUR_MS, DAY_MS, ANY_LATENESS_MS]),
    event_ids=st.sampled_from([2, 1000]),
    solar_time=st.booleans(),
    own_place=st.booleans(),
    memory=st.builds(
        MemoryConfig,
        capacity=st.sampled_from([1, 3, 5, 40]),
        gain=st.sampled_from([0.0, 0.7]),
        periodic=st.booleans(),
        horizon_s=st.sampled_from([None, 4 * 86400.0]),
        expire_ms=st.sampled_from([None, None, 1, 8 * HOUR_MS, 5 * DAY_MS]),
        most_users=st.sampled_from([None, None, 1, 2]),
    ),
)
windows = st.sampled_from([(0, 16), (3, 3), (3, 1), (8, 2), (8, 0), (50, 16)])
"""Entries, and how many of them are just the newest."""


def processed(operator: Operator, events: EventBatch, cuts: list[int]) -> ExampleBatch:
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    parts = [events.take(slice(a, b)) for a, b in pairwise(edges)]
    return concat([operator.process(part, now_ms=0) for part in parts])


@settings(max_examples=150, deadline=None)
@given(streams(), configs, windows, st.lists(st.integers(0, 60), max_size=60))
def test_cutting_the_stream_changes_nothing(
    events: EventBatch, config: OperatorConfig, window: tuple[int, int], cuts: list[int]
) -> None:
    whole, cut = Operator(config, *window), Operator(config, *window)
    assert digest(processed(whole, events, []).tree()) == digest(processed(cut, events, cuts).tree())
    assert digest(whole.tree()) == digest(cut.tree())


@settings(max_examples=60, deadline=None)
@given(streams(), configs, windows, st.integers(0, 60))
def test_a_restart_from_the_tree_changes_nothing(
    events: EventBatch, config: OperatorConfig, window: tuple[int, int], stop: int
) -> None:
    through, before, after = (Operator(config, *window) for _ in range(3))
    expected = processed(through, events, [stop])
    first = before.process(events.take(slice(0, stop)), now_ms=0)
    after.load(before.tree())
    assert digest(after.tree()) == digest(before.tree())
    found = concat([first, after.process(events.take(slice(stop, None)), now_ms=0)])
    assert digest(found.tree()) == digest(expected.tree())
    assert digest(after.tree()) == digest(through.tree())


@settings(max_examples=200, deadline=None)
@given(streams(), configs, windows)
def test_it_is_the_blackboard_version(
    events: EventBatch, config: OperatorConfig, window: tuple[int, int]
) -> None:
    operator, reference = Operator(config, *window), Reference(config, *window)
    examples = operator.process(events, now_ms=0)
    placing = Operator(OperatorConfig(lateness_ms=1 << 60, solar_time=config.solar_time))
    placed = placing.process(plain(events), now_ms=0)
    ones = singles(events, placed.cell_B, placed.tz_min_B)
    rows = [row for row in map(reference.process, ones) if row is not None]
    assert len(examples) == len(rows)
    counts = operator.counts
    assert (counts.duplicates, counts.late) == (reference.duplicates, reference.late)
    if config.memory.expire_ms or config.memory.most_users:
        assert (counts.users, counts.expired) == (len(reference.silent), reference.expired)
        assert operator.memory.tree()["users"]["keys"].tolist() == list(reference.silent)
    for b, row in enumerate(rows):
        assert_same(examples, b, row)


def plain(events: EventBatch) -> EventBatch:
    return EventBatch.of(
        user=events.user_B,
        item=events.item_B,
        time_ms=events.time_ms_B,
        lat=events.lat_B,
        lon=events.lon_B,
        place=events.place_B,
        tz_min=events.tz_min_B,
    )


def singles(events: EventBatch, cell_B: np.ndarray, tz_min_B: np.ndarray) -> list[Event]:
    columns: list[np.ndarray] = [events.user_B, events.item_B, events.time_ms_B, events.label_B]
    columns += [events.category_B, cell_B, tz_min_B, events.event_id_B, events.tz_min_B]
    return [Event(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def assert_same(examples: ExampleBatch, b: int, row: Row) -> None:
    assert examples.user_B[b] == row.event.user
    assert examples.item_B[b] == row.event.item
    assert examples.known_ms_B[b] == row.known_ms
    assert examples.tz_min_B[b] == row.request.tz_min
    rates = dict(zip(USER_RATES, examples.user_rates_BR[b].tolist(), strict=True))
    assert rates == pytest.approx(row.rates, rel=2e-6, abs=1e-30)
    if examples.window is None:
        return
    window = examples.window
    assert window.length_B[b] == len(row.window)
    for w, entry in enumerate(row.window):
        found = {name: getattr(window, f"{name}_BW")[b, w] for name in entry}
        assert found == pytest.approx(entry, rel=2e-6, abs=1e-30, nan_ok=True)
    had = {item: i for i, item in enumerate(window.total_item_BI[b].tolist()) if item != NO_KEY}
    assert had.keys() == row.totals.keys()
    for item, i in had.items():
        totals = [getattr(window, name)[b, i] for name in BY_ITEM[1:]]
        assert totals == pytest.approx(row.totals[item], rel=1e-5, abs=1e-6)
    for name in BY_ENTRY:
        missing = NO_KEY if name in ("item_BW", "category_BW", "cell_BW", "before_BW") else 0
        assert np.all(getattr(window, name)[b, len(row.window) :] == missing)


def two(**columns: Sequence[float]) -> EventBatch:
    """Events of one user with one item, an hour apart, but for what is given."""
    size = len(next(iter(columns.values())))
    given = {name: np.array(values) for name, values in columns.items()}
    return EventBatch.of(
        **{
            "user": np.ones(size, np.int64),
            "item": np.ones(size, np.int64),
            "time_ms": np.arange(size, dtype=np.int64) * HOUR_MS,
            **given,
        }
    )


def test_without_delay_an_event_is_known_to_the_next() -> None:
    examples = Operator(OperatorConfig(), window=2).process(two(label=[1, 0, 1], time_ms=[5, 5, 5]), 0)
    assert examples.user_rates_BR[:, USER_RATES.index("count")].tolist() == [0, 1, 2]
    assert examples.user_rates_BR[:, USER_RATES.index("item_positives")].tolist() == [0, 1, 1]
    assert examples.window is not None
    assert examples.window.label_BW[2].tolist() == [1, 0]


def test_a_label_waits_for_its_delay_but_the_exposure_does_not() -> None:
    config = OperatorConfig(label_delay_ms=1)
    examples = Operator(config, window=2).process(two(label=[1, 0, 1], time_ms=[5, 5, 6]), 0)
    assert examples.user_rates_BR[:, USER_RATES.index("count")].tolist() == [0, 0, 2]
    assert examples.window is not None
    assert examples.window.length_B.tolist() == [0, 1, 2]
    assert np.isnan(examples.window.label_BW[1, 0])
    assert examples.window.label_BW[2].tolist() == [1, 0]


def test_without_labels_the_event_itself_waits() -> None:
    config = OperatorConfig(label_delay_ms=1)
    examples = Operator(config, window=2).process(two(time_ms=[5, 5, 6]), 0)
    assert examples.window is not None
    assert examples.window.length_B.tolist() == [0, 0, 2]


def test_duplicates_are_dropped_and_counted() -> None:
    operator = Operator(OperatorConfig())
    examples = operator.process(two(event_id=[7, 7, NO_KEY, NO_KEY, 8]), 0)
    assert examples.offset_B.tolist() == [0, 2, 3, 4]
    assert operator.counts.duplicates == 1
    assert operator.counts.used == 4


def test_ids_are_remembered_within_bounds() -> None:
    operator = Operator(OperatorConfig(event_ids=10, lateness_ms=10**12))
    operator.process(two(event_id=list(range(1000))), 0)
    assert sum(len(ids["keys"]) for ids in ids_of(operator)) <= 20
    assert len(operator.process(two(event_id=list(range(990, 1000)), time_ms=[10**10] * 10), 0)) == 0


def test_ids_are_forgotten_when_a_repeat_would_be_late_anyway() -> None:
    operator = Operator(OperatorConfig(lateness_ms=2 * HOUR_MS))
    operator.process(two(event_id=list(range(1000))), 0)
    assert sum(len(ids["keys"]) for ids in ids_of(operator)) <= 8


def ids_of(operator: Operator) -> list[dict[str, np.ndarray]]:
    admission = operator.tree()["admission"]
    return [admission["now"], admission["before"]]


def test_late_events_find_their_place_and_too_late_ones_are_counted() -> None:
    operator = Operator(OperatorConfig(lateness_ms=HOUR_MS), window=4)
    times = [0, 3 * HOUR_MS, 3 * HOUR_MS - 1, 2 * HOUR_MS - 1, 4 * HOUR_MS]
    examples = operator.process(two(item=[1, 2, 3, 4, 5], time_ms=times, label=[1] * 5), 0)
    assert (operator.counts.late, operator.late_L.tolist()) == (1, [3])
    assert examples.item_B.tolist() == [1, 2, 3, 5]
    assert examples.window is not None
    assert examples.window.item_BW[2, :2].tolist() == [1, 2]
    assert examples.window.age_s_BW[2, 1] == 0.0
    assert examples.window.item_BW[3, :3].tolist() == [1, 3, 2]


def test_the_mask_brings_back_the_hour_and_the_weekday_and_every_entry_knows_what_came_before_it() -> None:
    """Ten days of noise at 3 h; long before it, one event at 12 h, and one at 12 h on the same weekday."""
    start = 4 * 7 * DAY_MS
    noise = [start + 20 * DAY_MS + day * DAY_MS // 4 + 3 * HOUR_MS for day in range(0, 40, 4)]
    times = [
        start + 5 * HOUR_MS,
        start + 11 * DAY_MS + 12 * HOUR_MS,
        start + 14 * DAY_MS + 12 * HOUR_MS,
        *noise,
        start + 35 * DAY_MS + 12 * HOUR_MS,
    ]
    events = two(item=list(range(len(times))), time_ms=times, label=[1] * len(times))
    window = Operator(OperatorConfig(), window=4, newest=2).process(events, 0).window
    assert window is not None
    assert window.item_BW[-1].tolist() == [1, 2, len(times) - 3, len(times) - 2]
    assert window.before_BW[-1].tolist() == [0, 1, len(times) - 4, len(times) - 3]
    assert window.gap_s_BW[-1, 1] == 3 * DAY_MS / 1000
    newest = Operator(OperatorConfig(), window=4, newest=4).process(events, 0).window
    assert newest is not None
    assert newest.item_BW[-1].tolist() == list(range(len(times) - 5, len(times) - 1))


def test_where_times_have_no_hour_the_mask_is_the_newest() -> None:
    config = OperatorConfig(memory=MemoryConfig(periodic=False))
    events = two(item=list(range(9)), time_ms=list(range(9)), label=[1] * 9)
    window = Operator(config, window=4, newest=0).process(events, 0).window
    assert window is not None
    assert window.item_BW[-1].tolist() == [4, 5, 6, 7]


def test_what_was_had_once_has_totals_once_no_window_is_sure_to_have_it() -> None:
    """A hundred items a second apart, the oldest of them had three times since."""
    items = [*range(100), 0, 0, 0]
    events = two(item=items, time_ms=[1000 * i for i in range(103)], label=[1] * 103)
    window = Operator(OperatorConfig(), window=16).process(events, 0).window
    assert window is not None
    kept = window.total_item_BI[-1] != NO_KEY
    assert window.total_item_BI[-1, kept].tolist() == [0, *range(37, 0, -1)]
    assert window.total_count_BI[-1, kept].tolist() == [3, *[1] * 37]
    assert window.total_since_BI[-1, kept].tolist() == [0, *range(64, 101)]
    assert window.total_last_s_BI[-1, :3].tolist() == [1, 65, 66]


@settings(max_examples=100, deadline=None)
@given(
    streams(),
    configs,
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 12)), min_size=1, max_size=3),
)
def test_what_learners_ask_for_together_holds_what_each_asks_for(
    events: EventBatch, config: OperatorConfig, asked: list[tuple[int, int]]
) -> None:
    all_of_them = joint(select(*one) for one in asked)
    examples = Operator(config, all_of_them.width, all_of_them.newest).process(events, 0)
    for one in asked:
        alone = Operator(config, *one).process(events, 0).tree()
        narrow = narrowed(examples, select(*one)).tree()
        alone["window"].pop("goes_B"), narrow["window"].pop("goes_B")
        assert digest(alone) == digest(narrow)


def test_named_places_and_cells_reach_the_example() -> None:
    events = two(place=[3, 3, NO_KEY], lat=[np.nan, 40.7, np.nan], lon=[np.nan, -74.0, np.nan])
    cells = Operator(OperatorConfig()).process(events, 0).cell_B
    assert cells[0] == named(np.array([3]))[0]
    assert cells[1] > 0
    assert cells[2] == NO_KEY


def test_solar_time_moves_the_clock_by_the_longitude() -> None:
    events = two(lat=[40.7, np.nan], lon=[-74.0, np.nan], tz_min=[0, 60])
    assert Operator(OperatorConfig(solar_time=True)).process(events, 0).tz_min_B.tolist() == [-300, 60]
    assert Operator(OperatorConfig()).process(events, 0).tz_min_B.tolist() == [0, 60]


def test_a_place_that_is_the_items_says_nothing_of_the_request() -> None:
    """The user was in New York, then in Paris; whatever comes next is compared with Paris, by its clock."""
    new_york, paris = (40.7, -74.0), (48.86, 2.35)
    lat, lon = zip(new_york, paris, new_york, strict=True)
    events = two(item=[1, 2, 1], lat=lat, lon=lon, label=[1, 1, 1], time_ms=[0, 1, 2])
    elsewhere = two(
        item=[1, 2, 3], lat=[*lat[:2], -33.9], lon=[*lon[:2], 18.4], label=[1, 1, 1], time_ms=[0, 1, 2]
    )
    config = OperatorConfig(solar_time=True, own_place=False)
    for one in (events, elsewhere):
        examples = Operator(config, window=4).process(one, 0)
        window = examples.window
        assert window is not None
        assert examples.tz_min_B.tolist() == [0, -300, 0]
        assert window.place_BW[2].tolist() == [0, 1, 0, 0]
        assert examples.cell_B[2] != examples.cell_B[1]
    own = Operator(OperatorConfig(solar_time=True), window=4).process(events, 0)
    assert own.window is not None
    assert own.tz_min_B.tolist() == [-300, 0, -300]
    assert own.window.place_BW[2].tolist() == [1, 0, 0, 0]


def test_counts_say_what_was_kept() -> None:
    operator = Operator(OperatorConfig())
    operator.process(two(user=list(range(1000))), now_ms=1000 * HOUR_MS)
    assert operator.counts.users == 1000
    assert 0 < operator.counts.bytes_per_user < 1000
    assert operator.counts.lag_ms == HOUR_MS


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OperatorConfig(label_delay_ms=-1), "operator.label_delay_ms: expected at least 0, got -1"),
        (lambda: OperatorConfig(event_ids=0), "operator.event_ids: expected at least 1, got 0"),
        (lambda: Operator(OperatorConfig(), window=-1), "window: expected at least 0 entries, got -1"),
    ],
)
def test_absurd_settings_are_refused(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(InputError, match=message):
        build()
