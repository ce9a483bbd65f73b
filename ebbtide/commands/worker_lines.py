"""What a worker says of itself while it runs."""

import logging
import time
from collections.abc import Mapping

from rich.status import Status

from ebbtide.commands.output import print_line
from state.progress import Progress

_TOLD_S, _MOVED_S = 10.0, 1.0
log = logging.getLogger("ebbtide.ingest")


class ProgressLines:
    """Progress for people or scripts: a line on a terminal, else every ten seconds while there is any."""

    def __init__(self, as_json: bool, moving: Status | None) -> None:
        self._as_json, self._moving = as_json, moving
        self._every_s = _MOVED_S if moving else _TOLD_S
        self._told_s, self._before = time.monotonic(), 0
        self._newest: Mapping[int, Progress] = {}

    def __call__(self, progress: Mapping[int, Progress]) -> None:
        self._newest = progress
        if time.monotonic() - self._told_s >= self._every_s:
            self._say(always=False)

    def end(self) -> None:
        """How far it had come, as of the last look."""
        self._say(always=True)

    def _say(self, *, always: bool) -> None:
        progress, now_s = self._newest, time.monotonic()
        events = sum(one.events for one in progress.values())
        dead = sum(sum(one.dead_letters.values()) for one in progress.values())
        rate = max(events - self._before, 0) / max(now_s - self._told_s, 1e-9)
        self._told_s, self._before = now_s, events
        examples = sum(one.examples for one in progress.values())
        if self._as_json:
            line = {"partitions": sorted(progress), "events_in": events, "examples_out": examples}
            print_line({**line, "dead_letters": dead, "events_per_s": round(rate, 1)})
            return
        counts = f"{events:,} events, {examples:,} examples, {dead:,} dead letters ({rate:,.0f} events/s)"
        told = f"{len(progress)} partitions: {counts}"
        if self._moving and not always:
            self._moving.update(told)
        elif rate or always:
            log.info("%s", told)
