"""Features from neighbours: how those who are like the row's user, or items like the row's item, came out.

What two items were for the same users says how alike they are: C is the sum of products of their residuals
over the users who had both, N how many those were, and n how often each was shown. For a user with past
residuals e_j of items j, and a row's item i, w = C / (N + shrink) and c = N / sqrt((n_i + 1) (n_j + 1)) give

    ridge   sum w e / (sum w^2 + .3)             sum        sum w e / sqrt(n + 10)
    close   sum c e / (sum c + 1)                affinity   sum c / (n + 3)

By item, the past of the user is gone through; by user, the past of the item. Both look at the latest `room`
events. The pairs are bounded too (`learners.tables.pair_sums`). That two were shown together is known at
once, if `exposure`; what came of it when both outcomes are.

Shape suffixes: B rows, Q rows of the queue, P waiting rows, F features, N owners of a past, M its entries'
kind, H room.
"""

from typing import Literal, NamedTuple

import numpy as np

from learners.contract import Settings
from learners.ranges import Amount, Some
from learners.residuals.part import Known, ResidualPart, ResidualRows, moved, renumbered
from learners.tables.fifo import Columns
from learners.tables.pair_sums import PairSumArrays, PairTable, pair_key, place_for, place_of
from learners.tables.rings import Rings, columns, length, put, rings, settle
from state.compiled import compiled, inner
from state.examples import Doubles
from state.keys import Int64s
from state.tree import Tree

_RIDGE, _SUM, _CLOSE, _SHOWN = 0.3, 10.0, 1.0, 3.0
_SCALE = 20.0
"""Brings the sum to about -1..1; and the affinity, a fifth of it."""


class Neighbours(Settings, frozen=True):
    """Settings of the neighbours of items, or of users."""

    on: bool = True
    room: Some = 100
    """Past events gone through."""
    shrink: Amount = 40.0
    """Common events that a pair must have for its weight to be half of what it would be."""
    exposure: bool = True
    """Whether an event counts as soon as it was shown; otherwise it counts when its outcome is known."""
    most_pairs: Some = 1 << 22
    """Bound on the pairs, 16 bytes each."""


class UserNeighbours(Neighbours, frozen=True):
    """Those of users, who have more in common."""

    shrink: Amount = 20.0


class NeighbourPart(ResidualPart):
    """Neighbours of the row's item among the user's items (`of` "items"), or the other way round."""

    def __init__(self, config: Neighbours, of: Literal["items", "users"]) -> None:
        self.config, self.of = config, of
        self.names = tuple(f"neighbour_{of}_{what}" for what in ("ridge", "sum", "close", "affinity"))
        past = columns(config.room)
        seen: Columns = {"seen_M": (np.float64, 0)}
        users, items = (past, seen) if of == "items" else (seen, past)
        super().__init__(users=users, items=items, waiting={"number_P": (np.int64, 0)})
        self.table = PairTable(config.most_pairs)

    def step(self, rows: ResidualRows, known: Known, due_B: Int64s) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), len(self.names)))
        place = self.waiting.extend(len(rows.user_B))
        places = WaitingPlaces(
            self.waiting.columns["number_P"], self.waiting.head, place, self.config.exposure
        )
        sides, shrink, done, learned = self._sides(rows, known), self.config.shrink, 0, 0
        while done <= len(rows.user_B):
            past, pairs, room = self._past(), self.table.pairs, self.table.room
            done, learned = _step(sides, due_B, (done, learned), places, past, pairs, room, shrink, made_BF)
            if done <= len(rows.user_B):
                self.table.grow()
        self.waiting.take(len(known.user_Q))
        return made_BF

    def peek(self, rows: ResidualRows) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), len(self.names)))
        owner_B, other_B = (rows.user_B, rows.item_B) if self.of == "items" else (rows.item_B, rows.user_B)
        _peek(owner_B, other_B, self._past(), self.table.pairs, self.config.shrink, made_BF)
        return made_BF

    def keep(self, users: Int64s, items: Int64s) -> None:
        sizes = self.size
        super().keep(users, items)
        past, moved_N = (
            (self.users, moved(items, sizes[1]))
            if self.of == "items"
            else (self.items, moved(users, sizes[0]))
        )
        past["other_NH"] = renumbered(past["other_NH"], moved_N).astype(np.int32)
        self.table.renumber(moved_N)

    def _sides(self, rows: ResidualRows, known: Known) -> "OwnersAndOthers":
        if self.of == "items":
            return OwnersAndOthers(rows.user_B, rows.item_B, known.user_Q, known.item_Q, known.residual_Q)
        return OwnersAndOthers(rows.item_B, rows.user_B, known.item_Q, known.user_Q, known.residual_Q)

    def _past(self) -> "OwnerEvents":
        owners, others = (self.users, self.items) if self.of == "items" else (self.items, self.users)
        return OwnerEvents(rings(owners), others["seen_M"])

    def tree(self) -> Tree:
        return {**super().tree(), "pairs": self.table.tree()}

    def load(self, tree: Tree) -> None:
        super().load(tree)
        self.table.load(tree["pairs"])


class OwnersAndOthers(NamedTuple):
    """Whose past is gone through (owner), and what it is made of (other)."""

    owner_B: Int64s
    other_B: Int64s
    owner_Q: Int64s
    other_Q: Int64s
    residual_Q: Doubles


class OwnerEvents(NamedTuple):
    """The owners' events, and how often each other has been in one."""

    rings: Rings
    seen_M: Doubles


class WaitingPlaces(NamedTuple):
    """Waiting rows: each one's number among its owner's events, the first, and the first new one."""

    number_P: Int64s
    head: int
    place: int
    exposure: bool
    """Whether rows have such a number, since they count as soon as they were shown."""


@inner
def _features(
    owner: int,
    other: int,
    past: OwnerEvents,
    pairs: PairSumArrays,
    shrink: float,
    place_H: Int64s,
    made_F: Doubles,
) -> None:
    """Write the features, and where each entry's pair with the other is, or -1."""
    if owner < 0 or other < 0:
        return
    pull, square, close_pull, close, affinity, known = 0.0, 0.0, 0.0, 0.0, 0.0, 0
    many = length(past.rings, owner)
    for h in range(many):
        mate, e = np.int64(past.rings.other_NH[owner, h]), past.rings.residual_NH[owner, h]
        known += not np.isnan(e)
        place_H[h] = -1
        if mate >= 0:
            place = place_H[h] = place_of(pairs, pair_key(mate, other))
            if place >= 0:
                total, count = pairs.floats_P4[place, 2], pairs.floats_P4[place, 3]
                c = count / np.sqrt((past.seen_M[other] + 1.0) * (past.seen_M[mate] + 1.0))
                affinity += c
                if not np.isnan(e):
                    w = total / (count + shrink)
                    pull += w * e
                    square += w * w
                    close_pull += c * e
                    close += c
    made_F[0] = pull / (square + _RIDGE)
    made_F[1] = _SCALE * pull / np.sqrt(known + _SUM)
    made_F[2] = close_pull / (close + _CLOSE)
    made_F[3] = _SCALE / 5.0 * affinity / (many + _SHOWN)


@inner
def _meet(owner: int, other: int, past: OwnerEvents, pairs: PairSumArrays, place_H: Int64s) -> int:
    """An event whose outcome is not known; its number among the owner's. `place_H` says where a pair was last
    seen, or -1."""
    for h in range(length(past.rings, owner)):
        mate = np.int64(past.rings.other_NH[owner, h])
        if mate >= 0:
            key, place = pair_key(mate, other), place_H[h]
            if place < 0 or pairs.words_P2[place, 0] != key:
                place = place_for(pairs, key)
            pairs.floats_P4[place, 3] += 1.0
    past.seen_M[other] += 1.0
    return put(past.rings, owner, other, np.nan)


@inner
def _learn(
    owner: int, other: int, number: int, residual: float, past: OwnerEvents, pairs: PairSumArrays
) -> None:
    """The outcome of an event that the owner has met."""
    for h in range(length(past.rings, owner)):
        mate, e = np.int64(past.rings.other_NH[owner, h]), past.rings.residual_NH[owner, h]
        if mate >= 0 and not np.isnan(e):
            place = place_of(pairs, pair_key(mate, other))
            if place >= 0:
                pairs.floats_P4[place, 2] += residual * e
    settle(past.rings, owner, number, residual)


@compiled
def _step(
    sides: OwnersAndOthers,
    due_B: Int64s,
    at: tuple[int, int],
    places: WaitingPlaces,
    past: OwnerEvents,
    pairs: PairSumArrays,
    room: int,
    shrink: float,
    made_BF: Doubles,
) -> tuple[int, int]:
    """`at`: the row to go on with, and how many are learned; where the next pairs might not fit, stop.

    Returns the row to go on with, which is beyond the last plus one when all is done.
    """
    exposure, (done, learned) = places.exposure, at
    rows, most = sides.owner_B.shape[0], past.rings.other_NH.shape[1]
    place_H, nowhere_H = np.full(most, -1), np.full(most, -1)
    for b in range(done, rows + 1):
        due = due_B[b] if b < rows else sides.owner_Q.shape[0]
        while learned < due:
            owner, other, residual = sides.owner_Q[learned], sides.other_Q[learned], sides.residual_Q[learned]
            if owner >= 0 and other >= 0 and not np.isnan(residual):
                if exposure:
                    number = places.number_P[places.head + learned]
                else:
                    if pairs.used[0] + most > room:
                        return b, learned
                    number = _meet(owner, other, past, pairs, nowhere_H)
                _learn(owner, other, number, residual, past, pairs)
            learned += 1
        if b < rows:
            if exposure and pairs.used[0] + most > room:
                return b, learned
            owner, other = sides.owner_B[b], sides.other_B[b]
            _features(owner, other, past, pairs, shrink, place_H, made_BF[b])
            number = _meet(owner, other, past, pairs, place_H) if exposure else -1
            places.number_P[places.place + b] = number
    return rows + 1, learned


@compiled
def _peek(
    owner_B: Int64s, other_B: Int64s, past: OwnerEvents, pairs: PairSumArrays, shrink: float, made_BF: Doubles
) -> None:
    place_H = np.full(past.rings.other_NH.shape[1], -1)
    for b in range(owner_B.shape[0]):
        _features(owner_B[b], other_B[b], past, pairs, shrink, place_H, made_BF[b])
