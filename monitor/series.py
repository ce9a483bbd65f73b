"""One signal in one segment: block means, ADWIN over them, and the alarm that is open on it.

ADWIN (Bifet and Gavalda 2007, river's) is shown block means in units of a third of the spread of the first
WARM_UP of them, so that one setting fits any signal. Segments are many, so each must be surer. Page-Hinkley,
at any setting that is as quick on planted errors, raises one or two false alarms a million events and signal.
"""

from dataclasses import dataclass

import numpy as np

from monitor.alarms import Alarm
from monitor.detectors import ADWIN, DriftDetector
from state.drift_alarm import Segment
from state.examples import Doubles
from state.keys import Int64s
from state.tree import Tree

BLOCK = 32
"""Values in a block."""
WARM_UP = 32
"""Blocks whose mean and spread are the measure; as many, after an alarm, say whether the signal is back."""
MEMORY = 4096
"""Blocks that are looked back at most; the detector then starts again from the newer half of them."""
SHOWN = 60
"""Means that an alarm keeps for a plot."""
_LEVELS, _OLDER = 8, 0.5
"""Levels that are kept, and what each counts less than the one after it."""
DELTA, SEGMENT_DELTA = 0.001, 0.0002
"""ADWIN's chance of a false alarm, as it bounds it: over all events, and in a segment or of pairs."""
_UNIT = 1.0 / 3.0
"""Of the spread."""
_LEAST_SPREAD = 0.01


@dataclass(frozen=True, slots=True)
class Change:
    """Evidence of a change: all blocks (N,) since the last one, the first `at` of them before it."""

    usual: float
    """The level that held for most of the time before, older times faded."""
    mean_N: Doubles
    event_N: Int64s
    time_ms_N: Int64s
    at: int


class Series:
    """The block means since the last change, and ADWIN over them; `kept` rebuilds it."""

    def __init__(self, least_change: float, delta: float) -> None:
        self._least_change, self._delta = least_change, delta
        self.levels: list[tuple[float, float]] = []
        """Between changes, the newest last: mean, and blocks."""
        self.alarm: int | None = None
        """Number of the alarm, in the monitor's list, that is open."""
        self._begin([], [], [])

    def feed(self, mean: float, event: int, time_ms: int) -> Change | None:
        """Show it a block mean, of which `event` (its number) and `time_ms` are the last event's."""
        self.mean.append(mean)
        self.event.append(event)
        self.time_ms.append(time_ms)
        if len(self.mean) <= WARM_UP:
            if len(self.mean) == WARM_UP:
                self._restart()
            return None
        if len(self.mean) > MEMORY:
            for column in (self.mean, self.event, self.time_ms):
                del column[: -MEMORY // 2]
            self._restart()
            return None
        self._detector.update((mean - self._middle) / self._spread)
        if not self._detector.drift_detected:
            return None
        mean_N, at = np.array(self.mean), _change(self.mean)
        if abs(mean_N[at:].mean() - mean_N[:at].mean()) < self._least_change:
            return None
        self.levels = [*self.levels[1 - _LEVELS :], (float(mean_N[:at].mean()), float(at))]
        change = Change(_usual(self.levels), mean_N, np.array(self.event), np.array(self.time_ms), at)
        self._begin([], [], [])
        return change

    def back(self, before: float, after: float) -> bool:
        """Whether the newest WARM_UP blocks are nearer to what was before the change than to what came."""
        if len(self.mean) < WARM_UP:
            return False
        newest = float(np.mean(self.mean[-WARM_UP:]))
        return abs(newest - before) < abs(newest - after)

    def tree(self) -> Tree:
        return {
            "mean": np.array(self.mean, np.float64),
            "event": np.array(self.event, np.int64),
            "time_ms": np.array(self.time_ms, np.int64),
            "levels": np.array(self.levels, np.float64).reshape(-1, 2),
            "alarm": -1 if self.alarm is None else self.alarm,
        }

    def load(self, tree: Tree) -> None:
        self.levels = [(mean, blocks) for mean, blocks in tree["levels"].tolist()]
        self.alarm = None if tree["alarm"] < 0 else int(tree["alarm"])
        self._begin(tree["mean"].tolist(), tree["event"].tolist(), tree["time_ms"].tolist())

    def _begin(self, mean: list[float], event: list[int], time_ms: list[int]) -> None:
        """A new detector that has seen these blocks."""
        self.mean, self.event, self.time_ms = mean, event, time_ms
        self._restart()

    def _restart(self) -> None:
        self._detector = _detector(self._delta)
        if len(self.mean) >= WARM_UP:
            first = np.array(self.mean[:WARM_UP])
            self._middle = float(first.mean())
            self._spread = max(float(first.std(ddof=1)), _LEAST_SPREAD) * _UNIT
            for mean in self.mean:
                self._detector.update((mean - self._middle) / self._spread)


def _detector(delta: float) -> DriftDetector:
    return ADWIN(delta=delta, clock=4)  # type: ignore[no-untyped-call]


def _usual(levels: list[tuple[float, float]]) -> float:
    """The median of the levels by blocks, older ones counting less."""
    mean_L, blocks_L = np.array(levels).T
    weight_L = blocks_L * _OLDER ** np.arange(len(levels))[::-1]
    order = np.argsort(mean_L)
    return float(mean_L[order][np.searchsorted(np.cumsum(weight_L[order]), weight_L.sum() / 2)])


def _change(means: list[float]) -> int:
    """How many of the means come before the likeliest single change of level."""
    mean_N = np.array(means)
    before = np.arange(1, len(mean_N))
    drift = np.cumsum(mean_N - mean_N.mean())[:-1]
    return 1 + int(np.argmax(np.abs(drift) / np.sqrt(before * (len(mean_N) - before))))


def alarm_of(
    change: Change, signal: str, segment: tuple[Segment | None, int | None], at: int, at_ms: int
) -> Alarm:
    """What is told of a change of a signal of a segment, found at event `at`."""
    before, after = change.mean_N[: change.at], change.mean_N[change.at :]
    step = -(-len(change.mean_N) // SHOWN)
    first = change.at % step
    means_N = change.mean_N[first:]
    shown = [float(means_N[n : n + step].mean()) for n in range(0, len(means_N), step)]
    kind, key = segment
    return Alarm(
        detector="adwin",
        signal=signal,
        segment=kind,
        key=key,
        event=at,
        time_ms=at_ms,
        since_event=int(change.event_N[change.at - 1]),
        since_ms=int(change.time_ms_N[change.at - 1]),
        mean_before=float(before.mean()),
        mean_after=float(after.mean()),
        usual=change.usual,
        values_before=len(before) * BLOCK,
        values_after=len(after) * BLOCK,
        means=tuple(round(mean, 6) for mean in shown),
        change=(change.at - first) // step,
    )
