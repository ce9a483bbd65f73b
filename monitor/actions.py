"""What to do about drift, as data: rules of a policy, and what they ask for when. It does nothing itself.

Whoever runs the learners splits micro-batches at every EVERY events and does between two of them what `after`
gives, so that an action falls between the same two events whatever the micro-batches. A rule waits for its
cooldown, and acts no more than `most` times in a row on a signal that does not come back: what did not help
so often will not, and would shake the model for ever.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import msgspec

from monitor.alarms import SIGNALS, Alarm
from state.drift_alarm import Do, DriftAction, Worth
from state.tree import Tree

EVERY = 1024


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a policy: which alarm asks for what."""

    on: str
    """The signal, over all events. Of one with a good side only a change for the worse counts."""
    do: Do = "doubt"
    """doubt: learners give back `share` of the certainty they have gained, and learn faster for a while.
    calibrate: what P(action) means is learned anew, by its log odds and the labels from then on.
    cycle: a cycle of co-evolution begins. rollback: readers are served the version kept before the change.
    webhook: it is told to who listens."""
    least: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How far the mean must have moved."""
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    cooldown: Annotated[int, msgspec.Meta(ge=EVERY)] = 10_240
    """Events before it acts again."""
    most: Annotated[int, msgspec.Meta(ge=1)] = 3
    """Times in a row, until an alarm of the signal is closed."""

    def __post_init__(self) -> None:
        if self.on not in SIGNALS:
            raise ValueError(f"on: expected one of {', '.join(SIGNALS)}, got {self.on!r}")


DEFAULT = (Rule(on="log_loss"), Rule(on="recall@10"))
"""Where nothing else is said, and there is somebody to follow them."""


class ActionPolicy:
    """Rules, when each of them acted last, and what was done so far."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.events = 0
        self.done: list[DriftAction] = []
        self._asked: list[Alarm] = []
        self._last = [-(1 << 62)] * len(self.rules)
        self._in_a_row = [0] * len(self.rules)

    def parts(self, size: int) -> Iterator[slice]:
        """The next `size` events in pieces that end where there may be something to do."""
        start = 0
        while start < size:
            stop = min(size, start + EVERY - self.events % EVERY)
            yield slice(start, stop)
            start = stop

    def after(
        self, size: int, raised: Sequence[Alarm], alarms: Sequence[Alarm], clock_ms: int
    ) -> list[DriftAction]:
        """What is to be done after `size` more events, which raised these of all `alarms`."""
        before = self.events
        self.events += size
        for n, rule in enumerate(self.rules):
            if any(
                alarm.signal == rule.on
                and alarm.segment is None
                and before < (alarm.closed_event or 0) <= self.events
                for alarm in alarms
            ):
                self._in_a_row[n] = 0
        self._asked += [alarm for alarm in raised if alarm.segment is None and alarm.worse is not False]
        if self.events % EVERY:
            return []
        asked, self._asked = self._asked, []
        actions = [action for n in range(len(self.rules)) for action in self._act(n, asked, clock_ms)]
        self.done += actions
        return actions

    def _act(self, n: int, asked: Sequence[Alarm], clock_ms: int) -> Iterator[DriftAction]:
        rule = self.rules[n]
        cause = next((a for a in asked if a.signal == rule.on and abs(a.size) >= rule.least), None)
        rests = self.events < self._last[n] + rule.cooldown or self._in_a_row[n] >= rule.most
        if cause is None or rests:
            return
        self._last[n] = self.events
        self._in_a_row[n] += 1
        yield DriftAction(
            do=rule.do,
            rule=n,
            share=rule.share if rule.do == "doubt" else None,
            event=self.events,
            time_ms=clock_ms,
            on=rule.on,
            alarm_event=cause.event,
            since_ms=cause.since_ms,
            before=cause.mean_before,
            after=cause.mean_after,
        )

    def judged(self, worth: Callable[[DriftAction], Worth | None]) -> list[DriftAction]:
        """What was done, with what `worth` can say of it."""
        return [
            action
            if (judgement := worth(action)) is None
            else msgspec.structs.replace(action, worth=judgement)
            for action in self.done
        ]

    def tree(self) -> Tree:
        return {"state": msgspec.json.encode(self._kept()).decode()}

    def load(self, tree: Tree) -> None:
        kept = msgspec.json.decode(tree["state"], type=_Kept)
        self.events, self.done, self._asked = kept.events, kept.done, kept.asked
        self._last, self._in_a_row = kept.last, kept.in_a_row

    def _kept(self) -> "_Kept":
        return _Kept(self.events, self.done, self._asked, self._last, self._in_a_row)


class _Kept(msgspec.Struct):
    events: int
    done: list[DriftAction]
    asked: list[Alarm]
    last: list[int]
    in_a_row: list[int]
