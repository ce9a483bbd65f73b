"""Impressions wait for their feedback, and go on with its label.

A plain object over columns, like the operator, in front of which it stands. Its clock is the latest event
time that it has seen. Cutting a stream into other micro-batches changes nothing that comes out, bit for bit.

An event with an id and without a label is an impression: it waits. A later event of the same user with the
same id and a label is its feedback: the impression goes on with that label, and the feedback ends here. An
impression that nobody answers before the clock reaches its time plus the window goes on as unanswered.

What goes on is in the order of what makes it go on; what a row's time makes go comes before the row itself,
by time, then arrival. An impression goes on with its own time. So that it is not late for the operator then,
the operator's `lateness_ms` is at least `window_ms`.

Shape suffixes: B rows, W waiting impressions, S slots, F words of an event, D ids that have left, O rows out.
"""

from dataclasses import dataclass, fields, replace

import msgspec
import numpy as np

from state.errors import InputError
from state.keys import NO_KEY, Int64s
from state.tree import Tree
from streams.join import kernels as kernel
from streams.join.kernels import Waiting
from streams.schema import EventBatch, concat_events
from streams.wire.message import NAMED_ROLES
from streams.wire.reasons import LATE_LABEL, SECOND_LABEL

_BEFORE_ALL_MS = -(2**62)
_TEXT = 2**62
_COLUMNS = tuple(f.name for f in fields(EventBatch))
WORDS, TIME_AT = len(_COLUMNS), _COLUMNS.index("time_ms_B")
"""Of an event that waits; which of them is its time."""
_OWN = frozenset(
    (
        "partition_B",
        "offset_B",
        "index_B",
        "user_B",
        "item_B",
        "time_ms_B",
        "tz_min_B",
        "event_id_B",
        "label_B",
    )
)
"""Columns in which feedback adds nothing to what the impression says."""
_COUNTS = slice(kernel.ANSWERED_COUNT, kernel.NUMBERS)


class JoinConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an impression waits for what comes of it."""

    window_ms: int = 0
    """0: nothing waits, and everything passes untouched."""
    most: int = 1_000_000
    """Impressions that wait, at most; above, the oldest goes on as unanswered. So many ids of those that have
    gone on are remembered, too, at most, for as long as the window."""
    unanswered: float | None = 0.0
    """Label of an impression that nobody answers in time; None: it is dropped and counted."""

    def __post_init__(self) -> None:
        for name, least in (("window_ms", 0), ("most", 1)):
            if getattr(self, name) < least:
                raise InputError(f"join.{name}: expected at least {least}, got {getattr(self, name)}")
        if self.unanswered is not None and not 0 <= self.unanswered <= 1:
            raise InputError(f"join.unanswered: expected 0 to 1, or none, got {self.unanswered}")


@dataclass(frozen=True, slots=True)
class Joined:
    """What came out for a batch."""

    events: EventBatch
    late: list[tuple[int, str, str]]
    """Rows of the batch that are turned down: the row, the reason (of `streams.wire.reasons`), and the
    details."""


@dataclass(frozen=True, slots=True)
class JoinCounts:
    """What became of impressions and feedback so far."""

    waiting: int
    answered: int
    unanswered: int
    """Gone on without feedback, or dropped for want of it; the crowded-out ones included."""
    crowded: int
    """Gone on before their time, as there were more than `most`."""
    duplicates: int
    """Impressions that came again, and were dropped."""
    late: int
    """Labels of impressions that had gone on unanswered."""
    second: int
    """Labels of impressions that had one."""


class Join:
    """Events that wait for others with the same id, and what became of those that have waited."""

    def __init__(self, config: JoinConfig) -> None:
        self.config = config
        self._store_SF = np.empty((0, WORDS), np.int64)
        self._forgotten = 0
        """How many have left `done_D3` for good."""
        numbers = np.zeros(kernel.NUMBERS, np.int64)
        numbers[kernel.CLOCK] = _BEFORE_ALL_MS
        self._waiting = Waiting(
            table_T2=np.full((64, 2), -1, np.int64),
            slots_SW=np.empty((0, kernel.SLOT), np.int64),
            order_S=np.empty(0, np.int64),
            done_D3=np.empty((0, 3), np.int64),
            numbers=numbers,
        )

    def process(self, events: EventBatch) -> Joined:
        """What goes on now that these have come."""
        if not self.config.window_ms:
            return Joined(events, [])
        size = len(events)
        self._make_room(size)
        numbers, here = self._waiting.numbers, len(self._store_SF)
        numbers[[kernel.OUT, kernel.REJECTED, kernel.ENTERED]] = 0
        out_O2 = np.empty((numbers[kernel.WAITING] + size, 2), np.int64)
        rejected_B2, entered_B = np.empty((size, 2), np.int64), np.empty(size, np.int64)
        labelled_B = ~np.isnan(events.label_B)
        rows = kernel.Rows(events.event_id_B, events.user_B, events.time_ms_B, labelled_B)
        outputs = kernel.Outputs(out_O2, rejected_B2, entered_B)
        kernel.join(rows, self.config.window_ms, self.config.most, self._waiting, outputs)
        out_O2 = out_O2[: numbers[kernel.OUT]]
        if self.config.unanswered is None:
            out_O2 = out_O2[out_O2[:, 1] != kernel.UNLABELLED]
        waited_O = out_O2[:, 0] < here
        row_O = out_O2[:, 0] - here
        row_O[waited_O] = size + np.arange(waited_O.sum())
        out = _followed(events, self._store_SF[out_O2[waited_O, 0]]).take(row_O)
        self._keep(events, entered_B[: numbers[kernel.ENTERED]])
        late = [self._turned_down(*row) for row in rejected_B2[: numbers[kernel.REJECTED]].tolist()]
        return Joined(self._labelled(out, out_O2[:, 1], events), late)

    @property
    def counts(self) -> JoinCounts:
        numbers = self._waiting.numbers
        return JoinCounts(int(numbers[kernel.WAITING]), *numbers[_COUNTS].tolist())

    @property
    def clock_ms(self) -> int:
        """The latest event time that was seen; below every time before."""
        return int(self._waiting.numbers[kernel.CLOCK])

    @property
    def keys(self) -> Int64s:
        """Hashed ids of those who wait, each once, for whoever knows their names."""
        _, slot_W = self.arrivals()
        named = [f for f, name in enumerate(_COLUMNS) if name.removesuffix("_B") in NAMED_ROLES]
        key_N: Int64s = np.unique(self._store_SF[slot_W[:, np.newaxis], named])
        return key_N[key_N >= _TEXT]

    @property
    def arrived(self) -> int:
        """How many impressions have waited so far."""
        return int(self._waiting.numbers[kernel.ARRIVED])

    def arrivals(self) -> tuple[Int64s, Int64s]:
        """Who waits: their numbers in order of arrival, and their slots."""
        waiting = self._waiting
        slot_W = waiting.order_S[: waiting.numbers[kernel.WAITING]]
        arrival_W = waiting.slots_SW[slot_W, kernel.ARRIVAL]
        by_arrival_W = np.argsort(arrival_W)
        return arrival_W[by_arrival_W], slot_W[by_arrival_W]

    def words(self, slot_N: Int64s) -> Int64s:
        """Who waits in these slots, as words (N, F)."""
        return self._store_SF[slot_N]

    @property
    def span(self) -> tuple[int, int]:
        """Numbers of the first id that is remembered to have left, and of the next that will."""
        numbers = self._waiting.numbers
        return self._forgotten + int(numbers[kernel.FIRST]), self._forgotten + int(numbers[kernel.END])

    def done(self, first: int, end: int) -> Int64s:
        """Ids that have left, by number: the words (D, 3) of `Waiting.done_D3`."""
        return self._waiting.done_D3[first - self._forgotten : end - self._forgotten]

    @property
    def numbers(self) -> Int64s:
        """The clock, how many impressions there were, and the counts."""
        numbers = self._waiting.numbers
        return np.concatenate([numbers[[kernel.CLOCK, kernel.ARRIVED]], numbers[_COUNTS]])

    def tree(self) -> Tree:
        """All that a restart needs."""
        arrival_W, slot_W = self.arrivals()
        first, end = self.span
        return {
            "numbers": self.numbers,
            "arrival": arrival_W,
            "words": self.words(slot_W),
            "left": first,
            "done": self.done(first, end).copy(),
        }

    def load(self, tree: Tree) -> None:
        """Take over what `tree` gave. Raises InputError where more wait than may."""
        self.__init__(self.config)  # type: ignore[misc]
        arrival_W, words_WF, done_D3 = tree["arrival"], tree["words"], tree["done"]
        size = len(arrival_W)
        if size > self.config.most:
            raise InputError(
                f"join: expected at most {self.config.most:,} impressions (join.most), got {size:,}; "
                "use the configuration that the state was saved with"
            )
        numbers = self._waiting.numbers
        numbers[[kernel.CLOCK, kernel.ARRIVED]] = tree["numbers"][:2]
        numbers[_COUNTS] = tree["numbers"][2:]
        self._make_room(size, len(done_D3))
        waiting = self._waiting
        events = _events(words_WF)
        slot_W = np.arange(size)
        self._store_SF[:size] = words_WF
        kernel.set_keys(waiting.slots_SW, events.event_id_B, events.user_B)
        waiting.slots_SW[:size, kernel.TIME] = events.time_ms_B
        waiting.slots_SW[:size, kernel.ARRIVAL] = arrival_W
        waiting.slots_SW[:size, kernel.SOURCE] = slot_W
        waiting.order_S[:size] = np.lexsort((arrival_W, events.time_ms_B))
        waiting.slots_SW[waiting.order_S[:size], kernel.PLACE] = slot_W
        kernel.put_all(waiting.table_T2, np.stack([waiting.slots_SW[:size, kernel.KEY], 4 * slot_W], axis=1))
        kernel.put_all(waiting.table_T2, done_D3[:, :2].copy())
        waiting.done_D3[: len(done_D3)] = done_D3
        waiting.numbers[[kernel.WAITING, kernel.END]] = size, len(done_D3)
        self._forgotten = tree["left"]

    def _turned_down(self, row: int, came_to: int) -> tuple[int, str, str]:
        if came_to == kernel.ANSWERED:
            return row, SECOND_LABEL, "its impression has got a label before"
        return (
            row,
            LATE_LABEL,
            f"its impression has gone on without a label (the window is {self.config.window_ms:,} ms)",
        )

    def _labelled(self, out: EventBatch, answer_O: Int64s, events: EventBatch) -> EventBatch:
        """With the feedback's label, and what else only the feedback says; or the label of the unanswered."""
        if self.config.unanswered is not None:
            out.label_B[answer_O == kernel.UNLABELLED] = self.config.unanswered
        row_N = np.flatnonzero(answer_O >= 0)
        feedback = events.take(answer_O[row_N])
        out.label_B[row_N] = feedback.label_B
        nowhere_N = np.isnan(out.lat_B[row_N])
        for name in _COLUMNS:
            if name in _OWN:
                continue
            column_O = getattr(out, name)
            own_N = column_O[row_N]
            missing_N = own_N == NO_KEY if column_O.dtype == np.int64 else np.isnan(own_N)
            if name in ("lat_B", "lon_B"):
                missing_N = nowhere_N
            column_O[row_N] = np.where(missing_N, getattr(feedback, name), own_N)
        return out

    def _keep(self, events: EventBatch, entered_N: Int64s) -> None:
        """Put those who came with this batch, and still wait, where they are found later."""
        slots_SW, here = self._waiting.slots_SW, len(self._store_SF)
        wait_N = slots_SW[entered_N, kernel.PLACE] < self._waiting.numbers[kernel.WAITING]
        slot_N = np.unique(entered_N[wait_N])
        self._store_SF[slot_N] = _words(events.take(slots_SW[slot_N, kernel.SOURCE] - here))
        slots_SW[slot_N, kernel.SOURCE] = slot_N

    def _make_room(self, size: int, left: int = 0) -> None:
        """For `size` more events and `left` more that have left."""
        waiting = self._waiting
        waits, first, end = waiting.numbers[[kernel.WAITING, kernel.FIRST, kernel.END]].tolist()
        left += waits + size
        ids = end - first + left
        slots, need = len(self._store_SF), min(waits + size, self.config.most + 1)
        if slots < need:
            more = min(max(need, 2 * slots, 64), self.config.most + 1) - slots
            new_SW = np.zeros((more, kernel.SLOT), np.int64)
            new_SW[:, kernel.PLACE] = np.arange(slots, slots + more)
            self._store_SF = np.concatenate([self._store_SF, np.empty((more, WORDS), np.int64)])
            waiting = waiting._replace(
                slots_SW=np.concatenate([waiting.slots_SW, new_SW]),
                order_S=np.concatenate([waiting.order_S, new_SW[:, kernel.PLACE]]),
            )
        if 2 * ids > len(waiting.table_T2):
            table_T2 = np.full((1 << (4 * ids - 1).bit_length(), 2), -1, np.int64)
            kernel.put_all(table_T2, waiting.table_T2)
            waiting = waiting._replace(table_T2=table_T2)
        if end + left > len(waiting.done_D3):
            done_D3 = np.empty((2 * ids + 64, 3), np.int64)
            done_D3[: end - first] = waiting.done_D3[first:end]
            waiting.numbers[[kernel.FIRST, kernel.END]] = 0, end - first
            waiting = waiting._replace(done_D3=done_D3)
            self._forgotten += first
        self._waiting = waiting


def _followed(events: EventBatch, words_WF: Int64s) -> EventBatch:
    """Events, then those that have waited."""
    if not len(words_WF):
        return events
    return concat_events([events, _events(words_WF)])


def _words(events: EventBatch) -> Int64s:
    """Events as words (B, F): the bits of their columns."""
    words_BF = np.empty((len(events), WORDS), np.int64)
    for f, name in enumerate(_COLUMNS):
        column_B = np.ascontiguousarray(getattr(events, name))
        words_BF[:, f] = column_B.view(np.int32 if column_B.itemsize == 4 else np.int64)
    return words_BF


def _events(words_BF: Int64s) -> EventBatch:
    """The inverse of `_words`."""
    columns = {}
    for f, name in enumerate(_COLUMNS):
        dtype = getattr(_NONE, name).dtype
        column_B = words_BF[:, f].astype(np.int32 if dtype.itemsize == 4 else np.int64)
        columns[name] = column_B.view(dtype)
    return replace(_NONE, **columns)


_NONE = EventBatch.of(user=np.zeros(0, np.int64), item=np.zeros(0, np.int64), time_ms=np.zeros(0, np.int64))
