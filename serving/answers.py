"""What was learned last, as answers: a user's interests, an item's vector, recommendations, likenesses.

`json_of` gives the JSON of `ebbtide query --json`. Shape suffixes: N items, W memory entries, D width.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from serving import reasons
from serving.catalogue import Follower
from serving.reasons import Because as Because
from serving.reasons import PastEvent as PastEvent
from serving.reasons import Reasons, iso
from serving.recalled import Explain, cell_at, evidence, last_place, recalled, shift
from serving.scoring import within_a_week
from state.errors import InputError, UnknownIdError
from state.store.contract import EmbeddingStore, RunInfo
from state.store.embedded import open_store
from state.store.records import Record


@dataclass(frozen=True, slots=True)
class UserAnswer:
    user: str
    version: int
    event_time: str
    """Of the user's last event, ISO 8601 in UTC."""
    interests: list[list[float]]


@dataclass(frozen=True, slots=True)
class ItemAnswer:
    item: str
    version: int
    event_time: str
    vector: list[float]


@dataclass(frozen=True, slots=True)
class Recommended:
    item: str
    score: float
    why: Reasons


@dataclass(frozen=True, slots=True)
class RecommendAnswer:
    user: str
    version: int
    items: list[Recommended]
    by: Literal["copy score", "interests", "popularity"]
    """What the score is."""


@dataclass(frozen=True, slots=True)
class Similar:
    item: str
    score: float
    """Cosine, biases aside."""


@dataclass(frozen=True, slots=True)
class SimilarAnswer:
    item: str
    items: list[Similar]


Answer = UserAnswer | ItemAnswer | RecommendAnswer | SimilarAnswer


class UnknownUserError(UnknownIdError):
    """A user of whom nothing was published; `answer` is what everybody likes, with that reason."""

    def __init__(self, message: str, answer: RecommendAnswer) -> None:
        super().__init__(message)
        self.answer = answer


def json_of(answer: Answer) -> dict[str, Any]:
    """The answer as what `json.dumps` takes."""
    return asdict(answer)


def connect(target: str | Path, *, explain: Explain = evidence) -> "Run":
    """The run published in a folder (`ebbtide replay --out DIR`) or at a Redis URL.

    Raises InputError if there is none. Close it, or use it in a `with` statement.
    """
    store = open_store(target)
    try:
        return Run(store, explain=explain)
    except BaseException:
        store.close()
        raise


class Run:
    """Answers from one run's store, as of its newest version; for one thread at a time."""

    def __init__(self, store: EmbeddingStore, *, explain: Explain = evidence) -> None:
        self.store = store
        self._explain = explain
        self._followed = Follower(store)

    @property
    def info(self) -> RunInfo:
        """What was said of the run, as of the last question."""
        return self._followed.info

    def user(self, identifier: str | int) -> UserAnswer:
        """Raises UnknownIdError for a user of whom nothing was published."""
        record = self.store.user(str(identifier))
        if record is None:
            raise UnknownIdError(self._unknown("user", str(identifier)))
        return UserAnswer(
            str(identifier), record.version, iso(record.event_time_ms), record.vectors_KD.tolist()
        )

    def item(self, identifier: str | int) -> ItemAnswer:
        """Raises UnknownIdError for an item without a vector."""
        record = self.store.item(str(identifier))
        if record is None:
            raise UnknownIdError(self._unknown("item", str(identifier)))
        return ItemAnswer(
            str(identifier), record.version, iso(record.event_time_ms), record.vectors_KD[0].tolist()
        )

    def recommend(
        self,
        identifier: str | int,
        k: int = 10,
        *,
        at_ms: int | None = None,
        lat: float | None = None,
        lon: float | None = None,
    ) -> RecommendAnswer:
        """The k best items by the run's copy score, where it has one that agrees with the learner's ranking.

        Else by the dot product of the item's vector with the sum of the interests. `at_ms` (UTC) and `lat`,
        `lon` ask for another time or place than the last event's. What the run's leave-out rule keeps from
        the user is left out. Raises UnknownUserError for an unknown user.
        """
        user = str(identifier)
        if (lat is None) != (lon is None):
            raise InputError("recommend: a place needs both --lat and --lon")
        record = self.store.user(user)
        if record is None:
            self._followed.look()
            raise UnknownUserError(self._unknown("user", user), self._popular(user, k))
        catalogue = self._followed.catalogue()
        point = None if lat is None or lon is None else (lat, lon)
        cell = last_place(record.memory) if point is None else cell_at(*point)
        time_ms = record.event_time_ms if at_ms is None else at_ms
        now = recalled(record, self.info, time_ms, cell)
        row_W = catalogue.rows(record.memory["item"].tolist())
        vectors_WD = catalogue.of_rows(row_W, record.vectors_KD.shape[1])
        query_D = record.vectors_KD.sum(axis=0, dtype=np.float64)
        scored = None
        if catalogue.copy is not None:
            near_ms = within_a_week(record.event_time_ms, time_ms)
            then = now if near_ms == time_ms else recalled(record, self.info, near_ms, cell)
            scored = catalogue.copy.score(then, row_W, catalogue.scores(query_D), point)
            score_N = scored.score_N.copy()
        else:
            if at_ms is not None or point is not None:
                then = recalled(record, self.info, record.event_time_ms, last_place(record.memory))
                query_D = query_D + shift(record, self.info, vectors_WD, then, now)
            score_N = catalogue.scores(query_D)

        def name(key: int) -> str:
            row = catalogue.row_of_key.get(key)
            return self.info.item_names.get(str(key), str(key)) if row is None else catalogue.ids[row]

        def why(row: int) -> Reasons:
            adds_W = self._explain(now, vectors_WD, catalogue.vectors_ND[row])
            if scored is None:
                return reasons.of_interests(now, adds_W, name)
            return reasons.of_copy(row, scored, now, adds_W, name)

        left_out = catalogue.rows(self._left_out(record))
        score_N[left_out[left_out >= 0]] = -np.inf
        best = [row for row in np.argsort(-score_N, kind="stable")[:k].tolist() if score_N[row] > -np.inf]
        return RecommendAnswer(
            user,
            record.version,
            [Recommended(catalogue.ids[row], float(score_N[row]), why(row)) for row in best],
            "interests" if scored is None else "copy score",
        )

    def similar(self, identifier: str | int, k: int = 10) -> SimilarAnswer:
        """The k items with the largest cosine. Raises UnknownIdError for an item without a vector."""
        catalogue = self._followed.catalogue()
        row = catalogue.row_of_id.get(str(identifier))
        if row is None:
            raise UnknownIdError(self._unknown("item", str(identifier)))
        vectors_ND = catalogue.vectors_ND[:, :-1].astype(np.float64)
        length_N = np.maximum(np.linalg.norm(vectors_ND, axis=1), 1e-30)
        cosine_N = vectors_ND @ vectors_ND[row] / (length_N * length_N[row])
        cosine_N[row] = -np.inf
        best = np.argsort(-cosine_N, kind="stable")[: min(k, len(cosine_N) - 1)].tolist()
        return SimilarAnswer(str(identifier), [Similar(catalogue.ids[n], float(cosine_N[n])) for n in best])

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _left_out(self, record: Record) -> list[int]:
        if self.info.leave_out == "none":
            return []
        had = record.memory["item"].tolist() if self.info.leave_out == "user" else []
        return [*record.left_out.tolist(), *had]

    def _popular(self, user: str, k: int) -> RecommendAnswer:
        why: Reasons = [Because(f"unknown user {user!r}: popular with everybody")]
        items = [Recommended(item, score, why) for item, score in self.info.popular[:k]]
        return RecommendAnswer(user, self.store.version(), items, "popularity")

    def _unknown(self, kind: str, identifier: str) -> str:
        count = self.store.counts()["users" if kind == "user" else "items"]
        return (
            f"unknown {kind} {identifier!r}: not among the {count:,} {kind}s published from {self.info.log}; "
            "ids are written as in the log"
        )
