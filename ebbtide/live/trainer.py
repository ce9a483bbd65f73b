"""The live trainer: examples in, learned one micro-batch after another, published, saved.

It goes on from its newest checkpoint: what it had learned after that stands in the journal and is learned
again, in the same micro-batches and unseen by readers; then it is live. So a trainer that was killed ends in
the state of one that was not, bit for bit. What cannot be learned ends it, too, and another goes on without
(`ebbtide.live.set_aside`).
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ebbtide.config import RunConfig, fingerprint
from ebbtide.live.delays import Delays
from ebbtide.live.intake import Arrival, Intake, in_words
from ebbtide.live.item_topic import ItemTopic
from ebbtide.live.journal import Journal, Line
from ebbtide.live.keeping import Keeping
from ebbtide.live.micro_batches import Feed, runs
from ebbtide.live.recent_quality import Recent
from ebbtide.live.set_aside import (
    OURS,
    Again,
    Letters,
    UnlearnableError,
    UnpublishableError,
    UnsentError,
    look_closer,
    set_aside,
)
from ebbtide.live.settings import Settings
from ebbtide.live.side_tables import Sides, Told
from ebbtide.live.stream_facts import Stream
from ebbtide.publishing.delivery import Delivery
from ebbtide.publishing.mirror import Mirror
from ebbtide.report.alarms import action_sentence, sentence
from ebbtide.running.learning import Learning
from ebbtide.running.plan import selection_of
from learners.judging.measure import Measure
from learners.tables.expiry import Forgotten
from state.drift_alarm import DriftAlarm
from state.errors import InputError
from state.progress import TrainerStatus
from state.side import ALWAYS
from state.store.contract import EmbeddingStore
from state.tree import Tree, digest
from streams.wire import reasons

log = logging.getLogger("ebbtide.train")

_NEVER = 1 << 62
_ALARMS = 20
_WAIT_MS = 20
_SAY_S, _INFO_S, _INFO_SHARE, _PATIENCE_S, _PAUSE_S = 1.0, 30.0, 0.005, 10.0, 2.0


class LiveTrainer:
    """One stream, one trainer. `saved` is the tree of a checkpoint; `again`, how to begin there once more.

    `begin`, `step`, `tick` and `finish` raise UnlearnableError or UnpublishableError; then only `give_way` is
    of use.
    """

    def __init__(
        self,
        settings: Settings,
        config: RunConfig,
        stream: Stream,
        store: EmbeddingStore,
        mirror: Mirror,
        sides: Sides,
        saved: Tree | None = None,
        again: Again | None = None,
    ) -> None:
        self.settings, self.config, self.stream, self.sides = settings, config, stream, sides
        self.delivery = Delivery(store, mirror)
        never = msgspec.structs.replace(config, publish_every=_NEVER)
        expire_ms = config.operator.memory.expire_ms
        self.learning = Learning(stream.subject(sides, expire_ms), never, self.delivery)
        if self.learning.unsaved():
            raise InputError(
                f"--learner: {self.learning.unsaved()[0]!r} cannot be saved, and a trainer must be; "
                "choose another"
            )
        needed = selection_of(self.learning.trainer)
        stream.check(needed)
        self.intake = Intake(settings.topic, stream, sides.names, needed)
        plan, learners = self.learning.plan, self.learning.trainer.learners
        ranker = plan.model if learners[plan.model].ranks else plan.embedder
        self.recent, self.delays = Recent(plan.model, ranker), Delays()
        self.measure = None if settings.out is None else Measure(settings.out / "predictions", learners)
        self.journal = Journal(settings.directory)
        self.keeping = Keeping(settings, self.journal)
        self.letters = Letters(settings.brokers, settings.dead_letters, settings.topic)
        self.item_topic = ItemTopic(settings.brokers, settings.items_topic, settings.dead_letters)
        self._careful = again is not None and again.careful
        self._unsent: str | None = None
        self._resumed = saved is not None
        self._before = (0, 0)
        """The last micro-batch: examples done with before it, messages set aside just before it."""
        self.feed: Feed
        self.started_ms = _now_ms()
        self._due = dict.fromkeys(("publish", "say", "info"), 0.0)
        if self.learning.drift is not None:
            self.learning.drift.on_alarm.append(self._alarm)
        self.learning.on_action.append(lambda action: log.warning("drift: %s", action_sentence(action)))
        if saved is not None:
            self._load(saved)

    def begin(self, feed: Feed) -> None:
        """Read from a feed: first what was learned after the checkpoint, if any. Raises InputError."""
        self.feed = feed
        self.delivery.start()
        if not self._resumed:
            self.journal.prune(_NEVER)
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
        told = self.item_topic.changes(self.sides.offsets, self.sides.columns)
        if told:
            self.journal.write(Line(self.intake.events, [], told=told))
            self._take_in(told)
        arrivals = self.feed.live(_WAIT_MS)
        if arrivals:
            try:
                self.letters.send([one for one in arrivals if one.shipment is None], reasons.NOT_EXAMPLES)
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
            self._due["publish"] = now_s + self.settings.publish_ms / 1000
            self._flush()
            self._take_delays()
        if not self.feed.lines:
            if self.learning.publisher.width and now_s >= self._due["info"]:
                self._tell()
            if self.keeping.due(self.intake.events):
                self.save()
        if now_s < self._due["say"]:
            return False
        self._due["say"] = now_s + _SAY_S
        self.delivery.say(self.status())
        return True

    def save(self) -> None:
        """Begin a checkpoint. If it cannot be written the older ones stay, and it is tried again."""
        self._flush()
        self.intake.topic_id = self.feed.reader.topic_id or ""
        self.keeping.start(self.intake.events, self._still())

    def finish(self) -> None:
        """Publish the last delta, tell readers of the run, wait for the store for a while, and save.

        A trainer that has not come to where it was leaves all as it is.
        """
        self.item_topic.close()
        if self.feed.lines:
            self.delivery.close()
            return
        self._flush()
        if self.learning.publisher.width:
            self._tell()
        arrived = self.delivery.drain(_PATIENCE_S)
        self._take_delays()
        self.keeping.note(wait=True)
        if self.intake.events > self.keeping.events or self.keeping.trouble or not arrived:
            self.save()
            self.keeping.note(wait=True)
        if self.measure is not None:
            self.measure.close()
        self.delivery.say(self.status())
        self.delivery.drain(_PATIENCE_S if arrived else _SAY_S)
        self.delivery.close()

    def give_way(self, error: UnlearnableError | UnpublishableError) -> Again:
        """End, with nothing of this object left; how another goes on. Raises InputError if none can."""
        self.keeping.note(wait=True)
        again = Again(careful=self._careful)
        try:
            if isinstance(error, UnlearnableError):
                again = set_aside(error, *self._before, self.journal, self.letters, again)
            else:
                again = look_closer(error, again)
        except UnsentError as unsent:
            self._say_unsent(unsent)
        self.delivery.close()
        self.journal.close()
        self.item_topic.close()
        return again

    def _say_unsent(self, unsent: UnsentError) -> None:
        self._unsent = f"{unsent}; learning waits until they are"
        log.error("%s", self._unsent)
        self.delivery.say(self.status())
        time.sleep(_PAUSE_S)

    def status(self) -> TrainerStatus:
        trainer = self.learning.trainer
        return TrainerStatus(
            trained=self.intake.events - self.intake.unlearned,
            duplicates=self.intake.duplicates,
            dead_letters=self.intake.dead_letters(),
            item_changes=self.sides.changes,
            version=self.delivery.version,
            offsets={str(partition): offset for partition, offset in sorted(self.intake.offsets.items())},
            freshness_ms=self.delays.recent(time.time()),
            metrics=self.recent.metrics(),
            checkpoint_ms=self.keeping.written_ms,
            items=len(trainer.catalogue),
            forgotten=0 if trainer.expiry is None else trainer.expiry.forgotten,
            readers_at=self.delivery.readers_at,
            store_losses=self.delivery.mirror.losses,
            alarms=self._alarms(),
            actions=self.learning.actions()[-_ALARMS:],
            trouble="; ".join(self._troubles()) or None,
            started_ms=self.started_ms,
            updated_ms=_now_ms(),
            pid=os.getpid(),
            host=socket.gethostname(),
        )

    def digest(self) -> str:
        """BLAKE2b of what was learned and measured, once everything is published."""
        return digest({"trainer": self.learning.trainer.tree(), "recent": self.recent.tree()})

    def _still(self) -> Callable[[], Tree]:
        """The state, gathered when it is called; what other threads or files hold, as it is now."""
        delivery = self.delivery.still()
        measure = {} if self.measure is None else {"measure": self.measure.tree()}
        return lambda: {
            "stream": msgspec.json.encode(self.stream).decode(),
            "settings": fingerprint(self.config),
            "intake": self.intake.tree(),
            "recent": self.recent.tree(),
            "sides": self.sides.tree(),
            "delivery": delivery(),
            **self.learning.tree(),
            **measure,
        }

    def _load(self, tree: Tree) -> None:
        self.intake.load(tree["intake"])
        self.learning.load(tree)
        self.recent.load(tree["recent"])
        self.delivery.load(tree["delivery"])
        if self.measure is not None and "measure" in tree:
            self.measure.load(tree["measure"])
        self.keeping.loaded(self.intake.events)

    def _again(self) -> bool:
        """Learn what the journal's next line says."""
        found = self.feed.followed(_WAIT_MS)
        if found is None:
            return False
        line, arrivals = found
        if line.told is not None:
            self._take_in(line.told)
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

    def _take_in(self, told: Sequence[Told]) -> None:
        """What has become known of items, from the stream's time on."""
        clock_ms = max(self.intake.clock_ms, ALWAYS)
        self.sides.apply(
            told, clock_ms, max(clock_ms, ALWAYS + self.stream.waited_ms) - self.stream.waited_ms
        )

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
            scored = self.learning.step(group.batch)
            self.recent.add(scored)
            if self.measure is not None:
                self.measure.add(scored.batch, scored.outcomes, scored.request)
            if self._careful or scored.forgotten:
                self.learning.publisher.flush()
            self._forget_names(scored.forgotten)
        except OURS:
            raise
        except Exception as error:
            raise UnlearnableError(arrivals, in_words(error)) from error

    def _forget_names(self, forgotten: Sequence[Forgotten]) -> None:
        """Of users and items that have left: their rows were published, and events bring names again."""
        trainer = self.learning.trainer
        for keys in (keys for one in forgotten for keys in (one.user_U, one.item_I)):
            there = trainer.catalogue.items.rows(keys) >= 0
            if trainer.expiry is not None:
                there |= trainer.expiry.users.rows(keys) >= 0
            self.intake.names.forget(keys[~there].tolist())

    def _flush(self) -> None:
        try:
            self.learning.publisher.flush()
        except OURS:
            raise
        except Exception as error:
            raise UnpublishableError(in_words(error)) from error

    def _tell(self) -> None:
        """Say what readers must know of the run; it is made as seldom as it is dear."""
        started_s = time.monotonic()
        self.delivery.tell(self.learning.info(self.intake.clock_ms))
        now_s = time.monotonic()
        self._due["info"] = now_s + max(_INFO_S, (now_s - started_s) / _INFO_SHARE)

    def _take_delays(self) -> None:
        for one in self.delivery.arrived():
            self.delays.add(one.at_ms - one.produced_ms_P, one.count_P, time.time())

    def _troubles(self) -> list[str]:
        delivery = self.delivery
        said = [self._unsent, self.keeping.trouble, self.journal.broken, delivery.mirror.trouble]
        said += [delivery.trouble, delivery.lost, self.feed.reader.trouble, self.item_topic.trouble]
        if self.delivery.full:
            said.append("learning waits until the store has taken what is to be published")
        return [one for one in said if one] + self.intake.left_out() + self.sides.left_out()

    def _alarms(self) -> list[DriftAlarm]:
        """The newest, and of those that are open as many."""
        alarms = [] if self.learning.drift is None else self.learning.drift.alarms
        still = [alarm for alarm in alarms[:-_ALARMS] if alarm.open]
        return [self.learning.told(alarm) for alarm in still[-_ALARMS:] + alarms[-_ALARMS:]]

    def _alarm(self, alarm: Any) -> None:
        log.warning("drift: %s", sentence(self.learning.told(alarm)))


def _now_ms() -> int:
    return round(time.time() * 1000)
