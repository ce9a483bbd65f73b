"""What is published of a memory is what the memory says: a moment later, a day, a year."""

import math
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.publishing.publish import Publisher
from learners.contract import Learner, Needs, RankRequest, Settings
from learners.tables.leaveout import Had
from learners.training.trainer import Scored
from serving.scoring.recalled import recalled
from state.examples import ExampleBatch, Floats, Window
from state.keys import NO_KEY, Int64s, Names
from state.memory.memory_config import MemoryConfig
from state.store.contract import RunInfo
from state.store.in_memory import DictStore
from state.store.records import Record
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch
from tests.gapped import ANY_LATENESS_MS, DAY_MS, YEAR_MS, times
from tests.learners.streams import context

HOUR_MS = 3_600_000
USER = 1
INFO = RunInfo(log="-", learner="-", width=1, interests=(), popular=())


@dataclass
class Reads(Learner):
    """Reads `window` entries of the memory, `newest` of them just the newest."""

    window: int
    newest: int

    def __post_init__(self) -> None:
        super().__init__(Settings(), context())

    @property
    def needs(self) -> Needs:
        return Needs(window=self.window, newest=self.newest)

    def item_vectors(self, keys_N: Int64s) -> Floats:
        return np.ones((len(keys_N), 1), np.float32)

    def interests(self, batch: ExampleBatch) -> Floats:
        assert batch.window is not None
        return np.asarray(batch.window.retention_BW.sum(1).reshape(-1, 1, 1))


def published(operator: Operator, events: EventBatch, learner: Reads, chunk: int = 7) -> Record:
    """The row of USER, whose event is the last."""
    store, names = DictStore(), Names()
    config = operator.config
    publisher = Publisher(
        store,
        learner,
        names,
        Had("none"),
        every=10**9,
        known=config.label_delay_ms == 0,
        periodic=config.memory.periodic,
    )
    nothing = np.zeros(0, np.int64)
    request = RankRequest(nothing, nothing, nothing, np.zeros(1, np.int64), nothing)
    for at in range(0, len(events), chunk):
        publisher(Scored(operator.process(events.take(slice(at, at + chunk)), 0), request, {}))
    publisher.flush()
    record = store.user(str(USER))
    assert record is not None
    return record


def said(
    operator: Operator, time_ms: int, window: tuple[int, int], there: EventBatch | None = None
) -> Window:
    """What the operator says of USER's memory at a time, where one event was, left as it is.

    What waits goes on waiting.
    """
    tree = operator.tree()
    if operator.config.label_delay_ms:
        tree["memory"]["waiting"] = {name: column[:0] for name, column in tree["memory"]["waiting"].items()}
    copy = Operator(operator.config, *window)
    copy.load(tree)
    one = np.array([USER])
    asked = EventBatch.of(user=one, item=one * 999, time_ms=np.array([time_ms]))
    if there is not None:
        asked = replace(asked, tz_min_B=there.tz_min_B, lat_B=there.lat_B, lon_B=there.lon_B)
    rows = copy.process(asked, 0)
    assert rows.window is not None
    return rows.window


@st.composite
def streams(draw: st.DrawFn) -> EventBatch:
    """Two users, few items, late events and gaps; the last event is USER's."""
    size = draw(st.integers(2, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        time_ms = draw(times(size))
    else:
        steps = random.choice([0, 1, 1000, HOUR_MS, 7 * HOUR_MS, 3 * DAY_MS, 40 * DAY_MS], size)
        behind = random.choice([0, 0, 0, 1, HOUR_MS, DAY_MS], size)
        time_ms = 1_600_000_000_000 + np.cumsum(steps) - behind
    label = random.choice([0.0, 1.0], size)
    label[random.random(size) < draw(st.sampled_from([0.0, 0.4, 1.0]))] = np.nan
    user = random.choice([USER, USER, 2], size)
    user[-1] = USER
    return EventBatch.of(
        user=user,
        item=random.integers(0, draw(st.integers(1, 8)), size),
        time_ms=time_ms,
        label=label,
        category=random.choice([1, NO_KEY], size),
        tz_min=random.choice([0, -300, 330], size),
        lat=random.choice([40.0, 41.0], size),
        lon=random.choice([-74.0, 100.0], size),
    )


configs = st.builds(
    OperatorConfig,
    label_delay_ms=st.sampled_from([0, 0, HOUR_MS, YEAR_MS]),
    lateness_ms=st.just(ANY_LATENESS_MS),
    solar_time=st.booleans(),
    own_place=st.booleans(),
    memory=st.builds(
        MemoryConfig,
        capacity=st.sampled_from([1, 2, 5, 60]),
        strength_s=st.sampled_from([3600.0, 3 * 86_400.0]),
        periodic=st.booleans(),
    ),
)


@settings(max_examples=100)
@given(
    streams(),
    configs,
    st.sampled_from([1, 2, 4, 60, 300]),
    st.sampled_from([1, HOUR_MS, DAY_MS, 6 * DAY_MS, YEAR_MS]),
)
def test_the_published_memory_is_the_operators(
    events: EventBatch, config: OperatorConfig, newest: int, later_ms: int
) -> None:
    window = newest, newest
    operator = Operator(config, *window)
    record = published(operator, events, Reads(*window))
    memory, time_ms = record.memory, record.event_time_ms + later_ms
    window_of = said(operator, time_ms, window)
    length = int(window_of.length_B[0])
    assert memory["item"].tolist() == window_of.item_BW[0, :length].tolist()
    assert memory["time_ms"].tolist() == window_of.time_ms_BW[0, :length].tolist()
    assert memory["cell"].tolist() == window_of.cell_BW[0, :length].tolist()
    assert memory["minute"].tolist() == window_of.minute_BW[0, :length].tolist()
    if not config.label_delay_ms:
        np.testing.assert_array_equal(memory["label"], window_of.label_BW[0, :length])
    now = recalled(record, INFO, time_ms, NO_KEY)
    np.testing.assert_allclose(now.retention_W, window_of.retention_BW[0, :length], rtol=0, atol=1e-6)


@settings(max_examples=100)
@given(
    streams(),
    configs,
    st.sampled_from([(2, 1), (4, 2), (5, 1), (8, 3), (60, 10)]),
    st.sampled_from([1, DAY_MS, YEAR_MS]),
)
def test_under_a_mask_it_is_what_the_operator_would_select_and_fades_as_the_memory_does(
    events: EventBatch, config: OperatorConfig, window: tuple[int, int], later_ms: int
) -> None:
    """As long as the event's own window tells: it knows nothing of what takes the place of an entry that a
    full memory forgets with the event, and by solar time it was chosen where the user had been before."""
    roomy = msgspec.structs.replace(config.memory, capacity=60)
    config = msgspec.structs.replace(config, solar_time=False, memory=roomy)
    in_order = EventBatch(**{**vars_of(events), "time_ms_B": np.maximum.accumulate(events.time_ms_B)})
    operator = Operator(config, *window)
    record = published(operator, in_order, Reads(*window))
    memory, last = record.memory, in_order.take(slice(len(events) - 1, len(events)))
    window_of = said(operator, record.event_time_ms, window, last)
    length = int(window_of.length_B[0])
    assert memory["item"].tolist() == window_of.item_BW[0, :length].tolist()
    assert memory["time_ms"].tolist() == window_of.time_ms_BW[0, :length].tolist()
    there_W = window_of.before_BW[0, :length] != NO_KEY
    assert memory["before"][there_W].tolist() == window_of.before_BW[0, :length][there_W].tolist()
    assert memory["gap_s"][there_W].tolist() == window_of.gap_s_BW[0, :length][there_W].tolist()
    all_of_it = said(operator, record.event_time_ms + later_ms, (config.memory.capacity,) * 2)
    whole = int(all_of_it.length_B[0])
    keys = zip(all_of_it.item_BW[0, :whole].tolist(), all_of_it.time_ms_BW[0, :whole].tolist(), strict=True)
    left = dict(zip(keys, all_of_it.retention_BW[0, :whole].tolist(), strict=True))
    now = recalled(record, INFO, record.event_time_ms + later_ms, NO_KEY)
    for item, time_ms, retention in zip(memory["item"], memory["time_ms"], now.retention_W, strict=True):
        assert retention == pytest.approx(left[item, time_ms], abs=2e-6)


@settings(max_examples=60)
@given(streams(), configs, st.sampled_from([(1, 1), (3, 1), (4, 2)]), st.sampled_from([0, DAY_MS, YEAR_MS]))
def test_totals_are_what_the_operator_would_say_next(
    events: EventBatch, config: OperatorConfig, window: tuple[int, int], later_ms: int
) -> None:
    """But of the event's own item, where the one earlier event with it was not selected; and of outcomes that
    are known only later."""
    roomy = msgspec.structs.replace(config.memory, capacity=60)
    config = msgspec.structs.replace(config, memory=roomy, label_delay_ms=0)
    in_order = EventBatch(**{**vars_of(events), "time_ms_B": np.maximum.accumulate(events.time_ms_B)})
    operator = Operator(config, *window)
    record = published(operator, in_order, Reads(*window))
    time_ms = record.event_time_ms + later_ms
    now, next_of = recalled(record, INFO, time_ms, NO_KEY), said(operator, time_ms, window)
    real_I = next_of.total_item_BI[0] != NO_KEY
    expected = {
        item: one
        for item, *one in zip(
            next_of.total_item_BI[0, real_I].tolist(),
            next_of.total_count_BI[0, real_I].tolist(),
            next_of.total_first_s_BI[0, real_I].tolist(),
            next_of.total_last_s_BI[0, real_I].tolist(),
            next_of.total_since_BI[0, real_I].tolist(),
            next_of.total_faded_BI[0, real_I].tolist(),
            strict=True,
        )
    }
    totals = now.totals
    own = int(in_order.item_B[-1])
    if not len(totals.item_T):  # the entries tell it all
        good = record.memory["item"][~(record.memory["label"] <= 0.5)].tolist()
        assert {item: one[0] for item, one in expected.items() if item != own} == {
            item: good.count(item) for item in good if good.count(item) > 1 and item != own
        }
        return
    assert expected.keys() - {own} == set(totals.item_T.tolist()) - {own}
    columns = (totals.count_T, totals.first_s_T, totals.last_s_T, totals.since_T, totals.faded_T)
    for item, *got in zip(totals.item_T.tolist(), *columns, strict=True):
        assert got == pytest.approx(expected[item], rel=1e-5, abs=1e-3)


def vars_of(events: EventBatch) -> dict[str, np.ndarray]:
    return {name: getattr(events, name) for name in EventBatch.__slots__}


def of_one(times_d: list[float], items: list[int]) -> Record:
    """Events of one user, by day, each with an item."""
    events = EventBatch.of(
        user=np.full(len(items), USER),
        item=np.array(items),
        time_ms=1_600_000_000_000 + (np.array(times_d) * DAY_MS).astype(np.int64),
        label=np.ones(len(items), np.float32),
    )
    return published(Operator(OperatorConfig(), 60, 60), events, Reads(60, 60))


def test_a_repeat_is_as_strong_for_a_reader_as_it_is_in_memory() -> None:
    record = of_one([0.0, 29.0, 30.0], [5, 5, 6])
    strength_d = 3.0 * (1.0 + 0.7 * (1.0 - math.exp(-29.0 / 3.0)))
    six_days_later = recalled(record, INFO, record.event_time_ms + 6 * DAY_MS, NO_KEY)
    again, once = math.exp(-7.0 / strength_d), math.exp(-6.0 / 3.0)
    assert six_days_later.retention_W.tolist() == pytest.approx([again, again, once], abs=1e-6)
    assert again == pytest.approx(0.253, abs=5e-4)


def test_what_was_met_again_just_now_is_whole_in_all_its_entries() -> None:
    record = of_one([0.0, 10.0], [5, 5])
    now = recalled(record, INFO, record.event_time_ms, NO_KEY)
    assert now.retention_W.tolist() == [1.0, 1.0]
