"""A log whose times are moved to now: its first events are the past, every other one is of when it is sent.

The past is moved by whole weeks, so that hours and weekdays stay, and ends in the last week. How far the
log was sent is kept in a file: who goes on from there sends each event once or, after a kill, the last few
again, under the same event ids, so that they count once.

Shape suffix: B events.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from replay.log import Log
from state.arrays import Doubles
from state.errors import InputError
from state.keys import NO_KEY, key_of
from streams.schema import EventBatch

PAST, PAST_SHARE = 20_000, 0.75
"""Of a log that nobody has said otherwise of: so many events are past, but no more than that share."""
_WEEK_MS = 7 * 86_400_000
_IDS, _SPAN = 2**62, 2**60
"""Keys of texts begin there; a log's event ids are a stretch of them."""
_READ = 4096
_TICK_S = 0.05
"""Least pause; what falls due in it goes out together."""


class _Place(msgspec.Struct):
    log: str
    rows: int
    history: int
    shift_ms: int
    done: int = 0


class MovedLog:
    """`log`, of which `history` events (or PAST) are past, and then `rate` come a second.

    With a `file` it is gone on with where it was. Raises InputError where the file is of another log.
    """

    def __init__(self, log: Log, rate: float, history: int | None, file: Path | None) -> None:
        self.log, self._rate, self._file = log, rate, file
        place = None if file is None or not file.exists() else _read(file)
        if place is None:
            usual = min(PAST, int(PAST_SHARE * log.rows))
            history = usual if history is None else min(history, log.rows)
            place = _Place(log.name, log.rows, history, _shift_ms(log, history))
        elif (place.log, place.rows) != (log.name, log.rows):
            raise InputError(
                f"--sent {file}: is of {place.log!r} with {place.rows:,} events, got {log.name!r} with "
                f"{log.rows:,}; name another file"
            )
        self._place, self._live_from = place, max(place.history, place.done)
        self._first_id = _IDS + key_of(f"{log.name} moved") % _SPAN

    @property
    def done(self) -> int:
        """Events that have arrived."""
        return self._place.done

    def due(self, stop: Callable[[], bool]) -> Iterator[EventBatch]:
        """What has not arrived yet, each lot as it falls due, until `stop`."""
        began_s = time.time()
        for events in self.log.batches(_READ, skip=self._place.done):
            due_s_B = began_s + np.maximum(events.offset_B - self._live_from, 0) / self._rate
            at = 0
            while at < len(events):
                if stop():
                    return
                end = int(np.searchsorted(due_s_B, time.time(), side="right"))
                if end > at:
                    yield self._timed(events.take(slice(at, end)), due_s_B[at:end])
                    at = end
                else:
                    time.sleep(min(_TICK_S, max(0.0, due_s_B[at] - time.time())))

    def note(self, done: int) -> None:
        """So many events have arrived, and all before them."""
        self._place.done = done
        if self._file is not None:
            new = self._file.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(self._place))
            os.replace(new, self._file)

    def _timed(self, events: EventBatch, due_s_B: Doubles) -> EventBatch:
        """Times of now, and event ids if the log has none."""
        past_B = events.offset_B < self._place.history
        nameless = bool((events.event_id_B == NO_KEY).all())
        return replace(
            events,
            time_ms_B=np.where(
                past_B, events.time_ms_B + self._place.shift_ms, (due_s_B * 1000).astype(np.int64)
            ),
            event_id_B=self._first_id + events.offset_B if nameless else events.event_id_B,
        )


def _shift_ms(log: Log, history: int) -> int:
    """Whole weeks that the first `history` events are to be moved by, to end in the last week."""
    last_ms, left = log.survey.last_ms, history
    for events in log.batches(_READ) if history < log.rows else ():
        if left <= len(events):
            last_ms = int(events.time_ms_B[left - 1]) if left else log.survey.first_ms
            break
        left -= len(events)
    return int((time.time() * 1000 - last_ms) // _WEEK_MS) * _WEEK_MS


def _read(file: Path) -> _Place:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Place)
    except msgspec.MsgspecError as error:
        raise InputError(f"--sent {file}: expected what was sent, got {error}; remove the file") from error
