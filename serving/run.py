"""What was learned last of one run, asked of its store: a user's interests, recommendations, likenesses.

Shape suffixes: N items, W memory entries, D width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Unpack

import numpy as np

from serving import exploring, reasons
from serving.answers import (
    LISTED,
    Answers,
    Asked,
    Explored,
    ItemAnswer,
    Moment,
    RecommendAnswer,
    Recommended,
    Similar,
    SimilarAnswer,
    UnknownUserError,
    UserAnswer,
    Visit,
)
from serving.catalogue import Catalogue, Follower
from serving.item_facts import Facts, ItemsAnswer, items_answer
from serving.ranking import Lists, diverse, having
from serving.reasons import Because, Reasons, iso
from serving.recalled import Explain, cell_at, evidence, last_place, recalled, shift
from serving.remembered import MemoryAnswer, drawn_to, memory_answer
from serving.scoring import within_a_week
from serving.session import record_of
from state.arrays import Doubles, Int64s, largest
from state.errors import InputError, UnknownIdError
from state.ids import NO_KEY
from state.store.contract import EmbeddingStore, RunInfo
from state.store.records import MEMORY_ENTRY, Record

_SHOWN = 80
"""Characters of an id that are repeated in a reason."""


class _Ranked(NamedTuple):
    """Scores of items, of all of them or of some, what is left out at -inf; and why, by row."""

    score_C: Doubles
    why: Callable[[int], Reasons]
    by: Literal["copy score", "interests", "popularity"]
    rows_C: Int64s | None = None
    """Of the catalogue; None: all."""


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
        self._explain = explain
        self._followed = Follower(store)
        self._follows = follows
        self._lists = Lists()
        self._facts = Facts(self.info)
        self._clustered = (-1, np.zeros(0, np.int64))
        """Version, and the cluster of each item then."""
        self._chance = np.random.default_rng() if chance is None else chance

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
        UnknownUserError for an unknown user, and InputError for half a place or an unknown column.
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
        if record is None:
            raise UnknownUserError(self._unknown("user", user), self._popular(user, k, asked))
        ranked = self._ranked(record, self._followed.held, asked, k)
        tried_D = exploring.probabilities(self.info.interests, record.vectors_KD)
        return self._best(user, record.version, ranked, k, asked, tried_D)

    def recommend_after(
        self, history: Sequence[Visit], k: int = 10, **asked: Unpack[Asked]
    ) -> RecommendAnswer:
        """To somebody without an id who has this history (`serving.session`). Raises InputError for none."""
        if not history:
            raise InputError("a session without an event: expected at least one")
        catalogue = self._caught_up()
        record = record_of(history, catalogue, self.version)
        return self._best("", record.version, self._ranked(record, catalogue, asked, k), k, asked)

    def _caught_up(self) -> Catalogue:
        if self._follows:
            self.refresh()
        return self._followed.held

    def _ranked(
        self, record: Record, catalogue: Catalogue, asked: Asked, k: int, *, every: bool = False
    ) -> _Ranked:
        """The candidates of the copy score alone where they are enough, unless of `every` item."""
        every |= any(asked.get(name) not in (None, 0.0) for name in ("only", "diversity"))
        every |= asked.get("page") is not None
        at_ms, point = asked.get("at_ms"), _point(asked)
        cell = last_place(record.memory) if point is None else cell_at(*point)
        time_ms = record.event_time_ms if at_ms is None else at_ms
        now = recalled(record, self.info, time_ms, cell)
        row_W = catalogue.rows(record.memory["item"].tolist())
        vectors_WD = catalogue.of_rows(row_W, record.vectors_KD.shape[1])
        query_D = exploring.query(self.info.interests, record.vectors_KD)
        scored = None
        if catalogue.copy is not None:
            near_ms = within_a_week(record.event_time_ms, time_ms)
            then = now if near_ms == time_ms else recalled(record, self.info, near_ms, cell)
            before_W = catalogue.rows(record.memory["before"].tolist())
            interest = catalogue.interest(query_D)
            scored = catalogue.copy.score(then, row_W, before_W, interest, point, every=every)
            rows_C, score_C = scored.rows_C, scored.score_C.copy()
        else:
            if at_ms is not None or point is not None:
                then = recalled(record, self.info, record.event_time_ms, last_place(record.memory))
                query_D = query_D + shift(record, self.info, vectors_WD, then, now)
            rows_C, score_C = None, catalogue.scores(query_D)

        name = self._name

        def why(row: int) -> Reasons:
            adds_W = self._explain(now, vectors_WD, catalogue.vectors_ND[row])
            if scored is None or catalogue.copy is None:
                return reasons.of_interests(now, adds_W, name)
            gap_h = catalogue.copy.gap_h.get(int(catalogue.copy.items.key_N[row]))
            return reasons.of_copy(row, scored, now, adds_W, name, gap_h)

        left_out = catalogue.rows(self._left_out(record, asked.get("exclude_seen")))
        if rows_C is None:
            score_C[left_out[left_out >= 0]] = -np.inf
            return _Ranked(score_C, why, "interests" if scored is None else "copy score")
        if len(left_out):
            score_C[np.isin(rows_C, left_out)] = -np.inf
        if np.count_nonzero(score_C > -np.inf) < k:
            return self._ranked(record, catalogue, asked, k, every=True)
        return _Ranked(score_C, why, "copy score", rows_C)

    def _best(
        self, user: str, version: int, ranked: _Ranked, k: int, asked: Asked, tried_D: Doubles | None = None
    ) -> RecommendAnswer:
        """The best of what is ranked, or a page of it; with `tried_D`, places for what is new are kept."""
        catalogue, page, diversity = self._followed.held, asked.get("page"), asked.get("diversity", 0.0)
        score_N, only = ranked.score_C, asked.get("only")
        if ranked.rows_C is not None:
            best = largest(score_N, k)
            found = zip(ranked.rows_C[best].tolist(), score_N[best].tolist(), strict=True)
            near = [Recommended(catalogue.ids[row], score, ranked.why(row)) for row, score in found]
            return RecommendAnswer(user, version, [*near], ranked.by)
        if only:
            score_N = np.where(having(self.info.columns, only, catalogue), score_N, -np.inf)
        if page is None:
            rows = diverse(score_N, catalogue.vectors_ND, k, diversity).tolist()
        else:
            rows = self._page((user, repr({**asked, "page": None})), page, k, score_N, diversity)
        tried: list[exploring.Tried] = []
        if tried_D is not None and page is None:
            share, cluster_N = self.info.explore, self._clusters(catalogue)
            tried = exploring.filled(rows, score_N, cluster_N, tried_D, share, self._chance)
            rows = rows[: len(rows) - len(tried)]
        items: list[Recommended | Explored] = [
            Recommended(catalogue.ids[row], float(score_N[row]), ranked.why(row)) for row in rows
        ]
        for row, p in tried:
            why: Reasons = [Because(f"new to the user, tried with probability {p:.2g}")]
            items.append(Explored(catalogue.ids[row], float(score_N[row]), why, exploring.SOURCE, p))
        return RecommendAnswer(user, version, items, ranked.by)

    def _clusters(self, catalogue: Catalogue) -> Int64s:
        """Of every item; found once a version."""
        version, cluster_N = self._clustered
        if version != self.version or len(cluster_N) != len(catalogue.ids):
            self._clustered = self.version, exploring.clusters_of(catalogue.vectors_ND)
        return self._clustered[1]

    def _page(self, key: object, page: int, k: int, score_N: Doubles, diversity: float) -> list[int]:
        """Rows of a page; the list is made where it is not held."""
        catalogue = self._followed.held
        ids = self._lists.page(key, page, k) if page else None
        if ids is None:
            best = diverse(score_N, catalogue.vectors_ND, LISTED, diversity).tolist()
            self._lists.begin(key, [catalogue.ids[row] for row in best])
            ids = self._lists.page(key, page, k) or []
        rows = [catalogue.row_of_id.get(one, -1) for one in ids]
        return [row for row in rows if row >= 0 and score_N[row] > -np.inf]

    def similar(self, identifier: str | int, k: int = 10) -> SimilarAnswer:
        """The k items with the largest cosine. Raises UnknownIdError for an item without a vector."""
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
        at_ms, point = asked.get("at_ms"), _point(asked)
        time_ms = record.event_time_ms if at_ms is None else at_ms
        cell = last_place(record.memory) if point is None else cell_at(*point)
        now = recalled(record, self.info, time_ms, cell)
        interests = drawn_to(record, self.info, self._caught_up(), k)
        return memory_answer(user, record, time_ms, now, self._name, interests)

    def items(self, words: str = "", k: int = 10) -> ItemsAnswer:
        """Up to k items with a vector by these words (`Facts.found`); without words what is popular."""
        held = self._caught_up().row_of_id
        return items_answer(self._known(), self._known().found(words, k, held))

    def facts(self, items: Sequence[str]) -> ItemsAnswer:
        """What is known of these items besides their vectors."""
        return items_answer(self._known(), items)

    def _known(self) -> Facts:
        if self._facts.info is not self.info:
            self._facts = self._facts.renewed(self.info)
        return self._facts

    def _name(self, key: int) -> str:
        """The id of an item by its key."""
        catalogue = self._followed.held
        row = catalogue.row_of_key.get(key)
        return self.info.item_names.get(str(key), str(key)) if row is None else catalogue.ids[row]

    def _left_out(self, record: Record, exclude_seen: bool | None) -> list[int]:
        if (exclude_seen is None and self.info.leave_out == "none") or exclude_seen is False:
            return []
        seen = self.info.leave_out == "user" or exclude_seen
        return [*record.left_out.tolist(), *(record.memory["item"].tolist() if seen else [])]

    def _popular(self, user: str, k: int, asked: Asked) -> RecommendAnswer:
        """What everybody likes: near the place asked for, where places of items are known."""
        point = _point(asked)
        if point is None and not (asked.keys() & {"only", "diversity", "page"}):
            why = _popular(user, "with everybody")
            items: list[Recommended | Explored] = [
                Recommended(item, score, why) for item, score in self.info.popular[:k]
            ]
            return RecommendAnswer(user, self.version, items, "popularity")
        catalogue = self._followed.held
        near = point is not None and catalogue.copy is not None and catalogue.copy.placed
        why = _popular(user, "near there" if near else "with everybody")
        if catalogue.copy is not None:
            nobody = Record(0, 0, np.zeros((1, catalogue.width), np.float32), _NO_KEYS, _NO_ENTRIES)
            now = recalled(nobody, self.info, 0, cell_at(*point) if point else NO_KEY)
            nothing = catalogue.interest(np.zeros(catalogue.width))
            score_N = catalogue.copy.score(now, _NO_KEYS, _NO_KEYS, nothing, point).score_C
        else:
            score_N = np.full(len(catalogue.ids), -np.inf)
            for item, score in self.info.popular:
                if item in catalogue.row_of_id:
                    score_N[catalogue.row_of_id[item]] = score
        return self._best(user, self.version, _Ranked(score_N, lambda _: why, "popularity"), k, asked)

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


def _popular(user: str, where: str) -> Reasons:
    shown = user if len(user) <= _SHOWN else user[:_SHOWN] + "..."
    return [Because(f"unknown user {shown!r}: popular {where}")]


def _point(asked: Moment) -> tuple[float, float] | None:
    lat, lon = asked.get("lat"), asked.get("lon")
    if (lat is None) != (lon is None):
        raise InputError("recommend: a place needs both --lat and --lon")
    return None if lat is None or lon is None else (lat, lon)


_NO_KEYS = np.zeros(0, np.int64)
_NO_ENTRIES = np.zeros(0, MEMORY_ENTRY)
