"""Drift: river's ADWIN and Page-Hinkley on what the learner's errors look like, overall and per scene.

Detectors see means over blocks of BLOCK values, counted in the stream's order, so that alarms do not depend
on the micro-batches, and a detector costs an event a fraction of its own price. A block mean is given in
units of the spread of the first WARM_UP block means since the detector's last alarm; before that many, the
detector is not asked. It is so ready for any signal, and a stationary stream of 15 million events (planted,
independent errors) raises no alarm.

Importing this module imports river, which takes seconds. Shape suffixes: B rows, S signals, C scopes
(overall, then each scene in order of first sight).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from monitor.detectors import ADWIN, DriftDetector, PageHinkley
from state.compiled import compiled
from state.examples import Doubles
from state.keys import NO_KEY, Int64s, KeyMap
from state.tree import Tree

SIGNALS = ("log_loss", "calibration", "recall@10")
"""Log loss, p - y, and whether the true item was among the first ten (0 or 1)."""

BLOCK = 64
"""Values in a block."""
WARM_UP = 32
"""Blocks whose mean and spread are a detector's measure."""
MEMORY = 4096
"""Blocks that a detector looks back at most; it then starts again from the newer half of them."""
MAX_SCENES = 64
"""Scenes that have detectors of their own: the first so many; the others count overall only."""
_LEAST_SPREAD = 0.01

_DETECTORS: Mapping[str, Callable[[], DriftDetector]] = {
    "adwin": lambda: ADWIN(delta=0.002, clock=8),  # type: ignore[no-untyped-call]
    "page_hinkley": lambda: PageHinkley(delta=0.5, threshold=25.0),
}


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One detector's finding, and its evidence: the means on either side of the likeliest change."""

    detector: str
    signal: str
    scene: int | None
    """Key of the scene; None for all events together."""
    event: int
    """Number of the event, from 1, at which the alarm was raised."""
    time_ms: int
    mean_before: float
    mean_after: float
    values_before: int
    values_after: int
    """How many values of the signal each mean is over."""

    @property
    def rose(self) -> bool:
        return self.mean_after > self.mean_before


class DriftMonitor:
    """Watches signals, and tells whoever listens in `on_alarm`; it acts on nothing itself."""

    def __init__(
        self, signals: Sequence[str] = SIGNALS, on_alarm: Sequence[Callable[[Alarm], None]] = ()
    ) -> None:
        self.signals = tuple(signals)
        self.on_alarm = list(on_alarm)
        self.alarms: list[Alarm] = []
        self.events = 0
        self._scenes = KeyMap()
        shape = (1 + MAX_SCENES, len(self.signals))
        self._sum_CS: Doubles = np.zeros(shape)
        self._count_CS: Int64s = np.zeros(shape, np.int64)
        self._watches: dict[tuple[int, int], tuple[_Watch, ...]] = {}

    def update(self, time_ms_B: Int64s, scene_B: Int64s, signals: Mapping[str, Doubles]) -> list[Alarm]:
        """Take in B events; the alarms that they raise, in order.

        `scene_B` holds keys or NO_KEY. A signal is NaN where an event has none, and may be left out.
        """
        unknown = set(signals) - set(self.signals)
        if unknown:
            raise ValueError(f"drift: signals {sorted(unknown)} are not watched; expected {self.signals}")
        size = len(time_ms_B)
        values_BS = np.full((size, len(self.signals)), np.nan)
        for s, name in enumerate(self.signals):
            if name in signals:
                values_BS[:, s] = signals[name]
        made = _blocks(values_BS, self._scopes(scene_B), self._sum_CS, self._count_CS)
        raised: list[Alarm] = []
        for row, scope, signal, mean in zip(*(column.tolist() for column in made), strict=True):
            for watch in self._watch(scope, signal):
                evidence = watch.feed(mean)
                if evidence is not None:
                    before, after = evidence
                    raised.append(
                        Alarm(
                            detector=watch.name,
                            signal=self.signals[signal],
                            scene=None if scope == 0 else int(self._scenes.keys[scope - 1]),
                            event=self.events + row + 1,
                            time_ms=int(time_ms_B[row]),
                            mean_before=float(before.mean()),
                            mean_after=float(after.mean()),
                            values_before=len(before) * BLOCK,
                            values_after=len(after) * BLOCK,
                        )
                    )
        self.events += size
        self.alarms += raised
        for alarm in raised:
            for listener in self.on_alarm:
                listener(alarm)
        return raised

    def _scopes(self, scene_B: Int64s) -> Int64s:
        scope_B = np.zeros(len(scene_B), np.int64)
        rows = np.flatnonzero(scene_B != NO_KEY)
        if len(rows):
            known = self._scenes.rows(scene_B[rows], grow=len(self._scenes) < MAX_SCENES) + 1
            scope_B[rows] = np.where(known <= MAX_SCENES, known, 0)
        return scope_B

    def _watch(self, scope: int, signal: int) -> "tuple[_Watch, ...]":
        watches = self._watches.get((scope, signal))
        if watches is None:
            watches = self._watches[scope, signal] = tuple(_Watch(name) for name in _DETECTORS)
        return watches

    def _every_watch(self, scopes: int) -> "Iterator[_Watch]":
        for scope in range(scopes):
            for signal in range(len(self.signals)):
                yield from self._watch(scope, signal)

    def tree(self) -> Tree:
        """The block means since each detector's last alarm, at most MEMORY each: they rebuild it."""
        scopes = 1 + min(len(self._scenes), MAX_SCENES)
        kept = [watch.kept for watch in self._every_watch(scopes)]
        return {
            "events": self.events,
            "scenes": self._scenes.keys[: scopes - 1].copy(),
            "sum_CS": self._sum_CS[:scopes].copy(),
            "count_CS": self._count_CS[:scopes].copy(),
            "kept": np.array([mean for means in kept for mean in means], np.float64),
            "kept_length": np.array([len(means) for means in kept], np.int64),
            "alarms": msgspec.json.encode(self.alarms).decode(),
        }

    def load(self, tree: Tree) -> None:
        self.events = int(tree["events"])
        self.alarms = msgspec.json.decode(tree["alarms"], type=list[Alarm])
        self._scenes = KeyMap(np.asarray(tree["scenes"], np.int64))
        scopes = 1 + len(self._scenes)
        self._sum_CS[:], self._count_CS[:] = 0.0, 0
        self._sum_CS[:scopes], self._count_CS[:scopes] = tree["sum_CS"], tree["count_CS"]
        self._watches.clear()
        ends = np.cumsum(tree["kept_length"])[:-1]
        for watch, kept in zip(self._every_watch(scopes), np.split(tree["kept"], ends), strict=True):
            watch.restart(kept.tolist())


class _Watch:
    """One detector on one signal in one scope, and the block means that it has seen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.restart([])

    def restart(self, kept: list[float]) -> None:
        """A new detector that has seen `kept`."""
        self.kept = kept
        self._detector = _DETECTORS[self.name]()
        if len(kept) >= WARM_UP:
            first = np.array(kept[:WARM_UP])
            self._middle = float(first.mean())
            self._spread = max(float(first.std(ddof=1)), _LEAST_SPREAD)
            for mean in kept:
                self._detector.update((mean - self._middle) / self._spread)

    def feed(self, mean: float) -> tuple[Doubles, Doubles] | None:
        """Show it a block mean; on an alarm, the means before and after the change."""
        kept = self.kept
        kept.append(mean)
        if len(kept) <= WARM_UP:
            if len(kept) == WARM_UP:
                self.restart(kept)
            return None
        if len(kept) > MEMORY:
            self.restart(kept[-MEMORY // 2 :])
            return None
        self._detector.update((mean - self._middle) / self._spread)
        if not self._detector.drift_detected:
            return None
        self.restart([])
        means = np.array(kept)
        change = _change(means)
        return means[:change], means[change:]


def _change(means: Doubles) -> int:
    """How many of the means come before the likeliest single change of level."""
    before = np.arange(1, len(means))
    drift = np.cumsum(means - means.mean())[:-1]
    return 1 + int(np.argmax(np.abs(drift) / np.sqrt(before * (len(means) - before))))


@compiled
def _blocks(
    values_BS: Doubles, scope_B: Int64s, sum_CS: Doubles, count_CS: Int64s
) -> tuple[Int64s, Int64s, Int64s, Doubles]:
    """Blocks that end within the batch, in order: row, scope, signal, mean."""
    rows, signals = values_BS.shape
    most = 2 * signals * rows // BLOCK + count_CS.size
    row_N = np.empty(most, np.int64)
    scope_N = np.empty(most, np.int64)
    signal_N = np.empty(most, np.int64)
    mean_N = np.empty(most, np.float64)
    n = 0
    for b in range(rows):
        for s in range(signals):
            value = values_BS[b, s]
            if np.isnan(value):
                continue
            for scoped in range(2):
                scope = scope_B[b] * scoped
                if scoped == 1 and scope == 0:
                    continue
                sum_CS[scope, s] += value
                count_CS[scope, s] += 1
                if count_CS[scope, s] == BLOCK:
                    row_N[n], scope_N[n], signal_N[n] = b, scope, s
                    mean_N[n] = sum_CS[scope, s] / BLOCK
                    sum_CS[scope, s] = 0.0
                    count_CS[scope, s] = 0
                    n += 1
    return row_N[:n], scope_N[:n], signal_N[:n], mean_N[:n]
