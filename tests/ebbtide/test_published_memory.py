"""What is published of a memory is what the memory says: a moment later, a day, a year."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.publishing.publish import Publisher
from learners.contract import Learner, Needs, RankRequest, Settings
from learners.tables.leaveout import Had
from learners.training.trainer import Scored
from serving.recalled import recalled
from state.examples import ExampleBatch, Floats, Window
from state.keys import NO_KEY, Int64s, Names
from state.memory.users import MemoryConfig
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
    """Reads `window` entries of the memory; its interests are made of the newest `keep`."""

    window: int
    keep: int

    def __post_init__(self) -> None:
        super().__init__(Settings(), context())

    @property
    def needs(self) -> Needs:
        return Needs(window=self.window, keep=self.keep)

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


def said(operator: Operator, time_ms: int) -> Window:
    """What the operator says of USER's memory at a time, left as it is; what waits goes on waiting."""
    tree = operator.tree()
    if operator.config.label_delay_ms:
        tree["memory"]["waiting"] = {name: column[:0] for name, column in tree["memory"]["waiting"].items()}
    wanted = operator.memory._wanted
    copy = Operator(operator.config, wanted.width, wanted.views)
    copy.load(tree)
    one = np.array([USER])
    window = copy.process(EventBatch.of(user=one, item=one * 999, time_ms=np.array([time_ms])), 0).window
    assert window is not None
    return window


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


@settings(max_examples=250)
@given(
    streams(),
    configs,
    st.sampled_from([(1, 1), (2, 1), (4, 4), (6, 2), (60, 60), (60, 3), (300, 5)]),
    st.sampled_from([1, HOUR_MS, DAY_MS, 6 * DAY_MS, YEAR_MS]),
)
def test_the_published_memory_is_the_operators(
    events: EventBatch, config: OperatorConfig, window: tuple[int, int], later_ms: int
) -> None:
    operator = Operator(config, window[0])
    record = published(operator, events, Reads(*window))
    memory, time_ms = record.memory, record.event_time_ms + later_ms
    window_of = said(operator, time_ms)
    length = int(window_of.length_B[0])
    assert memory["item"].tolist() == window_of.item_BW[0, :length].tolist()
    assert memory["time_ms"].tolist() == window_of.time_ms_BW[0, :length].tolist()
    assert memory["cell"].tolist() == window_of.cell_BW[0, :length].tolist()
    assert memory["minute"].tolist() == window_of.minute_BW[0, :length].tolist()
    if not config.label_delay_ms:
        np.testing.assert_array_equal(memory["label"], window_of.label_BW[0, :length])
    now = recalled(record, INFO, time_ms, NO_KEY)
    np.testing.assert_allclose(now.retention_W, window_of.retention_BW[0, :length], rtol=0, atol=1e-6)


@settings(max_examples=60)
@given(streams(), configs, st.sampled_from([2, 4, 8]), st.sampled_from([1, DAY_MS, YEAR_MS]))
def test_in_a_window_of_views_too_what_is_left_is_what_the_memory_says(
    events: EventBatch, config: OperatorConfig, width: int, later_ms: int
) -> None:
    in_order = EventBatch(**{**vars_of(events), "time_ms_B": np.maximum.accumulate(events.time_ms_B)})
    operator = Operator(config, width, views=True)
    record = published(operator, in_order, Reads(width, width))
    time_ms = record.event_time_ms + later_ms
    whole = Operator(config, config.memory.capacity)
    whole.load(operator.tree())
    window_of = said(whole, time_ms)
    length = int(window_of.length_B[0])
    keys = zip(window_of.item_BW[0, :length].tolist(), window_of.time_ms_BW[0, :length].tolist(), strict=True)
    left = dict(zip(keys, window_of.retention_BW[0, :length].tolist(), strict=True))
    now = recalled(record, INFO, time_ms, NO_KEY)
    for item, entry_ms, retention in zip(
        record.memory["item"].tolist(),
        record.memory["time_ms"].tolist(),
        now.retention_W.tolist(),
        strict=True,
    ):
        assert retention == pytest.approx(left[item, entry_ms], abs=2e-6)


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
    return published(Operator(OperatorConfig(), 60), events, Reads(60, 60))


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
