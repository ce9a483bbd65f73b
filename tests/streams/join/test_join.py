"""The join: the same as with dictionaries, one event at a time, however the stream is cut."""

import math
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import InputError
from state.keys import NO_KEY
from state.tree import digest
from streams.join.impressions import Join, JoinConfig, JoinCounts
from streams.operator import Operator, OperatorConfig
from streams.records.of_partition import Durable
from streams.schema import EventBatch, concat_events
from streams.wire.reasons import LATE_LABEL, SECOND_LABEL
from tests.streams.kept import Kept, merge

Event = dict[str, float]


@dataclass
class Blackboard:
    """What `Join` is, in dictionaries and lists."""

    config: JoinConfig
    clock: float = -math.inf
    waiting: list[Event] = field(default_factory=list)
    done: dict[tuple[float, float], tuple[str, float]] = field(default_factory=dict)
    out: list[Event] = field(default_factory=list)
    late: list[tuple[int, str]] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: {f.name: 0 for f in fields(JoinCounts) if f.name != "waiting"}
    )

    def process(self, row: int, event: Event) -> None:
        self.clock = max(self.clock, event["time_ms"])
        self.done = {k: v for k, v in self.done.items() if v[1] + self.config.window_ms > self.clock}
        self.expire()
        who = event["event_id"], event["user"]
        mine = [one for one in self.waiting if (one["event_id"], one["user"]) == who]
        impression = math.isnan(event["label"])
        if event["event_id"] == NO_KEY or not (impression or mine or who in self.done):
            self.out.append(event)
        elif impression and (mine or who in self.done):
            self.counts["duplicates"] += 1
        elif impression:
            self.waiting.append(event)
            self.expire()
            if len(self.waiting) > self.config.most:
                self.counts["crowded"] += 1
                self.unanswered(min(self.waiting, key=lambda one: one["time_ms"]))
        elif mine:
            self.counts["answered"] += 1
            own = {k: v for k, v in mine[0].items() if v != NO_KEY and not math.isnan(v)}
            own.pop("lon" if "lat" not in own else "", None)
            self.leave(mine[0], {**event, **own, "label": event["label"]}, SECOND_LABEL)
        else:
            self.late.append((row, self.done[who][0]))
            self.counts["second" if self.done[who][0] == SECOND_LABEL else "late"] += 1

    def expire(self) -> None:
        for one in sorted(self.waiting, key=lambda one: one["time_ms"]):
            if one["time_ms"] + self.config.window_ms <= self.clock:
                self.unanswered(one)

    def unanswered(self, one: Event) -> None:
        self.counts["unanswered"] += 1
        label = self.config.unanswered
        self.leave(one, None if label is None else {**one, "label": label}, LATE_LABEL)

    def leave(self, one: Event, as_: Event | None, why: str) -> None:
        self.waiting.remove(one)
        self.done[one["event_id"], one["user"]] = why, self.clock
        if len(self.done) > self.config.most:
            del self.done[next(iter(self.done))]
        if as_ is not None:
            self.out.append(as_)


@st.composite
def feedback(draw: st.DrawFn) -> EventBatch:
    """Few ids, impressions and labels in any order, ties, jumps, late events, missing values."""
    size = draw(st.integers(0, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = draw(st.sampled_from([3, 12, 60]))
    step = draw(st.sampled_from([[0, 1], [0, 1, 3, 30]]))
    event_id = random.integers(0, ids, size)
    some = random.random(size)
    return EventBatch.of(
        user=np.where(some < 0.9, event_id % 3, 2),
        item=event_id * 7,
        time_ms=np.cumsum(random.choice(step, size)) - random.choice([0, 0, 0, 2, 8], size),
        event_id=np.where(random.random(size) < 0.9, event_id, NO_KEY),
        label=random.choice([np.nan, np.nan, 0.0, 1.0], size),
        rating=random.choice([np.nan, 3.0], size),
        lat=random.choice([np.nan, 40.5], size),
        lon=random.choice([-74.5, 10.0], size),
        action=random.choice([NO_KEY, 1, 2], size),
        place=random.choice([NO_KEY, 5], size),
        index=np.arange(size) % 4,
        tz_min=random.choice([0, 60], size),
    )


configs = st.builds(
    JoinConfig,
    window_ms=st.sampled_from([1, 5, 40]),
    most=st.sampled_from([1, 2, 5, 1000]),
    unanswered=st.sampled_from([0.0, 0.25, None]),
)


def listed(events: EventBatch) -> list[Event]:
    names = [f.name for f in fields(EventBatch)]
    columns = [getattr(events, name).tolist() for name in names]
    return [
        dict(zip([name.removesuffix("_B") for name in names], row, strict=True))
        for row in zip(*columns, strict=True)
    ]


def joined(join: Join, events: EventBatch, stops: list[int]) -> tuple[EventBatch, list[tuple[int, str]]]:
    """What comes out in pieces, put together; late rows by their place in the whole stream."""
    edges = [0, *sorted(min(stop, len(events)) for stop in stops), len(events)]
    parts, late = [], []
    for a, b in pairwise(edges):
        found = join.process(events.take(slice(a, b)))
        parts.append(found.events)
        late += [(a + row, reason) for row, reason, _ in found.late]
    return concat_events(parts), late


def columns(events: EventBatch) -> dict[str, np.ndarray]:
    return {f.name: getattr(events, f.name) for f in fields(events)}


@settings(max_examples=300, deadline=None)
@given(feedback(), configs, st.lists(st.integers(0, 60), max_size=60))
def test_it_is_the_blackboard_version_however_the_stream_is_cut(
    events: EventBatch, config: JoinConfig, stops: list[int]
) -> None:
    blackboard, whole, cut = Blackboard(config), Join(config), Join(config)
    for row, event in enumerate(listed(events)):
        blackboard.process(row, event)
    for join, edges in ((whole, []), (cut, stops)):
        found, late = joined(join, events, edges)
        assert repr(listed(found)) == repr(blackboard.out)
        assert late == blackboard.late
        assert asdict(join.counts) == {"waiting": len(blackboard.waiting), **blackboard.counts}
    assert digest(whole.tree()) == digest(cut.tree())


@settings(max_examples=200, deadline=None)
@given(feedback(), configs, st.lists(st.tuples(st.integers(0, 60), st.sampled_from("-kkrt")), max_size=12))
def test_a_restored_join_goes_on_as_the_other_would(
    events: EventBatch, config: JoinConfig, stops: list[tuple[int, str]]
) -> None:
    """At each cut the records are kept (k), and read by another that goes on (r), or the tree is (t)."""
    through, now = Join(config), Join(config)
    durable, kept = Durable(Operator(OperatorConfig()), now, page_words=64), Kept()
    stops = sorted((min(at, len(events)), what) for at, what in stops)
    edges = [0, *(at for at, _ in stops), len(events)]
    parts = []
    for (a, b), what in zip(pairwise(edges), [*(what for _, what in stops), "r"], strict=True):
        parts.append(now.process(events.take(slice(a, b))).events)
        if what in "kr":
            merge(kept, durable.records())
        if what == "r":
            before, now = now, Join(config)
            durable = Durable(Operator(OperatorConfig()), now, page_words=64)
            durable.restore(kept)
            assert digest(now.tree()) == digest(before.tree())
        if what == "t":
            now.load(now.tree())
    expected = through.process(events).events
    assert digest(columns(concat_events(parts))) == digest(columns(expected))
    assert now.counts == through.counts
    assert digest(now.tree()) == digest(through.tree())


@pytest.mark.parametrize("most", [100, 10_000])
def test_it_is_the_blackboard_version_of_many(most: int) -> None:
    """Enough for tables, slots and queues to grow, wrap and shrink."""
    random = np.random.default_rng(most)
    events = EventBatch.of(
        user=np.zeros(6000, np.int64),
        item=np.arange(6000),
        time_ms=np.cumsum(random.integers(0, 3, 6000)) - random.choice([0, 0, 50], 6000),
        event_id=random.integers(0, 3000, 6000),
        label=random.choice([np.nan, 1.0], 6000),
    )
    config = JoinConfig(window_ms=1500, most=most)
    blackboard, join = Blackboard(config), Join(config)
    for row, event in enumerate(listed(events)):
        blackboard.process(row, event)
    durable, kept = Durable(Operator(OperatorConfig()), join, page_words=64), Kept()
    parts, late = [], []
    for a, b in pairwise([*range(0, 2000, 41), *range(2000, 6001, 1000)]):
        found = join.process(events.take(slice(a, b)))
        parts.append(found.events)
        late += [(a + row, reason) for row, reason, _ in found.late]
        merge(kept, durable.records())
        again = Join(config)
        Durable(Operator(OperatorConfig()), again, page_words=64).restore(kept)
        assert digest(again.tree()) == digest(join.tree())
    assert repr(listed(concat_events(parts))) == repr(blackboard.out)
    assert late == blackboard.late
    assert asdict(join.counts) == {"waiting": len(blackboard.waiting), **blackboard.counts}
    assert min(blackboard.counts.values()) > 0 or most > 100


IMPRESSION = math.nan


def rows(*events: tuple[int, int, float], **more: list[float]) -> EventBatch:
    """(time, event id, label) of one user."""
    time_ms, event_id, label = (np.array(column) for column in zip(*events, strict=True))
    one = np.ones(len(events), np.int64)
    given = {name: np.array(column) for name, column in more.items()}
    return EventBatch.of(user=one, item=one, time_ms=time_ms, event_id=event_id, label=label, **given)


def said(events: EventBatch) -> list[tuple[int, int, float]]:
    columns = (events.time_ms_B, events.event_id_B, events.label_B)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_an_impression_goes_on_with_its_label_and_its_own_time_and_identity() -> None:
    events = rows((0, 7, IMPRESSION), (5, 7, 1.0), rating=[math.nan, 4.0], action=[NO_KEY, 3], source=[8, 9])
    found = Join(JoinConfig(window_ms=10)).process(events).events
    assert said(found) == [(0, 7, 1.0)]
    assert (found.offset_B[0], found.rating_B[0], found.action_B[0], found.source_B[0]) == (0, 4.0, 3, 8)


def test_an_impression_goes_on_unanswered_once_the_clock_reaches_its_window_and_before_the_row() -> None:
    join = Join(JoinConfig(window_ms=10, unanswered=0.5))
    first = join.process(rows((1, 2, IMPRESSION), (0, 1, IMPRESSION), (9, NO_KEY, 1.0))).events
    assert said(first) == [(9, NO_KEY, 1.0)]
    found = join.process(rows((11, NO_KEY, 0.0))).events
    assert said(found) == [(0, 1, 0.5), (1, 2, 0.5), (11, NO_KEY, 0.0)]


def test_a_label_that_comes_late_or_again_is_turned_down_with_a_reason() -> None:
    events = rows((0, 1, IMPRESSION), (10, 1, 1.0), (10, 2, IMPRESSION), (11, 2, 0.0), (12, 2, 1.0))
    found = Join(JoinConfig(window_ms=10)).process(events)
    assert said(found.events) == [(0, 1, 0.0), (10, 2, 0.0)]
    assert found.late == [
        (1, LATE_LABEL, "its impression has gone on without a label (the window is 10 ms)"),
        (4, SECOND_LABEL, "its impression has got a label before"),
    ]


def test_an_id_is_forgotten_when_the_window_has_passed_again() -> None:
    join = Join(JoinConfig(window_ms=10))
    join.process(rows((0, 1, IMPRESSION), (10, NO_KEY, 0.0)))
    assert [reason for _, reason, _ in join.process(rows((19, 1, 1.0))).late] == [LATE_LABEL]
    assert said(join.process(rows((20, 1, 1.0))).events) == [(20, 1, 1.0)]


def test_who_is_one_too_many_goes_on_unanswered() -> None:
    join = Join(JoinConfig(window_ms=10, most=2))
    found = join.process(rows((1, 1, IMPRESSION), (0, 2, IMPRESSION), (2, 3, IMPRESSION))).events
    assert said(found) == [(0, 2, 0.0)]
    assert (join.counts.crowded, join.counts.waiting) == (1, 2)


def test_another_users_label_is_no_feedback() -> None:
    events = rows((0, 1, IMPRESSION), (1, 1, 1.0))
    events.user_B[:] = [1, 2]
    assert said(Join(JoinConfig(window_ms=10)).process(events).events) == [(1, 1, 1.0)]


def test_without_a_window_everything_passes_untouched() -> None:
    events = rows((0, 1, IMPRESSION), (1, 1, 1.0))
    assert Join(JoinConfig()).process(events).events is events


def test_an_impression_that_goes_on_is_neither_late_nor_a_duplicate_for_the_operator() -> None:
    """In time order, whatever the gaps, if the operator's lateness is the window."""
    random = np.random.default_rng(3)
    time_ms = np.cumsum(random.choice([0, 1, 40], 500))
    events = rows(*((int(t), i // 2, IMPRESSION if i % 2 == 0 else 1.0) for i, t in enumerate(time_ms)))
    operator, join = Operator(OperatorConfig(lateness_ms=30)), Join(JoinConfig(window_ms=30))
    examples = operator.process(join.process(events).events, 0)
    assert len(examples) + join.counts.waiting == 250
    assert (operator.counts.late, operator.counts.duplicates) == (0, 0)
    assert 0 < join.counts.unanswered < 250


def test_the_ids_of_those_who_wait_are_known() -> None:
    join = Join(JoinConfig(window_ms=10))
    hashed = 2**62
    join.process(
        rows((0, 1, IMPRESSION), (1, 2, IMPRESSION), action=[hashed + 1, hashed + 1], category=[3, hashed])
    )
    assert join.keys.tolist() == [hashed, hashed + 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_ms": -1}, "join.window_ms: expected at least 0, got -1"),
        ({"most": 0}, "join.most: expected at least 1, got 0"),
        ({"unanswered": math.nan}, "join.unanswered: expected 0 to 1, or none, got nan"),
    ],
)
def test_absurd_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        JoinConfig(**settings)  # type: ignore[arg-type]


def test_a_state_that_does_not_fit_is_refused() -> None:
    join = Join(JoinConfig(window_ms=10))
    join.process(rows((0, 1, IMPRESSION), (0, 2, IMPRESSION)))
    with pytest.raises(InputError, match=r"expected at most 1 impressions \(join.most\), got 2"):
        Join(JoinConfig(window_ms=10, most=1)).load(join.tree())
