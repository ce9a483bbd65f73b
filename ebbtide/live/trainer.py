"""The live trainer: examples in, learned one micro-batch after another, published, saved.

It goes on from its newest checkpoint: what it had learned after that stands in the journal and is learned
again, in the same micro-batches and unseen by readers; then it is live. So a trainer that was killed ends in
the state of one that was not, bit for bit. What cannot be learned ends it, too, and another goes on without
(`ebbtide.live.arriving.set_aside`).
"""

import logging
import time
from collections.abc import Sequence

from ebbtide.live.arriving import cycle_requests
from ebbtide.live.arriving.intake import Arrival, in_words
from ebbtide.live.arriving.journal import Line
from ebbtide.live.arriving.micro_batches import MicroBatches, runs
from ebbtide.live.arriving.set_aside import (
    OURS,
    Again,
    UnlearnableError,
    UnpublishableError,
    UnsentError,
    look_closer,
    set_aside,
)
from ebbtide.live.parts import Parts
from ebbtide.live.telling import Telling
from state.errors import InputError
from state.progress import TrainerStatus
from state.tree import Tree
from streams.wire import reasons

log = logging.getLogger("ebbtide.train")

_ALL_LINES = 1 << 62
_WAIT_MS = 20
_SAY_S, _PATIENCE_S, _PAUSE_S = 1.0, 10.0, 2.0
_FIRST_KEPT_S = 60.0
_REST = 5.0
"""Times what making a delta took: until the next one at least, whatever is asked for."""


class LiveTrainer:
    """One stream, one trainer. `saved` is the tree of a checkpoint; `again`, how to begin there once more.

    `begin`, `step`, `tick` and `finish` raise UnlearnableError or UnpublishableError; then only `give_way` is
    of use.
    """

    def __init__(self, parts: Parts, saved: Tree | None = None, again: Again | None = None) -> None:
        self.settings, self.parts = parts.settings, parts
        self.telling = Telling(parts)
        self.intake, self.delivery, self.journal, self.keeping = (
            parts.intake,
            parts.delivery,
            parts.journal,
            parts.keeping,
        )
        self._careful = again is not None and again.careful
        self._unsent: str | None = None
        self._resumed = saved is not None
        self._before = (0, 0)
        """The last micro-batch: examples done with before it, messages set aside just before it."""
        self.feed: MicroBatches
        self._due = dict.fromkeys(("publish", "say"), 0.0)
        self._due["keep"] = time.monotonic() + min(_FIRST_KEPT_S, self.settings.keep_every_s)
        if saved is not None:
            parts.load(saved)

    def begin(self, feed: MicroBatches) -> None:
        """Read from a feed: first what was learned after the checkpoint, if any. Raises InputError."""
        self.feed = feed
        self.delivery.start()
        if not self._resumed:
            self.journal.prune(_ALL_LINES)
            self.save()
            self.keeping.note(wait=True)
            if self.keeping.trouble is not None:
                raise InputError(f"--checkpoint {self.settings.directory}: {self.keeping.trouble}")
            return
        lines = self.journal.follow(self.intake.events)
        self.delivery.holding = bool(lines)
        feed.lines.extend(lines)
        if lines:
            again = lines[-1].events - self.intake.events
            log.info("checkpoint of %d examples; learning the %d after it again", self.intake.events, again)

    def step(self) -> bool:
        """Learn a micro-batch; False if there was none to learn. Raises InputError."""
        if self.feed.lines:
            return self._again()
        if self.delivery.full:
            time.sleep(_WAIT_MS / 1000)
            return True
        asked = cycle_requests.waiting(self.settings.directory)
        if asked is not None:
            self.journal.write(Line(self.intake.events, [], asked=asked))
            cycle_requests.remove(self.settings.directory)
            self.parts.do(asked)
        told = self.parts.item_topic.changes(self.parts.sides.offsets, self.parts.sides.columns)
        if told:
            self.journal.write(Line(self.intake.events, [], told=told))
            self.parts.take_in(told)
        arrivals = self.feed.live(_WAIT_MS)
        if arrivals:
            try:
                self.parts.letters.send(
                    [one for one in arrivals if one.shipment is None], reasons.NOT_EXAMPLES
                )
            except UnsentError as unsent:
                self.feed.put_back(arrivals)
                self._say_unsent(unsent)
                return True
            self._unsent = None
            self._learn(arrivals, live=True)
            self._careful &= len(arrivals) == 1
        return bool(arrivals)

    def tick(self, *, idle: bool) -> bool:
        """Publish, say and save what is due; whether something was said."""
        if self.delivery.failure is not None:
            raise self.delivery.failure
        now_s = time.monotonic()
        if now_s >= self._due["publish"] or (idle and self.delivery.idle):
            self.telling.flush()
            self.telling.take_delays()
            rest_s = _REST * (time.monotonic() - now_s)
            self._due["publish"] = now_s + max(self.settings.publish_ms / 1000, rest_s)
        if not self.feed.lines:
            self.telling.describe(due=True)
            if self.keeping.due(self.intake.events):
                self.save()
            if now_s >= self._due["keep"]:
                self._due["keep"] = now_s + self.settings.keep_every_s
                self.delivery.keep("by the clock", self.intake.clock_ms)
        if now_s < self._due["say"]:
            return False
        self._due["say"] = now_s + _SAY_S
        self._say()
        return True

    def save(self) -> None:
        """Begin a checkpoint. If it cannot be written the older ones stay, and it is tried again."""
        self.telling.flush()
        self.intake.topic_id = self.feed.reader.topic_id or ""
        self.keeping.start(self.intake.events, self.parts.still())

    def finish(self) -> None:
        """Publish the last delta, tell readers of the run, wait for the store for a while, and save.

        A trainer that has not come to where it was leaves all as it is.
        """
        self.parts.item_topic.close()
        self.parts.learning.close()
        if self.feed.lines:
            self.delivery.close()
            return
        self.telling.flush()
        self.telling.describe()
        arrived = self.delivery.drain(_PATIENCE_S)
        self.telling.take_delays()
        self.keeping.note(wait=True)
        if self.intake.events > self.keeping.events or self.keeping.trouble or not arrived:
            self.save()
            self.keeping.note(wait=True)
        if self.parts.measure is not None:
            self.parts.measure.close()
        self._say()
        self.delivery.drain(_PATIENCE_S if arrived else _SAY_S)
        self.delivery.close()

    def give_way(self, error: UnlearnableError | UnpublishableError) -> Again:
        """End, with nothing of this object left; how another goes on. Raises InputError if none can."""
        self.keeping.note(wait=True)
        again = Again(careful=self._careful)
        try:
            if isinstance(error, UnlearnableError):
                again = set_aside(error, *self._before, self.journal, self.parts.letters, again)
            else:
                again = look_closer(error, again)
        except UnsentError as unsent:
            self._say_unsent(unsent)
        self.delivery.close()
        self.journal.close()
        self.parts.item_topic.close()
        self.parts.learning.close(patience_s=0.0)
        return again

    def _say_unsent(self, unsent: UnsentError) -> None:
        self._unsent = f"{unsent}; learning waits until they are"
        log.error("%s", self._unsent)
        self._say()
        time.sleep(_PAUSE_S)

    def status(self) -> TrainerStatus:
        return self.telling.status(self.feed.reader.lag, [self._unsent, self.feed.reader.trouble])

    def digest(self) -> str:
        """BLAKE2b of what was learned and measured, once everything is published."""
        return self.parts.digest()

    def _say(self) -> None:
        self.telling.say(self.feed.reader.lag, [self._unsent, self.feed.reader.trouble])

    def _again(self) -> bool:
        """Learn what the journal's next line says."""
        step = self.feed.followed(_WAIT_MS)
        if step is None:
            return False
        line, arrivals = step
        if line.asked is not None:
            self.parts.do(line.asked)
        elif line.told is not None:
            self.parts.take_in(line.told)
        elif line.why is None:
            self._learn(arrivals, live=False)
        else:
            self.intake.pass_over(arrivals)
        if self.intake.events != line.events:
            raise InputError(
                f"{self.settings.topic}: expected {line.events} examples up to {line.runs}, "
                f"got {self.intake.events}: the messages are not those that were learned; "
                "begin again with another --checkpoint"
            )
        if not self.feed.lines or self.delivery.full:
            self.delivery.release()
        return True

    def _learn(self, arrivals: Sequence[Arrival], *, live: bool) -> None:
        self.intake.check(arrivals)
        self._before = (self.intake.events, self.intake.in_a_row)
        try:
            group = self.intake.take(arrivals)
            if group is None:
                return
            if live:
                self.journal.write(Line(self.intake.events, runs(arrivals)))
            self.delivery.learned(group.produced_ms_B)
            scored = self.parts.learning.step(group.batch)
            self.parts.recent.add(scored)
            self.parts.floors.add(scored)
            if self.parts.measure is not None:
                self.parts.measure.add(scored.batch, scored.outcomes, scored.request)
            if self._careful or scored.forgotten:
                self.parts.learning.publisher.flush()
            self.parts.forget_names(scored.forgotten)
        except OURS:
            raise
        except Exception as error:
            raise UnlearnableError(arrivals, in_words(error)) from error
