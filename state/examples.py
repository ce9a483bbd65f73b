"""What passes from the stream to the learners: one columnar batch of examples.

Shape suffixes: B examples, W window entries, R rates.

An example is one event with what was known before it: nothing of its own outcome but `label`, which is
for measuring and learning only. `known_ms` says when it may be learned from: before that, no learner may
use it.

The *request* is known before it is answered: `user_B`, `time_ms_B`, `tz_min_B`, `session_B`, `scene_B`.
`item_B`, `category_B`, `item_rates_BR` and those of `user_rates_BR` that count an item or a category belong
to the item that the event turned out to be about: right for P(action), and no input of a ranking, which
must not know the answer. So do `lat_B`, `lon_B` and `cell_B`, unless the log's places are the requests' own
(then the learners' context has the role "here"). The window, `place_BW` included, is the user's past as the
request sees it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from state.arrays import Bytes as Bytes
from state.arrays import Doubles as Doubles
from state.arrays import Floats as Floats
from state.arrays import Int64s
from state.arrays import Shorts as Shorts
from state.errors import InputError
from state.ids import NO_KEY
from state.tree import Tree
from state.weeks import WEEK_MIN

ITEMS = 64
"""Of which a window has totals, at most."""

BANK_S: tuple[float, ...] = (3600.0, 86400.0, 7 * 86400.0, 30 * 86400.0)
"""Time constants of the bank of rates, in seconds: a decayed count falls by 1/e in each."""

USER_RATES: tuple[str, ...] = (
    *("count", "positives"),  # the user's known events and the sum of their labels, without decay
    *("count_1h", "count_1d", "count_7d", "count_30d"),
    *("positives_1h", "positives_1d", "positives_7d", "positives_30d"),
    *("item_count", "item_positives"),  # the same item in the user's memory, faded by 30 d
    *("category_count", "category_positives"),  # the same category, faded by 30 d
    "gap_s",  # since the user's last known event; -1 where there is none
)
"""Columns of `user_rates_BR`, kept by the operator."""

ITEM_RATES: tuple[str, ...] = (
    *("count", "positives"),
    *("count_1h", "count_1d", "count_7d", "count_30d"),
    *("positives_1h", "positives_1d", "positives_7d", "positives_30d"),
    *("hour_count", "hour_positives"),  # the same item at the same local hour of day, faded by 30 d
    "age_s",  # since the item's first known event; -1 where there is none
    *("all_count", "all_positives"),  # every item together, without decay
    "popularity",  # the item's share of all events, faded by 7 d
)
"""Columns of `item_rates_BR`, kept by the trainer's catalogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was selected of a user's memory (`state.memory.mask`), newest last; entry w of row b is real where
    w < length_B[b].

    Unused entries have keys NO_KEY and zeros. Kernel values lie in [0, 1]; one that the log cannot feed is 0.
    """

    length_B: Int64s
    item_BW: Int64s
    category_BW: Int64s
    cell_BW: Int64s
    """The entry's place; NO_KEY without one."""
    age_s_BW: Floats
    """Seconds from the entry to the example, at least 0."""
    retention_BW: Floats
    """exp(-(time since the item's last repeat) / strength): the forgetting curve with spacing."""
    hour_BW: Floats
    """Hour-of-day kernel between entry and example, local time."""
    week_BW: Floats
    """Hour-of-week kernel."""
    place_BW: Floats
    """1 in the same H3 cell, less for each parent level needed, 0 elsewhere or without a place.

    Of entry and request; where places are the items', a request is where the user's newest entry was."""
    label_BW: Floats
    """The entry's outcome; NaN while it is not known or where the log has none."""
    time_ms_BW: Int64s
    """When the entry was: later than the example, if that is late."""
    minute_BW: Shorts
    """The entry's local minute of the week, as in `state.forgetting`."""
    strength_s_BW: Floats
    """Time in which the entry fades to 1/e."""
    before_BW: Int64s
    """Item of the entry that came just before it in the memory, selected or not; NO_KEY of the oldest."""
    gap_s_BW: Floats
    """Seconds between the two."""
    total_item_BI: Int64s
    """Items that were had more than once, or long ago, those of most events, newest first; then NO_KEY."""
    total_count_BI: Floats
    """Of each over the whole memory (`state.memory.totals`): events, but for those that came out badly,"""
    total_first_s_BI: Floats
    """seconds since the first,"""
    total_last_s_BI: Floats
    """seconds since the last,"""
    total_since_BI: Floats
    """entries since the last,"""
    total_faded_BI: Floats
    """and events faded by 64 days."""
    own_strength_s_B: Floats
    """Strength of the row's own event, and of all entries of its item, once the row is remembered; 0 where it
    is not: as it is not known yet, or older than all that a full memory holds. See `state.memory.after`."""
    own_minute_B: Shorts
    """Local minute of the row's own event, where it was."""
    goes_B: Int64s
    """Which entry of the window a full memory forgets for it, from the newest as 1; or 0."""

    def take(self, rows: Int64s | slice) -> Self:
        return type(self)(**dict(zip(_OF_WINDOW, (each[rows] for each in _in_window(self)), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleBatch:
    """B examples in the order in which they are scored. Missing: NO_KEY in keys, NaN in numbers."""

    partition_B: Int64s
    offset_B: Int64s
    index_B: Int64s
    """(partition, offset, index) is the example's identity: source partition, message, place in it."""
    user_B: Int64s
    item_B: Int64s
    time_ms_B: Int64s
    known_ms_B: Int64s
    """When the outcome (or, without labels, the event) becomes known; never falls along the stream."""
    label_B: Floats
    """0..1; NaN on a log without labels, where every example is a positive."""
    rating_B: Floats
    propensity_B: Floats
    lat_B: Doubles
    lon_B: Doubles
    cell_B: Int64s
    """H3 cell of the place: the request's, or the item's (see above)."""
    tz_min_B: Int64s
    """Minutes that the request's local time is ahead of UTC."""
    action_B: Int64s
    category_B: Int64s
    session_B: Int64s
    scene_B: Int64s
    source_B: Int64s
    user_rates_BR: Floats
    """Columns USER_RATES."""
    item_rates_BR: Floats
    """Columns ITEM_RATES, as of scoring; zeros until the trainer's catalogue has filled them."""
    window: Window | None
    """None where no learner asked for one."""

    def __len__(self) -> int:
        return len(self.user_B)

    @property
    def labelled(self) -> bool:
        return bool(len(self)) and not bool(np.isnan(self.label_B[0]))

    def take(self, rows: Int64s | slice) -> Self:
        """The chosen rows; a slice shares memory, an index array copies."""
        columns = dict(zip(_OF_BATCH, (each[rows] for each in _in_batch(self)), strict=True))
        return type(self)(**columns, window=None if self.window is None else self.window.take(rows))

    def with_item_rates(self, item_rates_BR: Floats) -> Self:
        return replace(self, item_rates_BR=item_rates_BR)

    def tree(self) -> Tree:
        """Every column; the batch itself is immutable, so it is rebuilt by `from_tree`."""
        columns: Tree = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "window"}
        if self.window is not None:
            columns["window"] = {f.name: getattr(self.window, f.name) for f in fields(self.window)}
        return columns

    @classmethod
    def from_tree(cls, tree: Tree) -> Self:
        columns = dict(tree)
        window = columns.pop("window", None)
        batch = cls(**columns, window=None)
        return batch if window is None else replace(batch, window=window_from_tree(window, batch))

    def to_arrow(self) -> pa.RecordBatch:
        """One Arrow record batch; two-dimensional columns become fixed-size lists."""
        tree = self.tree()
        window = tree.pop("window", {})
        columns = tree | {f"window.{name}": column for name, column in window.items()}
        return pa.record_batch({name: _to_arrow(column) for name, column in columns.items()})

    @classmethod
    def from_arrow(cls, batch: pa.RecordBatch) -> Self:
        """The inverse of `to_arrow`, in arrays that can be written.

        Raises InputError on a missing, unknown or mistyped column.
        """
        columns = {name: _from_arrow(batch.column(name)) for name in batch.schema.names}
        window = {k.removeprefix("window."): v for k, v in columns.items() if k.startswith("window.")}
        plain = {k: v for k, v in columns.items() if not k.startswith("window.")}
        empty = empty_examples(0, 1 if window else None)
        for got, like in ((plain, empty.tree()), (window, empty.tree().get("window", {}))):
            expected = {k: v.dtype for k, v in like.items() if k != "window"}
            actual = {k: v.dtype for k, v in got.items()}
            if actual != expected:
                wrong = sorted(set(expected.items()) ^ set(actual.items()), key=str)
                raise InputError(f"examples: columns differ from the schema at {wrong}")
        return cls(**plain, window=Window(**window) if window else None)


def window_of(batch: ExampleBatch) -> Window:
    """The batch's windows, or windows of one entry that is not there."""
    return empty_window(len(batch), 1) if batch.window is None else batch.window


def widened(batch: ExampleBatch, width: int) -> ExampleBatch:
    """The batch with windows of `width` entries at least; what is added is no entry."""
    window = batch.window
    if window is None or window.item_BW.shape[1] >= width:
        return batch
    wide = empty_window(len(batch), width)
    for name in BY_ENTRY:
        column = getattr(window, name)
        getattr(wide, name)[:, : column.shape[1]] = column
    columns = {name: getattr(wide, name) for name in BY_ENTRY}
    return replace(batch, window=replace(window, **columns))


def concat(batches: Sequence[ExampleBatch]) -> ExampleBatch:
    """Batches one after another, with windows as wide as the widest; all have a window, or none has."""
    if len(batches) == 1:
        return batches[0]
    width = max(0 if batch.window is None else batch.window.item_BW.shape[1] for batch in batches)
    trees = [widened(batch, width).tree() for batch in batches]
    merged: Tree = {
        name: np.concatenate([tree[name] for tree in trees]) for name in trees[0] if name != "window"
    }
    if "window" in trees[0]:
        merged["window"] = {
            name: np.concatenate([tree["window"][name] for tree in trees]) for name in trees[0]["window"]
        }
    return ExampleBatch.from_tree(merged)


def empty_examples(size: int, window: int | None = None) -> ExampleBatch:
    """`size` examples with every value missing; the operator and tests fill in what they have."""

    def keys() -> Int64s:
        return np.full(size, NO_KEY, np.int64)

    def zeros() -> Int64s:
        return np.zeros(size, np.int64)

    def missing(dtype: type[np.floating[Any]]) -> NDArray[Any]:
        return np.full(size, np.nan, dtype)

    columns: Tree = {
        f.name: keys() if f.name.removesuffix("_B") in _KEYS else zeros()
        for f in fields(ExampleBatch)
        if f.name.endswith("_B")
    }
    for name in ("label_B", "rating_B", "propensity_B"):
        columns[name] = missing(np.float32)
    for name in ("lat_B", "lon_B"):
        columns[name] = missing(np.float64)
    return ExampleBatch(
        **columns,
        user_rates_BR=np.zeros((size, len(USER_RATES)), np.float32),
        item_rates_BR=np.zeros((size, len(ITEM_RATES)), np.float32),
        window=None if window is None else empty_window(size, window),
    )


_KEYS = ("user", "item", "cell", "action", "category", "session", "scene", "source")


def empty_window(size: int, width: int) -> Window:
    """`size` windows with no entry."""

    def zeros() -> Floats:
        return np.zeros((size, width), np.float32)

    return Window(
        length_B=np.zeros(size, np.int64),
        item_BW=np.full((size, width), NO_KEY, np.int64),
        category_BW=np.full((size, width), NO_KEY, np.int64),
        cell_BW=np.full((size, width), NO_KEY, np.int64),
        age_s_BW=zeros(),
        retention_BW=zeros(),
        hour_BW=zeros(),
        week_BW=zeros(),
        place_BW=zeros(),
        label_BW=zeros(),
        time_ms_BW=np.zeros((size, width), np.int64),
        minute_BW=np.zeros((size, width), np.int16),
        strength_s_BW=zeros(),
        before_BW=np.full((size, width), NO_KEY, np.int64),
        gap_s_BW=zeros(),
        total_item_BI=np.full((size, ITEMS), NO_KEY, np.int64),
        **{name: np.zeros((size, ITEMS), np.float32) for name in _TOTALS},
        own_strength_s_B=np.zeros(size, np.float32),
        own_minute_B=np.zeros(size, np.int16),
        goes_B=np.zeros(size, np.int64),
    )


BY_ENTRY = tuple(f.name for f in fields(Window) if f.name.endswith("_BW"))
"""Columns of a window that have a value an entry; the others have one a row."""

BY_ITEM = tuple(f.name for f in fields(Window) if f.name.endswith("_BI"))
"""Those that have a value an item that has totals."""
_TOTALS = BY_ITEM[1:]
_OF_WINDOW = tuple(f.name for f in fields(Window))
_OF_BATCH = tuple(f.name for f in fields(ExampleBatch) if f.name != "window")
_in_window, _in_batch = attrgetter(*_OF_WINDOW), attrgetter(*_OF_BATCH)
"""All at once: rows are taken for every chunk that is scored or learned."""

_ONCE_S = 3 * 86_400.0


def window_from_tree(columns: Tree, batch: ExampleBatch) -> Window:
    """The window of a batch's tree.

    An older version may have saved it, which took the newest entries, and kept no strengths or not what came
    before them: an entry's strength is that of a single event that is retained as well, and before it came
    the one beside it.
    """
    columns = {name: column for name, column in columns.items() if name != "views_BW"}
    if "strength_s_BW" not in columns:
        columns |= _strengths(columns, batch)
    if "before_BW" not in columns:
        columns |= _before(columns)
    if BY_ITEM[0] not in columns:
        empty = empty_window(len(batch), 0)
        columns |= {name: getattr(empty, name) for name in BY_ITEM}
    return Window(**columns)


def _before(columns: Tree) -> Tree:
    item_BW, time_ms_BW = columns["item_BW"], columns["time_ms_BW"]
    before_BW, gap_s_BW = np.full(item_BW.shape, NO_KEY), np.zeros(item_BW.shape, np.float32)
    real_BW = np.arange(1, item_BW.shape[1]) < columns["length_B"][:, np.newaxis]
    before_BW[:, 1:] = np.where(real_BW, item_BW[:, :-1], NO_KEY)
    gap_s_BW[:, 1:] = np.where(real_BW, np.diff(time_ms_BW, axis=1) / 1000.0, 0.0)
    return {"before_BW": before_BW, "gap_s_BW": gap_s_BW}


def _strengths(columns: Tree, batch: ExampleBatch) -> Tree:
    age_s_BW = columns["age_s_BW"].astype(np.float64)
    time_ms_BW = batch.time_ms_B[:, np.newaxis] - np.rint(age_s_BW * 1000.0).astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        strength_s_BW = -age_s_BW / np.log(columns["retention_BW"])
    real_BW = np.arange(age_s_BW.shape[1]) < columns["length_B"][:, np.newaxis]
    known_BW = np.isfinite(strength_s_BW) & (strength_s_BW > 0)
    minute_BW = (time_ms_BW // 60_000 + batch.tz_min_B[:, np.newaxis]) % WEEK_MIN
    own_minute_B = (batch.time_ms_B // 60_000 + batch.tz_min_B) % WEEK_MIN
    waits_B = np.isnan(batch.label_B) & (batch.known_ms_B > batch.time_ms_B)
    return {
        "time_ms_BW": np.where(real_BW, time_ms_BW, 0),
        "minute_BW": np.where(real_BW, minute_BW, 0).astype(np.int16),
        "strength_s_BW": (np.where(known_BW, strength_s_BW, _ONCE_S) * real_BW).astype(np.float32),
        "own_strength_s_B": np.where(waits_B, 0.0, _ONCE_S).astype(np.float32),
        "own_minute_B": own_minute_B.astype(np.int16),
        "goes_B": np.zeros(len(batch), np.int64),
    }


def _to_arrow(column: NDArray[Any]) -> Any:
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def _from_arrow(column: Any) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(column.type):
        flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
        return np.require(flat, requirements=["C", "W"]).reshape(-1, column.type.list_size)
    return np.require(column.to_numpy(zero_copy_only=False), requirements=["C", "W"])
