"""What was learned last of one run, asked of its store: a user's interests, recommendations, likenesses.

Shape suffixes: N items, W memory entries, D width.
"""

from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np

from serving.answers import (
    Answers,
    Asked,
    ItemAnswer,
    Moment,
    RecommendAnswer,
    Similar,
    SimilarAnswer,
    UnknownUserError,
    UserAnswer,
    Visit,
)
from serving.item_facts import Facts, ItemsAnswer, items_answer
from serving.ranking import LISTED
from serving.reasons import iso
from serving.recommending import Recommender, point_of
from serving.remembered import MemoryAnswer, drawn_to, memory_answer
from serving.scoring.catalogue import ServedCatalogue
from serving.scoring.follower import Follower
from serving.scoring.recalled import Explain, cell_at, evidence, last_place, recalled
from serving.session import record_of
from state.arrays import largest
from state.errors import InputError, UnknownIdError
from state.store.contract import EmbeddingStore, RunInfo
from state.store.records import Record


class Run(Answers):
    """Answers from one run's store; for one thread at a time.

    As of its newest version; or, unless it `follows`, of the one that `refresh` found last.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        *,
        explain: Explain = evidence,
        follows: bool = True,
        chance: np.random.Generator | None = None,
    ) -> None:
        """`chance` draws what explore slots show."""
        self.store = store
        self._followed = Follower(store)
        self._follows = follows
        self._facts = Facts(self.info)
        chance = np.random.default_rng() if chance is None else chance
        self._recommender = Recommender(self._followed, explain, chance)

    @property
    def info(self) -> RunInfo:
        """What was said of the run, as of the last question."""
        return self._followed.info

    @property
    def titles(self) -> Mapping[str, str]:
        """What people call items, by id."""
        return self.info.titles

    @property
    def at(self) -> int:
        """What is held: the newest version, or one that was kept (`state.store.kept`)."""
        return self._followed.at

    @property
    def version(self) -> int:
        """That of the catalogue which is held."""
        return self._followed.version

    @property
    def recall(self) -> float:
        """Of lists made of few candidates (`Recommender.recall`)."""
        return self._recommender.recall

    def refresh(self) -> None:
        """Take over what has changed since. Raises InputError as the store does."""
        self._followed.catalogue()

    def some_item(self) -> str | None:
        """Any item that has a vector."""
        ids = self._caught_up().ids
        return ids[0] if ids else None

    def user(self, identifier: str | int) -> UserAnswer:
        """Raises UnknownIdError for a user of whom nothing was published."""
        record = self.store.served("users", str(identifier))
        if record is None:
            raise UnknownIdError(self._unknown("user", str(identifier)))
        return user_answer(str(identifier), record)

    def item(self, identifier: str | int) -> ItemAnswer:
        """Raises UnknownIdError for an item without a vector."""
        record = self.store.served("items", str(identifier))
        if record is None:
            raise UnknownIdError(self._unknown("item", str(identifier)))
        return item_answer(str(identifier), record)

    def recommend(self, identifier: str | int, k: int = 10, **asked: Unpack[Asked]) -> RecommendAnswer:
        """The k best items by the run's copy score, where it has one that agrees with the learner's ranking.

        Else by the dot product of the item's vector with the sum of the interests. What is not asked for is
        as of the last event; what the run's leave-out rule keeps from the user is left out. Raises
        UnknownUserError for an unknown user, and InputError for half a place, an unknown column, or a k that
        is not from 1 to LISTED.
        """
        self._caught_up()
        return self.recommend_to(str(identifier), self.row(str(identifier)), k, **asked)

    def row(self, user: str) -> Record | None:
        """Of the version that is held."""
        return self.store.user(user, self.at)

    def recommend_to(
        self, user: str, record: Record | None, k: int = 10, **asked: Unpack[Asked]
    ) -> RecommendAnswer:
        """As `recommend`, to whom the version that is held has this row of."""
        _count(k)
        if record is None:
            raise UnknownUserError(self._unknown("user", user), self._recommender.popular(user, k, asked))
        return self._recommender.to(user, record, k, asked)

    def recommend_after(
        self, history: Sequence[Visit], k: int = 10, **asked: Unpack[Asked]
    ) -> RecommendAnswer:
        """To somebody without an id who has this history (`serving.session`). Raises InputError for none."""
        _count(k)
        if not history:
            raise InputError("a session without an event: expected at least one")
        catalogue = self._caught_up()
        return self._recommender.to_nobody(record_of(history, catalogue, self.version), k, asked)

    def _caught_up(self) -> ServedCatalogue:
        if self._follows:
            self.refresh()
        return self._followed.held

    def similar(self, identifier: str | int, k: int = 10) -> SimilarAnswer:
        """The k items with the largest cosine. Raises UnknownIdError for an item without a vector."""
        _count(k)
        catalogue = self._caught_up()
        row = catalogue.row_of_id.get(str(identifier))
        if row is None:
            raise UnknownIdError(self._unknown("item", str(identifier)))
        cosine_N = catalogue.cosines(catalogue.vectors_ND[row])
        cosine_N[row] = -np.inf
        best = largest(cosine_N, min(k, len(cosine_N) - 1)).tolist()
        return SimilarAnswer(str(identifier), [Similar(catalogue.ids[n], float(cosine_N[n])) for n in best])

    def memory(self, user: str, record: Record, k: int = 3, **asked: Unpack[Moment]) -> MemoryAnswer:
        """What this row remembers, at a time and a place; k items that each interest is drawn to.

        Raises InputError for half a place.
        """
        at_ms, point = asked.get("at_ms"), point_of(asked)
        time_ms = record.event_time_ms if at_ms is None else at_ms
        cell = last_place(record.memory) if point is None else cell_at(*point)
        now = recalled(record, self.info, time_ms, cell)
        interests = drawn_to(record, self.info, self._caught_up(), k)
        return memory_answer(user, record, time_ms, now, self._followed.name, interests)

    def items(self, words: str = "", k: int = 10) -> ItemsAnswer:
        """Up to k items with a vector by these words (`Facts.search`); without words what is popular."""
        held = self._caught_up().row_of_id
        return items_answer(self._known(), self._known().search(words, k, held))

    def facts(self, items: Sequence[str]) -> ItemsAnswer:
        """What is known of these items besides their vectors."""
        return items_answer(self._known(), items)

    def _known(self) -> Facts:
        if self._facts.info is not self.info:
            self._facts = self._facts.renewed(self.info)
        return self._facts

    def _unknown(self, kind: str, identifier: str) -> str:
        count = self.store.counts()["users" if kind == "user" else "items"]
        return (
            f"unknown {kind} {identifier!r}: not among the {count:,} {kind}s published from {self.info.log}; "
            "ids are written as in the log"
        )

    def close(self) -> None:
        self.store.close()


def user_answer(identifier: str, record: Record) -> UserAnswer:
    """What a row says of a user."""
    interests = record.vectors_KD.tolist()
    return UserAnswer(identifier, record.version, iso(record.event_time_ms), interests)


def item_answer(identifier: str, record: Record) -> ItemAnswer:
    """What a row says of an item."""
    vector = record.vectors_KD[0].tolist()
    return ItemAnswer(identifier, record.version, iso(record.event_time_ms), vector)


def _count(k: int) -> None:
    """Raises InputError where it is none that is answered, here and over HTTP."""
    if not 1 <= k <= LISTED:
        raise InputError(f"k: expected from 1 to {LISTED}, got {k}")
