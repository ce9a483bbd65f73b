"""What a trainer says of itself, second by second, and what has drifted.

Alarms and actions of a run in a folder, whose trainer has ended, come from its report.
"""

import time
from pathlib import Path

import msgspec

from serving.web.problems import Problem
from state.drift_alarm import DriftAction, DriftAlarm, EmbeddingHealth
from state.errors import InputError
from state.progress import TrainerStatus, trainer_status
from state.store.contract import EmbeddingStore, Kind

_LOOK_S = 1.0
_KEPT = 600
"""Seconds of history."""
_RATE_MS = 10_000
"""Over which events a second are counted."""


class Drift(msgspec.Struct, frozen=True):
    """Alarms and what was done about them, as `ebbtide monitor --once --json` gives them."""

    drift: list[DriftAlarm]
    actions: list[DriftAction] = []


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A trainer at a moment; what it says of itself is explained at `state.progress.TrainerStatus`."""

    trained: int
    events_per_s: float
    """Learned, over the last ten seconds."""
    lag: int
    freshness_ms: dict[str, float]
    metrics: dict[str, float]
    floor: dict[str, float]
    version: int
    items: int
    forgotten: int
    duplicates: int
    dead_letters: dict[str, int]
    item_changes: int
    store_losses: int
    checkpoint_age_s: float | None
    event_time_ms: int | None
    """The latest event's."""
    embeddings: EmbeddingHealth | None
    """The newest look at the vectors published."""
    trouble: str | None
    silent_s: float
    """Since it said something; it does so every second, as long as it runs."""
    drift_open: int
    alarms: list[DriftAlarm]
    """The newest, and those that are open, without the signal around the change (`means`)."""
    actions: list[DriftAction]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A second of history."""

    at_ms: int
    trained: int
    events_per_s: float
    lag: int
    freshness_p99_ms: float | None
    metrics: dict[str, float]
    floor: dict[str, float]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the server and what feeds it are doing now."""

    now_ms: int
    ready: bool
    why: str | None
    """Why it is not ready."""
    version: int
    """Of the catalogue that is held."""
    log: str | None
    learner: str | None
    users: int
    items: int
    """In the store."""
    live: Live | None
    """None where no trainer publishes: in a folder of `replay`."""


class Watched:
    """What `store` has of its trainer; `report` is that of a run in a folder. `note` is for one thread."""

    def __init__(self, store: EmbeddingStore, report: Path | None) -> None:
        self._store, self._report = store, report
        self._statuses: tuple[TrainerStatus, ...] = ()
        """Of the last ten seconds."""
        self._looked_s = -_LOOK_S
        self.counts: dict[Kind, int] = {"users": 0, "items": 0}
        self.history: tuple[Point, ...] = ()

    def note(self) -> None:
        """Look again if it is time. Raises InputError as the store does."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        self.counts = self._store.counts()
        encoded = self._store.status()
        try:
            status = None if encoded is None else trainer_status(encoded)
        except msgspec.DecodeError as error:
            raise InputError(
                f"{self._store}: what its trainer says cannot be read ({error}); is it of this release?"
            ) from error
        if status is None:
            self._statuses = ()
        elif not self._statuses or status.updated_ms != self._statuses[-1].updated_ms:
            since_ms = status.updated_ms - _RATE_MS
            kept = [one for one in self._statuses if one.pid == status.pid and one.updated_ms >= since_ms]
            self._statuses = (*kept, status)
            self.history = (*self.history[1 - _KEPT :], _point(status, self._rate()))

    def drift(self) -> Drift:
        """Of the trainer, else of the report. Raises Problem where nobody has watched."""
        status = self._status()
        if status is not None:
            return Drift(status.alarms, status.actions)
        if self._report is not None and self._report.exists():
            try:
                return msgspec.json.decode(self._report.read_bytes(), type=Drift)
            except msgspec.DecodeError as error:
                raise InputError(f"{self._report}: expected a run's report, got {error}") from error
        raise Problem(404, "nobody has watched for drift: no trainer publishes here, and there is no report")

    def live(self, now_ms: int) -> Live | None:
        """The trainer now."""
        status = self._status()
        if status is None:
            return None
        saved_ms = status.checkpoint_ms
        return Live(
            **{name: getattr(status, name) for name in _SAME},
            events_per_s=self._rate() if now_ms - status.updated_ms < _RATE_MS else 0.0,
            checkpoint_age_s=None if saved_ms is None else _seconds(now_ms - saved_ms),
            event_time_ms=status.clock_ms,
            silent_s=_seconds(now_ms - status.updated_ms),
            drift_open=sum(alarm.open for alarm in status.alarms),
            alarms=[msgspec.structs.replace(alarm, means=()) for alarm in status.alarms],
        )

    def _status(self) -> TrainerStatus | None:
        recent = self._statuses
        return recent[-1] if recent else None

    def _rate(self) -> float:
        recent = self._statuses
        first, last = recent[0], recent[-1]
        passed_ms = last.updated_ms - first.updated_ms
        return round(max(last.trained - first.trained, 0) / passed_ms * 1000, 1) if passed_ms > 0 else 0.0


_SAME = {*Live.__struct_fields__} & {*TrainerStatus.__struct_fields__} - {"alarms"}


def _point(status: TrainerStatus, rate: float) -> Point:
    return Point(
        at_ms=status.updated_ms,
        trained=status.trained,
        events_per_s=rate,
        lag=status.lag,
        freshness_p99_ms=status.freshness_ms.get("p99"),
        metrics=status.metrics,
        floor=status.floor,
    )


def _seconds(milliseconds: int) -> float:
    return max(0.0, round(milliseconds / 1000, 3))
