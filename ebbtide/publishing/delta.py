"""What is to be published in one go, and how several such become one.

Shape suffixes: B rows, K interests, D width, P moments of production.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from state import texts
from state.keys import Int64s
from state.store.contract import NOTHING_GONE, Gone, ItemRows, UserRows, packed_items, packed_users
from state.store.records import MEMORY_ENTRY, NO_TOTALS, Packed, Record, unpack
from state.tree import Tree

_EXACT_MS = 10_000
"""What was produced longer before the newest is known by the second."""
_NO_ENTRIES, _NO_KEYS = np.zeros(0, MEMORY_ENTRY), np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class Delta:
    """Rows to publish, and when the events behind them were produced: so many each."""

    users: UserRows
    items: ItemRows
    produced_ms_P: Int64s
    count_P: Int64s

    @cached_property
    def nbytes(self) -> int:
        """Of the users."""
        users = self.users
        lists = (*(users.memory_B or ()), *(users.totals_B or ()), *(users.left_out_B or ()))
        return int(self.users.interests_BKD.nbytes + sum(one.nbytes for one in lists))


def merged(deltas: Sequence[Delta]) -> Delta:
    """The newest row of each user and item, as if one delta after another were put."""
    if len(deltas) == 1:
        return deltas[0]
    users, items = [delta.users for delta in deltas], [delta.items for delta in deltas]
    user_ids, item_ids = [i for one in users for i in one.ids], [i for one in items for i in one.ids]
    u, i = _newest(users), _newest(items)
    memory_B, left_out_B = _lists(users, "memory_B", _NO_ENTRIES), _lists(users, "left_out_B", _NO_KEYS)
    totals_B = _lists(users, "totals_B", NO_TOTALS)
    produced_ms, counts = (
        np.concatenate([getattr(delta, name) for delta in deltas]) for name in ("produced_ms_P", "count_P")
    )
    old = produced_ms < produced_ms.max(initial=0) - _EXACT_MS
    moment_P, of = np.unique(np.where(old, produced_ms // 1000 * 1000, produced_ms), return_inverse=True)
    return Delta(
        users=UserRows(
            ids=[user_ids[b] for b in u],
            event_time_ms_B=np.concatenate([one.event_time_ms_B for one in users])[u],
            interests_BKD=np.concatenate([one.interests_BKD for one in users])[u],
            memory_B=None if memory_B is None else [memory_B[b] for b in u],
            totals_B=None if totals_B is None else [totals_B[b] for b in u],
            left_out_B=None if left_out_B is None else [left_out_B[b] for b in u],
            gone=_all_gone(users),
        ),
        items=ItemRows(
            ids=[item_ids[b] for b in i],
            event_time_ms_B=np.concatenate([one.event_time_ms_B for one in items])[i],
            vectors_BD=np.concatenate([one.vectors_BD for one in items])[i],
            gone=_all_gone(items),
        ),
        produced_ms_P=moment_P,
        count_P=np.bincount(of, counts, len(moment_P)).astype(np.int64),
    )


def _lists(users: Sequence[UserRows], name: str, nothing: Any) -> list[Any] | None:
    """One of the lists of all users; None where nobody has one."""
    if all(getattr(one, name) is None for one in users):
        return None
    return [row for one in users for row in getattr(one, name) or [nothing] * len(one.ids)]


def _newest(rows: Sequence[UserRows] | Sequence[ItemRows]) -> Int64s:
    """The last place of every id among all rows; none of one that is gone after it."""
    place_of: dict[str, tuple[int, int]] = {}
    first = 0
    for publication in rows:
        for identifier in publication.gone.ids:
            if identifier in place_of and place_of[identifier][1] < publication.gone.before_ms:
                del place_of[identifier]
        times_ms = publication.event_time_ms_B.tolist()
        place_of.update(zip(publication.ids, enumerate(times_ms, first), strict=True))
        first += len(publication.ids)
    return np.array([place for place, _ in place_of.values()], np.int64)


def _all_gone(rows: Sequence[UserRows] | Sequence[ItemRows]) -> Gone:
    ids = dict.fromkeys(identifier for one in rows for identifier in one.gone.ids)
    return Gone(list(ids), max(one.gone.before_ms for one in rows))


def _gone_tree(gone: Gone) -> Tree:
    return {"ids": texts.to_tree(gone.ids), "before_ms": gone.before_ms}


def _gone_of(tree: Tree) -> Gone:
    """Nothing, from a tree that was made before anybody could go."""
    return (
        Gone(texts.from_tree(tree["gone"]["ids"]), int(tree["gone"]["before_ms"]))
        if "gone" in tree
        else NOTHING_GONE
    )


def to_tree(delta: Delta) -> Tree:
    users, items = delta.users, delta.items
    return {
        "users": {**_packed_tree(packed_users(0, users)), "gone": _gone_tree(users.gone)},
        "items": {
            **_packed_tree(packed_items(0, items)),
            "gone": _gone_tree(items.gone),
        },
        "produced_ms": delta.produced_ms_P,
        "count": delta.count_P,
    }


def _packed_tree(packed: Packed) -> Tree:
    return {
        "ids": texts.to_tree(packed.names()),
        "start": packed.start_B1,
        "rows": np.frombuffer(packed.blob, np.uint8),
    }


def _records(tree: Tree) -> list[Record]:
    start, rows = tree["start"].tolist(), np.asarray(tree["rows"]).tobytes()
    return [unpack(rows[a:b]) for a, b in pairwise(start)]


def from_tree(tree: Tree) -> Delta:
    users, items = _records(tree["users"]), _records(tree["items"])
    interests_BKD = np.array([one.vectors_KD for one in users])
    vectors_BD = np.array([one.vectors_KD[0] for one in items]).reshape(len(items), interests_BKD.shape[2])
    return Delta(
        users=UserRows(
            ids=texts.from_tree(tree["users"]["ids"]),
            event_time_ms_B=np.array([one.event_time_ms for one in users], np.int64),
            interests_BKD=interests_BKD,
            memory_B=[one.memory for one in users],
            totals_B=[one.totals for one in users],
            left_out_B=[one.left_out for one in users],
            gone=_gone_of(tree["users"]),
        ),
        items=ItemRows(
            ids=texts.from_tree(tree["items"]["ids"]),
            event_time_ms_B=np.array([one.event_time_ms for one in items], np.int64),
            vectors_BD=vectors_BD,
            gone=_gone_of(tree["items"]),
        ),
        produced_ms_P=np.asarray(tree["produced_ms"]),
        count_P=np.asarray(tree["count"]),
    )
