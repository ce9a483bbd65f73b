"""What a live trainer is made of, and what of it a checkpoint holds."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from ebbtide.config import RunConfig, fingerprint
from ebbtide.live.arriving import cycle_requests
from ebbtide.live.arriving.cycle_requests import Request
from ebbtide.live.arriving.intake import Intake
from ebbtide.live.arriving.item_topic import ItemTopic
from ebbtide.live.arriving.journal import Journal
from ebbtide.live.arriving.set_aside import Letters
from ebbtide.live.arriving.side_tables import ItemMessage, SideTables
from ebbtide.live.arriving.stream_facts import Stream
from ebbtide.live.delays import Delays
from ebbtide.live.keeping import Keeping
from ebbtide.live.recent_quality import Floors, Recent
from ebbtide.live.settings import TrainerSettings
from ebbtide.publishing.delivery import Delivery
from ebbtide.publishing.mirror import Mirror
from ebbtide.running.learning import Learning
from ebbtide.running.plan import selection_of
from learners.contract import Learner
from learners.judging.measure import Measure
from learners.tables.expiry import Forgotten
from state.errors import InputError
from state.progress import CycleAnswer
from state.side import ALWAYS
from state.store.contract import EmbeddingStore
from state.tree import Tree, digest

log = logging.getLogger("ebbtide.train")

_ANSWERS = 16
"""To what was asked of cycles, kept."""
_BY_DELTA = 1 << 62
"""`publish_every` of a learning whose deltas are called for by the clock instead."""


class Parts:
    """Of one stream; fresh, until `load`. Raises InputError where a learner cannot be saved."""

    def __init__(
        self,
        settings: TrainerSettings,
        config: RunConfig,
        stream: Stream,
        store: EmbeddingStore,
        mirror: Mirror,
        sides: SideTables,
    ) -> None:
        self.settings, self.config, self.stream, self.sides = settings, config, stream, sides
        self.delivery = Delivery(store, mirror, on_request=partial(cycle_requests.leave, settings.directory))
        by_delta = msgspec.structs.replace(config, publish_every=_BY_DELTA)
        expire_ms = config.operator.memory.expire_ms
        self.learning = Learning(
            stream.subject(sides, expire_ms), by_delta, self.delivery, self.delivery.roll_back
        )
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
        self.floors = Floors(learners)
        self.measure = None if settings.out is None else Measure(settings.out / "predictions", learners)
        self.journal = Journal(settings.directory)
        self.keeping = Keeping(settings, self.journal)
        self.letters = Letters(settings.brokers, settings.dead_letters, settings.topic)
        self.asked = ""
        """What was asked for last, and done."""
        self.item_topic = ItemTopic(settings.brokers, settings.items_topic, settings.dead_letters)

    def do(self, asked: Request) -> None:
        """What was asked of the learner's cycles, once, and note what became of it."""
        if asked.identifier == self.asked:
            return
        self.asked, learner = asked.identifier, self.learning.embedder
        try:
            said, refused = _done(learner, asked), False
        except InputError as error:
            said, refused = str(error), True
        log.log(logging.WARNING if refused else logging.INFO, "cycle %s was asked for: %s", asked.what, said)
        answer = CycleAnswer(
            request=asked.identifier,
            what=asked.what,
            time_ms=self.intake.clock_ms if self.intake.events else None,
            said=said,
            refused=refused,
        )
        self.learning.cycle_answers = [*self.learning.cycle_answers, answer][-_ANSWERS:]

    def take_in(self, told: Sequence[ItemMessage]) -> None:
        """What has become known of items, from the stream's time on."""
        clock_ms = max(self.intake.clock_ms, ALWAYS)
        self.sides.apply(
            told, clock_ms, max(clock_ms, ALWAYS + self.stream.waited_ms) - self.stream.waited_ms
        )

    def forget_names(self, forgotten: Sequence[Forgotten]) -> None:
        """Of users and items that have left: their rows were published, and events bring names again."""
        trainer = self.learning.trainer
        for keys in (keys for ids in forgotten for keys in (ids.user_U, ids.item_I)):
            there = trainer.catalogue.items.rows(keys) >= 0
            if trainer.expiry is not None:
                there |= trainer.expiry.users.rows(keys) >= 0
            self.intake.names.forget(keys[~there].tolist())

    def digest(self) -> str:
        """BLAKE2b of what was learned and measured, once everything is published."""
        return digest({"trainer": self.learning.trainer.tree(), "recent": self.recent.tree()})

    def still(self) -> Callable[[], Tree]:
        """The state, gathered when it is called; what other threads or files hold, as it is now."""
        delivery = self.delivery.still()
        measure = {} if self.measure is None else {"measure": self.measure.tree()}
        return lambda: {
            "stream": msgspec.json.encode(self.stream).decode(),
            "settings": fingerprint(self.config),
            "intake": self.intake.tree(),
            "recent": self.recent.tree(),
            "floors": self.floors.tree(),
            "sides": self.sides.tree(),
            "delivery": delivery(),
            "asked": self.asked,
            "cycle_answers": msgspec.json.encode(self.learning.cycle_answers).decode(),
            **self.learning.tree(),
            **measure,
        }

    def load(self, tree: Tree) -> None:
        """What `still` gave, but for the sides, which are read before the stream is."""
        self.intake.load(tree["intake"])
        self.learning.load(tree)
        self.recent.load(tree["recent"])
        self.floors.load(tree.get("floors", {}))  # an older checkpoint has none
        self.delivery.load(tree["delivery"])
        self.asked = str(tree.get("asked", ""))
        answers = tree.get("cycle_answers", "[]")  # an older checkpoint has none
        self.learning.cycle_answers = msgspec.json.decode(answers, type=list[CycleAnswer])
        if self.measure is not None and "measure" in tree:
            self.measure.load(tree["measure"])
        self.keeping.loaded(self.intake.events)


def _done(learner: Learner, asked: Request) -> str:
    """Do what was asked of a learner's cycles; what was done. Raises InputError where it cannot be."""
    if not learner.cycles:
        raise InputError(f"{learner.name} has no cycles")
    if asked.what == "run":
        learner.begin_cycle()
        return "a cycle begins with the next block of events that are known, or after the one that runs"
    return f"version {learner.roll_back()} serves again"
