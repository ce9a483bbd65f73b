"""What a live trainer tells others: deltas and the run to readers, its state and alarms to whoever looks."""

import logging
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from ebbtide.live.arriving.intake import in_words
from ebbtide.live.arriving.set_aside import OURS, UnpublishableError
from ebbtide.live.parts import Parts
from ebbtide.report import cycle_file
from ebbtide.report.words import action_sentence, sentence
from state.drift_alarm import DriftAlarm
from state.progress import TrainerStatus

log = logging.getLogger("ebbtide.train")

_ALARMS = 20
_INFO_S, _INFO_SHARE = 30.0, 0.005


class Telling:
    """Of one trainer's parts."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.started_ms = _now_ms()
        self._info_due_s = 0.0
        self._cycles: tuple[object, ...] = ()
        self._served = 0
        if parts.learning.drift is not None:
            parts.learning.drift.on_alarm.append(self._alarm)
        parts.learning.on_action.append(lambda action: log.warning("drift: %s", action_sentence(action)))

    def flush(self) -> None:
        """Give what has changed to the delivery, and say first what evolves. Raises UnpublishableError."""
        self._say_cycles()
        try:
            self.parts.learning.publisher.flush()
        except OURS:
            raise
        except Exception as error:
            raise UnpublishableError(in_words(error)) from error

    def describe(self, *, due: bool = False) -> None:
        """Say what readers must know of the run; where it is to be `due`, as seldom as it is dear."""
        started_s = time.monotonic()
        if not self.parts.learning.publisher.width or (due and started_s < self._info_due_s):
            return
        self.parts.delivery.tell(self.parts.learning.info(self.parts.intake.clock_ms))
        now_s = time.monotonic()
        self._info_due_s = now_s + max(_INFO_S, (now_s - started_s) / _INFO_SHARE)

    def take_delays(self) -> None:
        """Of what has arrived at the store."""
        for arrived in self.parts.delivery.arrived():
            self.parts.delays.add(arrived.at_ms - arrived.produced_ms_P, arrived.count_P, time.time())

    def say(self, lag: int, others: Sequence[str | None]) -> None:
        """Publish the state; `others` are troubles that the parts do not know of."""
        self.parts.delivery.say(self.status(lag, others))

    def _say_cycles(self) -> None:
        """Beside the checkpoints: a cycle has begun, ended or was asked for, or another version serves.

        Readers are told, too: what they are served of a version that was withdrawn ends with that write. What
        they were served when a version was promoted is kept, to be served again (`ebbtide versions`).
        """
        learner, delivery = self.parts.learning.embedder, self.parts.delivery
        mark = (*learner.cycle_mark(), self.parts.asked)
        if not learner.cycles or mark == self._cycles:
            return
        before, self._cycles = self._cycles, mark
        evolved = self.parts.learning.coevolution()
        assert evolved is not None
        if before and not delivery.holding:
            if evolved.serving > self._served > 0:
                note = f"before version {evolved.serving} of what is explored"
                delivery.keep(note, self.parts.intake.clock_ms)
            self.describe()
        self._served = evolved.serving
        try:
            cycle_file.write(self.parts.settings.directory, evolved)
        except OSError as error:
            log.warning("%s cannot be written: %s", cycle_file.CYCLES, error.strerror)

    def status(self, lag: int, others: Sequence[str | None]) -> TrainerStatus:
        parts, trainer = self.parts, self.parts.learning.trainer
        return TrainerStatus(
            trained=parts.intake.events - parts.intake.unlearned,
            duplicates=parts.intake.duplicates,
            dead_letters=parts.intake.dead_letters(),
            item_changes=parts.sides.changes,
            version=parts.delivery.version,
            offsets={str(partition): offset for partition, offset in sorted(parts.intake.offsets.items())},
            freshness_ms=parts.delays.recent(time.time()),
            lag=lag,
            clock_ms=parts.intake.clock_ms if parts.intake.events else None,
            metrics=parts.recent.metrics(),
            floor=parts.floors.best(),
            checkpoint_ms=parts.keeping.written_ms,
            items=len(trainer.catalogue),
            forgotten=0 if trainer.expiry is None else trainer.expiry.forgotten,
            readers_at=parts.delivery.readers_at,
            store_losses=parts.delivery.mirror.losses,
            alarms=self._alarms(),
            actions=parts.learning.actions()[-_ALARMS:],
            cycle_answers=parts.learning.cycle_answers,
            embeddings=next(reversed(parts.learning.embeddings()), None),
            trouble="; ".join(self._troubles(others)) or None,
            started_ms=self.started_ms,
            updated_ms=_now_ms(),
            pid=os.getpid(),
            host=socket.gethostname(),
        )

    def _troubles(self, others: Sequence[str | None]) -> list[str]:
        parts, delivery = self.parts, self.parts.delivery
        troubles = [*others, parts.keeping.trouble, parts.journal.broken, delivery.mirror.trouble]
        troubles += [delivery.trouble, delivery.lost, parts.item_topic.trouble]
        if parts.learning.webhooks is not None:
            troubles.append(parts.learning.webhooks.trouble)
        if delivery.full:
            troubles.append("learning waits until the store has taken what is to be published")
        return [trouble for trouble in troubles if trouble] + parts.intake.left_out() + parts.sides.left_out()

    def _alarms(self) -> list[DriftAlarm]:
        """The newest, and of those that are open as many."""
        learning = self.parts.learning
        alarms = [] if learning.drift is None else learning.drift.alarms
        still = [alarm for alarm in alarms[:-_ALARMS] if alarm.open]
        return [learning.told(alarm) for alarm in still[-_ALARMS:] + alarms[-_ALARMS:]]

    def _alarm(self, alarm: Any) -> None:
        log.warning("drift: %s", sentence(self.parts.learning.told(alarm)))


def _now_ms() -> int:
    return round(time.time() * 1000)
