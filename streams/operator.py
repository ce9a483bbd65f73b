"""The operator: events in, examples out, with what each event's user was known for before it.

A plain object over columns. It touches no clock, file, network or random state; cutting a stream into other
micro-batches changes no example and no state, bit for bit.

Row j is known at row i > j where known_ms of j is at most the clock at i: the latest time among the events
used so far, i's own included. known_ms is the clock at j plus the delay: it never falls, and without delay
everything before i is known, in order. A late event keeps its own time; what is known goes by the clock.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from state.cells import solar_tz_min
from state.errors import InputError
from state.examples import ITEM_RATES, ExampleBatch, Floats, Window
from state.forgetting import WEEK_MIN
from state.keys import NO_KEY, Int64s
from state.memory.mask import NEWEST, select
from state.memory.memory_config import MemoryConfig
from state.memory.pending import Rows
from state.memory.users import UserMemory
from state.places import Cells
from state.tree import Tree
from state.window_lists import WindowLists
from streams.admission import Admission
from streams.schema import EventBatch


class OperatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator does with time, and how users remember."""

    label_delay_ms: int = 0
    """Nothing younger is known: no label, and without labels no event."""
    lateness_ms: int = 86_400_000
    """Events older than the stream's clock by more than this are dropped as late."""
    event_ids: int = 1 << 20
    """Ids remembered against duplicates, at least, unless they are older than `lateness_ms`."""
    solar_time: bool = False
    """Take local time from the longitude, where the log has coordinates and no time zone."""
    own_place: bool = True
    """Whether an event's place is the request's own, like a shop or a phone's position.

    Off where it is the item's, like a venue's: what a window says of place, and local time by the longitude,
    then go by the user's newest entry that has a place, which is where the user was last.
    """
    memory: MemoryConfig = msgspec.field(default_factory=MemoryConfig)

    def __post_init__(self) -> None:
        for name, least in (("label_delay_ms", 0), ("lateness_ms", 0), ("event_ids", 1)):
            if getattr(self, name) < least:
                raise InputError(f"operator.{name}: expected at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the events so far."""

    used: int
    duplicates: int
    late: int
    users: int
    """Who is remembered."""
    expired: int
    """How often a user was forgotten for having been silent too long."""
    bytes_per_user: float
    lag_ms: int
    """How far the last call's `now_ms` was ahead of the stream's clock; negative if behind."""


class Operator:
    """User-keyed state, and the one path from events to examples.

    `window` entries of the user's memory go with each example, or none: the `newest`, and of the others those
    that the mask selects.
    """

    def __init__(self, config: OperatorConfig, window: int = 0, newest: int = NEWEST) -> None:
        for name, entries in (("window", window), ("newest", newest)):
            if entries < 0:
                raise InputError(f"{name}: expected at least 0 entries, got {entries}")
        self.config = config
        self.admission = Admission(config.lateness_ms, config.event_ids)
        self.memory = UserMemory(
            config.memory,
            select(window, newest),
            follow_place=not config.own_place,
            follow_time=config.solar_time and not config.own_place,
        )
        self._cells = Cells()
        self.used = 0
        self.late_L: Int64s = np.zeros(0, np.int64)
        """Rows of the last call's events that were late."""
        self._lag_ms = 0

    def process(self, events: EventBatch, now_ms: int) -> ExampleBatch:
        """One example for each event that is used, in order. `now_ms` is for the report alone."""
        events, rows = self._admitted(events, now_ms)
        rates_BR, window = self.memory.step(events.user_B, rows)
        return _examples(events, rows, rates_BR, window)

    def process_lists(self, events: EventBatch, now_ms: int) -> tuple[ExampleBatch, WindowLists]:
        """The same, but with the windows beside them, as lists."""
        events, rows = self._admitted(events, now_ms)
        rates_BR, lists = self.memory.step_lists(events.user_B, rows)
        return _examples(events, rows, rates_BR, None), lists

    def _admitted(self, events: EventBatch, now_ms: int) -> tuple[EventBatch, Rows]:
        """The events that are used, and what the memory takes of them."""
        kept_K, clock_ms_B, self.late_L = self.admission.admit(events.event_id_B, events.time_ms_B)
        if len(kept_K) < len(events):
            events = events.take(kept_K)
        self.used += len(events)
        self._lag_ms = now_ms - self.admission.clock_ms
        cell_B = self._cells.of(events.lat_B, events.lon_B, events.place_B)
        event_tz_min_B = events.tz_min_B
        if self.config.solar_time:
            event_tz_min_B = solar_tz_min(events.tz_min_B, events.lon_B)
        here_B, tz_min_B = cell_B, event_tz_min_B
        if not self.config.own_place:
            here_B, tz_min_B = np.full(len(events), NO_KEY), events.tz_min_B.copy()
        rows = Rows(
            user_B=self.memory.rows(events.user_B),
            item_B=events.item_B,
            category_B=events.category_B,
            place_B=cell_B,
            time_ms_B=events.time_ms_B,
            clock_ms_B=clock_ms_B,
            known_ms_B=clock_ms_B + self.config.label_delay_ms,
            label_B=events.label_B,
            minute_B=(events.time_ms_B // 60_000 + event_tz_min_B) % WEEK_MIN,
            here_B=here_B,
            tz_min_B=tz_min_B,
        )
        return events, rows

    @property
    def clock_ms(self) -> int:
        """The latest time among the events used so far; below every time where there was none."""
        return self.admission.clock_ms

    @property
    def counts(self) -> Counts:
        users = len(self.memory)
        return Counts(
            used=self.used,
            duplicates=self.admission.duplicates,
            late=self.admission.late,
            users=users,
            expired=self.memory.users.expired,
            bytes_per_user=self.memory.nbytes / max(users, 1),
            lag_ms=self._lag_ms,
        )

    def tree(self) -> Tree:
        """All that a restart needs."""
        return {"used": self.used, "admission": self.admission.tree(), "memory": self.memory.tree()}

    def load(self, tree: Tree) -> None:
        """Take over what `tree` gave."""
        self.used = int(tree["used"])
        self.admission.load(tree["admission"])
        self.memory.load(tree["memory"])


def _examples(events: EventBatch, rows: Rows, rates_BR: Floats, window: Window | None) -> ExampleBatch:
    return ExampleBatch(
        partition_B=events.partition_B,
        offset_B=events.offset_B,
        index_B=events.index_B,
        user_B=events.user_B,
        item_B=events.item_B,
        time_ms_B=events.time_ms_B,
        known_ms_B=rows.known_ms_B,
        label_B=events.label_B,
        rating_B=events.rating_B,
        propensity_B=events.propensity_B,
        lat_B=events.lat_B,
        lon_B=events.lon_B,
        cell_B=rows.place_B,
        tz_min_B=rows.tz_min_B,
        action_B=events.action_B,
        category_B=events.category_B,
        session_B=events.session_B,
        scene_B=events.scene_B,
        source_B=events.source_B,
        user_rates_BR=rates_BR,
        item_rates_BR=np.zeros((len(events), len(ITEM_RATES)), np.float32),
        window=window,
    )
