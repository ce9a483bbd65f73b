"""What is recommended: all items ranked for somebody, and the best of them as they were asked for.

Shape suffixes: N items, C of them that are scored, W memory entries, D width.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from serving import exploring, reasons
from serving.answers import Asked, Explored, Moment, RecommendAnswer, Recommended
from serving.ranking import LISTED, Lists, diverse, having
from serving.reasons import Because, Reasons
from serving.scoring.catalogue import ServedCatalogue
from serving.scoring.copy import NO_ROWS, MemoryRows, within_a_week
from serving.scoring.follower import Follower
from serving.scoring.recalled import Explain, cell_at, last_place, recalled, shift
from state.arrays import Doubles, Int64s, largest
from state.errors import InputError
from state.ids import NO_KEY
from state.store.records import MEMORY_ENTRY, Record

_TRY_EVERY, _RECALLS = 1000, 200
_SHOWN = 80
"""Characters of an id that are repeated in a reason."""


class _Ranked(NamedTuple):
    """Scores of items, of all of them or of some, what is left out at -inf; and why, by row."""

    score_C: Doubles
    why: Callable[[int], Reasons]
    by: Literal["copy score", "interests", "popularity"]
    rows_C: Int64s | None = None
    """Of the catalogue; None: all."""
    whose: bytes = b""
    """What tells somebody without an id from others."""


class Recommender:
    """Recommends out of what `followed` holds; `chance` draws what explore slots show."""

    def __init__(self, followed: Follower, explain: Explain, chance: np.random.Generator) -> None:
        self._followed, self._explain, self._chance = followed, explain, chance
        self._lists = Lists()
        self._clustered = (-1, np.zeros(0, np.int64))
        """Version, and the cluster of each item then."""
        self._asked = 0
        self._recalls: deque[float] = deque(maxlen=_RECALLS)

    @property
    def recall(self) -> float:
        """Recall@10 of lists that were made of few candidates against the ranking of all items; else NaN.

        Over the last questions of those that are tried, one in a thousand.
        """
        return sum(self._recalls) / len(self._recalls) if self._recalls else math.nan

    def to(self, user: str, record: Record, k: int, asked: Asked) -> RecommendAnswer:
        """To a user who has this row. Raises InputError for half a place or an unknown column."""
        info = self._followed.info
        tried_D = exploring.probabilities(info.interests, record.vectors_KD, info.explores_by)
        ranked = self._ranked(record, asked, k)
        if ranked.rows_C is not None:
            if self._asked % _TRY_EVERY == 0:
                self._recalls.append(_shared(ranked, self._ranked(record, asked, k, every=True)))
            self._asked += 1
        return self._best(user, record.version, ranked, k, asked, tried_D)

    def to_nobody(self, record: Record, k: int, asked: Asked) -> RecommendAnswer:
        """To somebody without an id, with what their row would be. Raises as `to` does."""
        whose = record.memory["item"].tobytes() + record.memory["label"].tobytes()
        return self._best("", record.version, self._ranked(record, asked, k)._replace(whose=whose), k, asked)

    def popular(self, user: str, k: int, asked: Asked) -> RecommendAnswer:
        """What everybody likes: near the place asked for, where places of items are known."""
        point = point_of(asked)
        if point is None and not (asked.keys() & {"only", "diversity", "page"}):
            why = _popular(user, "with everybody")
            items: list[Recommended | Explored] = [
                Recommended(item, score, why) for item, score in self._followed.info.popular[:k]
            ]
            return RecommendAnswer(user, self._followed.version, items, "popularity")
        catalogue = self._followed.held
        near = point is not None and catalogue.copy is not None and catalogue.copy.placed
        why = _popular(user, "near there" if near else "with everybody")
        liked = (
            {} if near else {catalogue.row_of_id.get(item, -1): n for item, n in self._followed.info.popular}
        )
        liked.pop(-1, None)
        if catalogue.copy is not None:
            nobody = Record(0, 0, np.zeros((1, catalogue.width), np.float32), _NO_KEYS, _NO_ENTRIES)
            now = recalled(nobody, self._followed.info, 0, cell_at(*point) if point else NO_KEY)
            nothing = catalogue.interest(np.zeros(catalogue.width))
            score_N = catalogue.copy.score(now, NO_ROWS, nothing, point).score_C
            if liked:  # what else there is comes behind
                score_N = score_N - score_N.max() + min(liked.values()) - 1.0
        else:
            score_N = np.full(len(catalogue.ids), -np.inf)
        score_N[[*liked]] = [*liked.values()]
        return self._best(
            user, self._followed.version, _Ranked(score_N, lambda _: why, "popularity"), k, asked
        )

    def _ranked(self, record: Record, asked: Asked, k: int, *, every: bool = False) -> _Ranked:
        """The candidates of the copy score alone where they are enough, unless of `every` item."""
        catalogue, info = self._followed.held, self._followed.info
        every |= any(asked.get(name) not in (None, 0.0) for name in ("only", "diversity"))
        every |= asked.get("page") is not None
        at_ms, point = asked.get("at_ms"), point_of(asked)
        cell = last_place(record.memory) if point is None else cell_at(*point)
        time_ms = record.event_time_ms if at_ms is None else at_ms
        now = recalled(record, info, time_ms, cell)
        row_W = catalogue.rows(record.memory["item"].tolist())
        vectors_WD = catalogue.of_rows(row_W, record.vectors_KD.shape[1])
        query_D = exploring.query(info.interests, record.vectors_KD)
        scored = None
        if catalogue.copy is not None:
            near_ms = within_a_week(record.event_time_ms, time_ms)
            then = now if near_ms == time_ms else recalled(record, info, near_ms, cell)
            before_W = catalogue.rows(record.memory["before"].tolist())
            interest = catalogue.interest(query_D)
            row_T = catalogue.rows(record.totals["item"].tolist())
            rows = MemoryRows(row_W, before_W, row_T)
            scored = catalogue.copy.score(then, rows, interest, point, every=every)
            rows_C, score_C = scored.rows_C, scored.score_C.copy()
        else:
            if at_ms is not None or point is not None:
                then = recalled(record, info, record.event_time_ms, last_place(record.memory))
                query_D = query_D + shift(record, info, vectors_WD, then, now)
            rows_C, score_C = None, catalogue.scores(query_D)

        name = self._followed.name

        def why(row: int) -> Reasons:
            adds_W = self._explain(now, vectors_WD, catalogue.vectors_ND[row])
            if scored is None or catalogue.copy is None:
                return reasons.of_interests(now, adds_W, name)
            key = int(catalogue.copy.items.key_N[row])
            gap_h, had = catalogue.copy.gap_h.get(key), reasons.had(record.totals, key, time_ms)
            return reasons.of_copy(row, scored, now, adds_W, name, gap_h, had)

        left_out = catalogue.rows(self._left_out(record, asked.get("exclude_seen")))
        if rows_C is None:
            score_C[left_out[left_out >= 0]] = -np.inf
            return _Ranked(score_C, why, "interests" if scored is None else "copy score")
        if len(left_out):
            score_C[np.isin(rows_C, left_out)] = -np.inf
        if np.count_nonzero(score_C > -np.inf) < k:
            return self._ranked(record, asked, k, every=True)
        return _Ranked(score_C, why, "copy score", rows_C)

    def _best(
        self, user: str, version: int, ranked: _Ranked, k: int, asked: Asked, tried_D: Doubles | None = None
    ) -> RecommendAnswer:
        """The best of what is ranked, or a page of it; with `tried_D`, places for what is new are kept."""
        catalogue, page, diversity = self._followed.held, asked.get("page"), asked.get("diversity", 0.0)
        score_N, only = ranked.score_C, asked.get("only")
        if ranked.rows_C is not None:
            best = largest(score_N, k)
            scored = zip(ranked.rows_C[best].tolist(), score_N[best].tolist(), strict=True)
            near = [Recommended(catalogue.ids[row], score, ranked.why(row)) for row, score in scored]
            return RecommendAnswer(user, version, [*near], ranked.by)
        if only:
            score_N = np.where(having(self._followed.info.columns, only, catalogue), score_N, -np.inf)
        if page is None:
            rows = diverse(score_N, catalogue.vectors_ND, k, diversity).tolist()
        else:
            rows = self._page(
                (user, ranked.whose, repr({**asked, "page": None})), page, k, score_N, diversity
            )
        tried: list[exploring.Tried] = []
        if tried_D is not None and page is None:
            share, cluster_N = self._followed.info.explore, self._clusters(catalogue)
            tried = exploring.filled(rows, score_N, cluster_N, tried_D, share, self._chance)
            rows = rows[: len(rows) - len(tried)]
        items: list[Recommended | Explored] = [
            Recommended(catalogue.ids[row], float(score_N[row]), ranked.why(row)) for row in rows
        ]
        for row, p in tried:
            why: Reasons = [Because(f"new to the user, tried with probability {p:.2g}")]
            items.append(Explored(catalogue.ids[row], float(score_N[row]), why, exploring.SOURCE, p))
        return RecommendAnswer(user, version, items, ranked.by)

    def _clusters(self, catalogue: ServedCatalogue) -> Int64s:
        """Of every item; found once a version."""
        version, cluster_N = self._clustered
        if version != self._followed.version or len(cluster_N) != len(catalogue.ids):
            self._clustered = self._followed.version, exploring.clusters_of(catalogue.vectors_ND)
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

    def _left_out(self, record: Record, exclude_seen: bool | None) -> list[int]:
        if (exclude_seen is None and self._followed.info.leave_out == "none") or exclude_seen is False:
            return []
        seen = self._followed.info.leave_out == "user" or exclude_seen
        had = [*record.memory["item"].tolist(), *record.totals["item"].tolist()] if seen else []
        return [*record.left_out.tolist(), *had]


def _shared(few: _Ranked, all_: _Ranked) -> float:
    """The share of the ten best of all that are among the ten best of few."""
    assert few.rows_C is not None
    best = largest(all_.score_C, min(10, int(np.count_nonzero(all_.score_C > -np.inf))))
    return float(np.isin(best, few.rows_C[largest(few.score_C, len(best))]).mean()) if len(best) else 1.0


def point_of(asked: Moment) -> tuple[float, float] | None:
    """Latitude and longitude. Raises InputError for one without the other."""
    lat, lon = asked.get("lat"), asked.get("lon")
    if (lat is None) != (lon is None):
        raise InputError("recommend: a place needs both --lat and --lon")
    return None if lat is None or lon is None else (lat, lon)


def _popular(user: str, where: str) -> Reasons:
    shown = user if len(user) <= _SHOWN else user[:_SHOWN] + "..."
    return [Because(f"unknown user {shown!r}: popular {where}")]


_NO_KEYS = np.zeros(0, np.int64)
_NO_ENTRIES = np.zeros(0, MEMORY_ENTRY)
