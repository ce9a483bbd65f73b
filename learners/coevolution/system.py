"""Relevance and Novelty on a stream: counts and Relevance live, Novelty in versions.

    serve   inputs of users -> Relevance -> what is exploited; the explore slot, from the serving version
    learn   what was shown, with what came of it: counts, Relevance, slates kept for the next cycle
    cycle   a candidate from what was kept, through the gate, to a version that serves, or to nothing

Before `start` there is no Novelty, and the slot is to be uniform. What is held back are users, by a hash of
their key: Relevance learns from them, Novelty does not. What they did is gathered from `start` on: what a
uniform slot shows is worth little to judge a version that is sure of itself by.

Shape suffixes: B rows, C clusters, S places of a slate.
"""

import msgspec
import numpy as np

from learners.coevolution.contracts import Policy
from learners.coevolution.cycle import Cycle, CycleSettings, Seen, Version
from learners.coevolution.group_identity import Book, fitted
from learners.coevolution.history import History
from learners.coevolution.inputs import Inputs
from learners.coevolution.novelty import CompactNovelty
from learners.coevolution.personas import Personas
from learners.coevolution.record import Record
from learners.coevolution.relevance import CompactRelevance
from learners.coevolution.slates import Kept, Slates, slates_of, slates_tree
from learners.coevolution.slot import Epsilon
from state.arrays import Bools, Int64s
from state.errors import InputError
from state.tree import Tree

KEPT_VERSIONS = 3
KEPT_RECORDS = 64
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class CoEvolution:
    """`guided`: whether there are outcomes that Relevance learns from."""

    def __init__(self, clusters: int, settings: CycleSettings, seed: int = 0, *, guided: bool = True) -> None:
        self.clusters, self.settings, self.seed, self.guided = clusters, settings, seed, guided
        self.history = History(clusters)
        self.relevance = CompactRelevance(clusters, settings.sizes, seed)
        blank: Book = tuple(np.zeros((size, clusters)) for size in settings.sizes)
        self.versions = [Version(0, blank, self._novelty())]
        """The newest; of version 0 only the book is of use, one group for all."""
        self.serving = 0
        """Its number."""
        self.made = 0
        """The highest number that was given: that of a version that was withdrawn is not given again."""
        self.slates, self.held = Kept(settings.keep_slates), Kept(settings.keep_held)
        self.records: list[Record] = []
        self.cpu_seconds: dict[int, float] = {}
        """What cycles have cost, by number: no state, since no run costs the same twice."""
        self.learned = 0
        """Slates since the last cycle."""
        self.since_ms = 0
        """When what serves was made."""
        self.running: Cycle | None = None
        """Begun, and not adopted yet."""

    @property
    def version(self) -> Version:
        """What serves."""
        return next(version for version in self.versions if version.number == self.serving)

    @property
    def started(self) -> bool:
        return self.serving > 0

    @property
    def grouped(self) -> bool:
        return any(centre_KC.any() for centre_KC in self.version.book)

    @property
    def due(self) -> bool:
        return self.started and self.learned >= self.settings.every

    def policy(self) -> Policy:
        """What fills the explore slot."""
        if not self.started:
            return Epsilon()
        return self.version.policy(self.settings)

    def personas(self, time_ms: int) -> Personas:
        return self.history.personas(self.version.book, time_ms)

    def inputs(self, user_B: Int64s, time_ms: int, known: Personas) -> Inputs:
        """What the models see of these users now; `user_B` are keys."""
        return self.history.inputs(user_B, time_ms, self.version.book, known)

    def held_back(self, user_B: Int64s) -> Bools:
        """Which users Novelty never learns from."""
        with np.errstate(over="ignore"):
            hash_B = (user_B.astype(np.uint64) + np.uint64(self.seed + 1)) * _MULTIPLIER
            hash_B = (hash_B ^ (hash_B >> np.uint64(32))) * _MULTIPLIER
        return np.asarray((hash_B >> np.uint64(11)) / 2.0**53 < self.settings.hold_back)

    def learn(self, slates: Slates) -> None:
        """Slates whose outcome is known, in the order of time."""
        self.relevance.learn(slates.feedback)
        self.keep(slates)
        self.learned += slates.size
        places = slates.cluster_BS.shape[1]
        self.history.add(
            np.repeat(slates.user_B, places),
            slates.cluster_BS.ravel(),
            slates.accepted_BS.ravel(),
            np.repeat(slates.time_ms_B, places),
        )

    def keep(self, slates: Slates) -> None:
        """For the cycles to come."""
        held_B = self.held_back(slates.user_B)
        self.slates.add(slates.take(~held_B))
        if self.started:
            self.held.add(slates.take(held_B & slates.explored_B))

    def forget(self, user_U: Int64s) -> None:
        """Keep nothing of these users, by key."""
        self.history.forget(user_U)
        self.slates.forget(user_U)
        self.held.forget(user_U)

    def group(self, now_ms: int) -> None:
        """Groups of who is known, before there is a Novelty: it starts from slates scored by them."""
        self._require(len(self.history.users) > 0)
        if self.settings.sizes and not self.started:
            rng = np.random.default_rng((self.seed, 0))
            old = self.version.book if self.grouped else None
            book = fitted(self.history.tastes(now_ms), self.settings.sizes, rng, old, enough=1.0)
            self.versions = [self.version._replace(book=book)]

    def start(self, now_ms: int) -> None:
        """The first Novelty, from what was kept, and the groups moved on."""
        self.adopt(self.cycle_at(now_ms).run())
        self.learned = 0

    def cycle_at(self, now_ms: int) -> Cycle:
        """The next cycle, on what there is now; it changes nothing here."""
        self._require(len(self.slates) > 0)
        seen = Seen(
            serving=self.version,
            tastes_NC=self.history.tastes(now_ms),
            slates=self.slates.all(),
            held=self.held.all() if len(self.held) else None,
            guided=self.guided,
            since_ms=self.since_ms,
            now_ms=now_ms,
            made=self.made,
        )
        return Cycle(self.records[-1].number + 1 if self.records else 0, seen, self.settings, self.seed)

    def begin(self, now_ms: int) -> None:
        """Begin a cycle; `learned` counts anew."""
        self.running, self.learned = self.cycle_at(now_ms), 0

    def end(self) -> Record:
        """End the cycle that is running."""
        assert self.running is not None
        cycle, self.running = self.running.run(), None
        self.cpu_seconds[cycle.number] = cycle.cpu_seconds
        return self.adopt(cycle)

    def adopt(self, cycle: Cycle) -> Record:
        """Let what a cycle has made serve, if it was promoted, and note the cycle."""
        if cycle.record.verdict.promoted:
            self.versions = [*self.versions, cycle.version][-KEPT_VERSIONS:]
            self.serving = self.made = cycle.version.number
            self.since_ms = cycle.seen.now_ms
        self.records = [*self.records, cycle.record][-KEPT_RECORDS:]
        return cycle.record

    def told(self) -> list[Record]:
        """The records, with what cycles have cost."""
        return [
            msgspec.structs.replace(record, cpu_seconds=self.cpu_seconds.get(record.number))
            for record in self.records
        ]

    def roll_back(self) -> int:
        """Let the version before serve again; its number. This one is withdrawn, and a cycle that is running.

        Raises InputError where no version before is kept.
        """
        earlier = [version for version in self.versions if version.number < self.serving]
        if not earlier or earlier[-1].number == 0:
            raise InputError(f"version {self.serving} serves, and none before it is kept")
        self.versions, self.serving, self.running = earlier, earlier[-1].number, None
        return self.serving

    def _novelty(self) -> CompactNovelty:
        return CompactNovelty(self.clusters, self.settings.sizes, self.seed)

    def _require(self, kept: bool) -> None:
        if not kept:
            raise InputError(
                "cycle: expected slates that were shown, with what came of them, found none; learn some first"
            )

    def tree(self) -> Tree:
        return {
            "history": self.history.tree(),
            "relevance": self.relevance.tree(),
            "versions": {
                str(version.number): {
                    "book": {str(level): centre_KC for level, centre_KC in enumerate(version.book)},
                    "novelty": version.novelty.tree(),
                }
                for version in self.versions
            },
            "serving": self.serving,
            "made": self.made,
            "slates": self.slates.tree(),
            "held": self.held.tree(),
            "records": msgspec.json.encode(self.records).decode(),
            "learned": self.learned,
            "since_ms": self.since_ms,
            **({} if self.running is None else {"running": self._seen_tree(self.running.seen)}),
        }

    def _seen_tree(self, seen: Seen) -> Tree:
        """What a cycle looks at: from it, it is begun anew, and ends the same. The version before serves."""
        return {
            "tastes_NC": seen.tastes_NC,
            "slates": slates_tree(seen.slates),
            **({} if seen.held is None else {"held": slates_tree(seen.held)}),
            "since_ms": seen.since_ms,
            "now_ms": seen.now_ms,
            "serving": seen.serving.number,
        }

    def load(self, tree: Tree) -> None:
        self.history.load(tree["history"])
        self.relevance.load(tree["relevance"])
        self.versions = []
        for number, saved in sorted(tree["versions"].items(), key=lambda item: int(item[0])):
            novelty = self._novelty()
            novelty.load(saved["novelty"])
            book = tuple(np.array(saved["book"][str(level)]) for level in range(len(self.settings.sizes)))
            self.versions.append(Version(int(number), book, novelty))
        self.serving = int(tree["serving"])
        self.made = int(tree.get("made", self.versions[-1].number))  # an older checkpoint has none
        self.slates.load(tree["slates"])
        self.held.load(tree["held"])
        self.records = msgspec.json.decode(tree["records"], type=list[Record])
        self.learned, self.since_ms = int(tree["learned"]), int(tree["since_ms"])
        self.running = None
        if "running" in tree:
            seen = tree["running"]
            self.running = Cycle(
                self.records[-1].number + 1 if self.records else 0,
                Seen(
                    serving=next(
                        version for version in self.versions if version.number == int(seen["serving"])
                    ),
                    tastes_NC=np.array(seen["tastes_NC"]),
                    slates=slates_of(seen["slates"]),
                    held=slates_of(seen["held"]) if "held" in seen else None,
                    guided=self.guided,
                    since_ms=int(seen["since_ms"]),
                    now_ms=int(seen["now_ms"]),
                    made=self.made,
                ),
                self.settings,
                self.seed,
            )
