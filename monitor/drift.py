"""Drift: ADWIN on what the learner's errors look like, and on what comes in, overall and by segment; gaps in
arrival, and embeddings that collapse.

Nothing is watched before it is known: what needs an event's outcome waits until the stream's clock reaches
`known_ms`. Signals are counted in that order, in blocks, so that alarms depend neither on micro-batches nor
on a restart. An alarm is open from its event until the signal is back, nearer to what it was than to what it
had become, or moves again; what got better, or is neither good nor bad, is told and never open.

Importing this module imports river. Shape suffixes: B events, Q events that wait for their outcome, N rows
shown to the detectors, S signals, K kinds of segments, C scopes, X columns, O outcome signals.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from monitor.alarms import (
    COLD,
    COLD_EVENTS,
    COLUMNS,
    LEAST_CHANGE,
    MEANS,
    ORDER,
    OUTCOMES,
    SEGMENTS,
    WARM,
    Alarm,
)
from monitor.blocks import SignalRows, filled
from monitor.embeddings import Embeddings, Vectors
from monitor.expected import LEAST_P, Calibration, Expected
from monitor.foreseen import Windows
from monitor.gaps import Gaps
from monitor.inputs import BucketShares
from monitor.series import BLOCK, DELTA, SEGMENT_DELTA, Series, alarm_of
from monitor.waiting import WaitingOutcomes, WatchedOutcomes
from state.drift_alarm import Segment
from state.examples import Doubles, ExampleBatch
from state.keys import NO_KEY, Int64s, KeyMap
from state.tree import Tree

MAX_ALARMS = 1000
MAX_SEGMENTS = 64
"""Segments of a kind that are watched: the first so many; the others count overall only."""
_NAMES = tuple(MEANS)
_FIRST_SIGNALS = ",".join(name for name in _NAMES if not name.endswith("auc"))
"""Of trees that do not name theirs."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model said of B events before it learned from them; NaN where it said nothing."""

    p_B: Doubles
    """P(action)."""
    hit_B: Doubles
    """1 where the true item was among the first ten of a ranking, 0 where it was not."""


class DriftMonitor:
    """Watches signals, and tells whoever listens in `on_alarm`; it acts on nothing itself."""

    def __init__(self, on_alarm: Sequence[Callable[[Alarm], None]] = ()) -> None:
        self.on_alarm = list(on_alarm)
        self._alarms: dict[int, Alarm] = {}
        """By number, from 0, in order."""
        self.raised = 0
        """Alarms so far, those that are not kept any more included."""
        self.events = 0
        self._clock_ms = np.iinfo(np.int64).min
        self._segments = {kind: KeyMap() for kind in SEGMENTS}
        shape = (1 + len(SEGMENTS) * MAX_SEGMENTS, len(MEANS))
        self._sum_CS: Doubles = np.zeros(shape)
        self._count_CS: Int64s = np.zeros(shape, np.int64)
        self._series: dict[tuple[int, int], Series] = {}
        self._calibration = Calibration()
        self._shares = BucketShares(len(COLUMNS))
        self._waiting = WaitingOutcomes()
        self._gaps = Gaps()
        self.embeddings = Embeddings()
        self.foreseen = Windows()

    @property
    def clock_ms(self) -> int:
        """The latest event time."""
        return self._clock_ms

    @property
    def alarms(self) -> list[Alarm]:
        """In order; of more than MAX_ALARMS, the newest and those that are open."""
        return list(self._alarms.values())

    def update(self, batch: ExampleBatch, scores: Scores) -> list[Alarm]:
        """Take in B events as they come; the alarms that they raise, in order."""
        if not len(batch):
            return []
        clock_ms_B = np.maximum(np.maximum.accumulate(batch.time_ms_B), self._clock_ms)
        arrived = self._arrived(batch, scores)
        due_B = self._waiting.push(arrived, clock_ms_B)
        known = self._waiting.pop(int(due_B[-1]))

        earlier_B = np.concatenate([np.zeros(1, np.int64), due_B[:-1]])
        expected = self._calibration.step(scores.p_B, known.p_Q, known.label_Q, earlier_B)
        arrival_BS, apart_BX2 = self._arrival(batch, expected, clock_ms_B)
        known_QS = np.full((len(known), len(MEANS)), np.nan)
        known_QS[:, : len(OUTCOMES)] = known.outcome_QO
        known_QS[:, len(OUTCOMES)] = expected.came_auc_Q
        place_N = np.concatenate(
            [np.arange(len(batch)), np.searchsorted(due_B, np.arange(len(known)), "right")]
        )
        order_N = np.argsort(place_N, kind="stable")
        at_N = place_N[order_N]
        rows = SignalRows(
            np.concatenate([arrived.event_Q, known.event_Q])[order_N],
            np.concatenate([arrived.time_ms_Q, known.time_ms_Q])[order_N],
            arrived.event_Q[at_N],
            clock_ms_B[at_N],
            np.concatenate([arrived.scope_QK, known.scope_QK])[order_N],
            np.concatenate([arrival_BS, known_QS])[order_N],
        )
        self.foreseen.take(arrived, known, expected)
        raised = self._feed(rows, apart_BX2[at_N], self._gaps.alarms(self.events, clock_ms_B))
        self.events += len(batch)
        self._clock_ms = int(clock_ms_B[-1])
        self._tell(raised)
        return raised

    def look(self, key_N: Int64s, vectors: Vectors) -> None:
        """Look at the published vectors of all items `key_N`; an alarm where they collapse."""
        if self.embeddings.look(key_N, vectors, self.events, self._clock_ms) is None:
            return
        number = self.embeddings.alarm
        before = None if number is None else self._alarms.get(number)
        if number is not None and (before is None or self.embeddings.back(before)):
            self._close(number, self.events, self._clock_ms)
            self.embeddings.alarm = None
        elif number is None and (alarm := self.embeddings.collapsed()) is not None:
            self.embeddings.alarm = self._add(alarm)
            self._tell([alarm])

    def _tell(self, raised: Sequence[Alarm]) -> None:
        for alarm in raised:
            for listener in self.on_alarm:
                listener(alarm)

    def _arrived(self, batch: ExampleBatch, scores: Scores) -> WatchedOutcomes:
        label_B = batch.label_B.astype(np.float64)
        right_B = np.where(label_B > 0.5, scores.p_B, 1 - scores.p_B)
        loss_B = np.where(np.isnan(label_B), np.nan, -np.log(np.maximum(right_B, LEAST_P)))
        return WatchedOutcomes(
            known_ms_Q=batch.known_ms_B,
            event_Q=self.events + 1 + np.arange(len(batch)),
            time_ms_Q=batch.time_ms_B,
            p_Q=scores.p_B,
            label_Q=label_B,
            scope_QK=self._scopes(batch),
            outcome_QO=np.stack([loss_B, scores.p_B - label_B, scores.hit_B, label_B], 1),
        )

    def _arrival(
        self, batch: ExampleBatch, expected: Expected, clock_ms_B: Int64s
    ) -> tuple[Doubles, Doubles]:
        """Signals (B, S) of events as they arrive; PSI and JS divergence of columns (B, X, 2) by then."""
        surprise_BX, apart_BX2 = self._shares.step(_columns(batch))
        signals_BS = np.full((len(batch), len(MEANS)), np.nan)
        signals_BS[:, len(OUTCOMES) + len(ORDER) :] = np.column_stack(
            [
                expected.log_loss_B,
                batch.user_rates_BR[:, 0] == 0,
                batch.item_rates_BR[:, 0] == 0,
                batch.time_ms_B < clock_ms_B,
                surprise_BX,
            ]
        )
        return signals_BS, apart_BX2

    def _feed(self, rows: SignalRows, apart_NX2: Doubles, gaps: Sequence[Alarm]) -> list[Alarm]:
        """Alarms in order, those of `gaps` among them."""
        raised: list[Alarm] = []
        waiting = deque(gaps)
        blocks = filled(rows, BLOCK, self._sum_CS, self._count_CS)
        when = (column_N[blocks.row] for column_N in (rows.event_N, rows.time_ms_N, rows.at_N, rows.at_ms_N))
        columns = (column.tolist() for column in (*blocks, *when))
        for row, scope, signal, mean, event, time_ms, at, at_ms in zip(*columns, strict=True):
            series = self._one(scope, signal)
            change = series.feed(mean, event, time_ms)
            if series.alarm is not None:
                before = self._alarms.get(series.alarm)
                if before is None:
                    series.alarm = None
                elif change is not None or series.back(before.mean_before, before.mean_after):
                    self._close(series.alarm, at, at_ms)
                    series.alarm = None
            if change is not None:
                while waiting and waiting[0].event <= at:
                    raised.append(waiting.popleft())
                    self._add(raised[-1])
                alarm = alarm_of(change, _NAMES[signal], self._segment(scope), at, at_ms)
                column = signal - (len(MEANS) - len(COLUMNS))
                if column >= 0:
                    psi, js = apart_NX2[row, column].tolist()
                    alarm = msgspec.structs.replace(alarm, psi=psi, jensen_shannon=js)
                number = self._add(alarm)
                series.alarm = number if alarm.worse else None
                raised.append(alarm)
        for alarm in waiting:
            self._add(alarm)
        return [*raised, *waiting]

    def _close(self, number: int, at: int, at_ms: int) -> None:
        """It is over, if it is still kept."""
        if number in self._alarms:
            closed = msgspec.structs.replace(self._alarms[number], closed_event=at, closed_ms=at_ms)
            self._alarms[number] = closed

    def _add(self, alarm: Alarm) -> int:
        """Keep it; its number."""
        self._alarms[self.raised] = alarm
        self.raised += 1
        if len(self._alarms) > MAX_ALARMS:
            del self._alarms[min(self._alarms, key=lambda n: (self._alarms[n].open, n))]
        return self.raised - 1

    def _scopes(self, batch: ExampleBatch) -> Int64s:
        """(B, K): scope of each event's segment of each kind, -1 for none."""
        cold_B = np.where(batch.user_rates_BR[:, 0] < COLD_EVENTS, COLD, WARM).astype(np.int64)
        scope_BK = np.full((len(batch), len(SEGMENTS)), -1, np.int64)
        for k, key_B in enumerate((batch.scene_B, batch.category_B, cold_B)):
            segments = self._segments[SEGMENTS[k]]
            rows = np.flatnonzero(key_B != NO_KEY)
            if len(rows):
                known = segments.rows(key_B[rows], grow=len(segments) < MAX_SEGMENTS)
                there = (known >= 0) & (known < MAX_SEGMENTS)
                scope_BK[rows[there], k] = 1 + k * MAX_SEGMENTS + known[there]
        return scope_BK

    def _segment(self, scope: int) -> tuple[Segment | None, int | None]:
        """Kind and key of a scope."""
        if not scope:
            return None, None
        k, row = divmod(scope - 1, MAX_SEGMENTS)
        return SEGMENTS[k], int(self._segments[SEGMENTS[k]].keys[row])

    def _one(self, scope: int, signal: int) -> Series:
        series = self._series.get((scope, signal))
        if series is None:
            series = self._series[scope, signal] = Series(
                LEAST_CHANGE[_NAMES[signal]], SEGMENT_DELTA if scope or _NAMES[signal] in ORDER else DELTA
            )
        return series

    def tree(self) -> Tree:
        """Sums, what waits, and the blocks of every series, which rebuild its detector."""
        return {
            "events": self.events,
            "clock_ms": self._clock_ms,
            "segments": {
                kind: keys.keys[: min(len(keys), MAX_SEGMENTS)].copy()
                for kind, keys in self._segments.items()
            },
            "signals": ",".join(_NAMES),
            "sum_CS": self._sum_CS.copy(),
            "count_CS": self._count_CS.copy(),
            "series": {
                f"{scope} {signal}": series.tree() for (scope, signal), series in sorted(self._series.items())
            },
            "calibration": self._calibration.tree(),
            "shares": self._shares.tree(),
            "waiting": self._waiting.tree(),
            "gaps": self._gaps.tree(),
            "embeddings": self.embeddings.tree(),
            "foreseen": self.foreseen.tree(),
            "alarms": msgspec.json.encode(self.alarms).decode(),
            "numbers": np.array(list(self._alarms), np.int64),
            "raised": self.raised,
        }

    def load(self, tree: Tree) -> None:
        """Of a tree from before there were segments, the alarms stay and the detectors start anew."""
        self.__init__(self.on_alarm)  # type: ignore[misc]
        self.events = int(tree["events"])
        alarms = msgspec.json.decode(tree["alarms"], type=list[Alarm])
        numbers = tree.get("numbers", np.arange(len(alarms)))
        self._alarms = dict(zip(numbers.tolist(), alarms, strict=True))
        self.raised = int(tree.get("raised", len(alarms)))
        if "segments" not in tree:
            return
        at_S = [_NAMES.index(name) for name in tree.get("signals", _FIRST_SIGNALS).split(",")]
        self._clock_ms = int(tree["clock_ms"])
        self._segments = {kind: KeyMap(np.asarray(tree["segments"][kind], np.int64)) for kind in SEGMENTS}
        self._sum_CS[:, at_S], self._count_CS[:, at_S] = tree["sum_CS"], tree["count_CS"]
        self._calibration.load(tree["calibration"])
        self._shares.load(tree["shares"])
        self._waiting.load(tree["waiting"])
        if "gaps" in tree:
            self._gaps.load(tree["gaps"])
            self.embeddings.load(tree["embeddings"])
        if "foreseen" in tree:
            self.foreseen.load(tree["foreseen"])
        for of, kept in tree.get("series", {}).items():  # none yet: a checkpoint keeps no empty branch
            scope, signal = map(int, of.split())
            self._one(scope, at_S[signal]).load(kept)


def _columns(batch: ExampleBatch) -> Int64s:
    """(B, X): keys of COLUMNS."""
    return np.stack([batch.category_B, batch.scene_B, batch.source_B, batch.action_B, batch.cell_B], 1)
