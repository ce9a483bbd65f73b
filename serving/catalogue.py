"""Every item vector of a run, where each is, and what else speaks for it; kept up with what is published.

Shape suffixes: N items, B changed items, W memory entries, D width.
"""

from bisect import bisect
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from serving.scoring import Copy, changed
from state.arrays import Doubles, Floats, Int64s
from state.errors import InputError
from state.ids import key_of
from state.store.contract import EmbeddingStore, Items, Pointer
from state.store.copy_score import CopyScore
from state.store.kept import NEWEST
from state.store.records import single_vectors
from state.store.versions import NOWHERE, Changes


class Catalogue:
    """Items in order of their ids: so equal scores come in the same order always."""

    def __init__(self, items: Items, copy: CopyScore | None) -> None:
        self.ids, self.vectors_ND = items.ids, items.vectors_ND
        self.key_N = _keys(items.ids)
        self._length_N: Floats | None = None
        self._number()
        self.weigh(copy)

    def _number(self) -> None:
        self.row_of_id = dict(zip(self.ids, range(len(self.ids)), strict=True))
        self.row_of_key = dict(zip(self.key_N.tolist(), range(len(self.ids)), strict=True))

    def weigh(self, copy: CopyScore | None) -> None:
        """Go by this copy score, if it agrees with what it stands for."""
        self.copy = Copy(copy, self.key_N) if copy and copy.agrees else None
        self._among_AD: Floats | None = None

    def take(self, changes: Changes) -> bool:
        """Take over what has changed; False, and nothing is taken, where vectors have got another width."""
        names, (_, vectors_BD) = changes.rows.names(), single_vectors(changes.rows)
        if not names:
            vectors_BD = self.vectors_ND[:0]
        elif not self.ids:
            self.vectors_ND = np.zeros((0, vectors_BD.shape[1]), np.float32)
        if vectors_BD.shape[1] != self.width:
            return False
        self._length_N = self._among_AD = None
        row_B = np.array([self.row_of_id.get(name, -1) for name in names], np.int64)
        held_B = row_B >= 0
        self.vectors_ND[row_B[held_B]] = vectors_BD[held_B]
        leave = np.array([self.row_of_id[name] for name in changes.gone if name in self.row_of_id], np.int64)
        if len(leave) or not held_B.all():
            self._change(leave, {names[b]: vectors_BD[b] for b in np.flatnonzero(~held_B).tolist()})
        return True

    def _change(self, leave: Int64s, come: Mapping[str, Floats]) -> None:
        """Rows leave, and others come, each to its place in the order of ids."""
        stay = np.delete(np.array(self.ids, object), leave)
        new, stayed = sorted(come), stay.tolist()
        places, key_B = np.array([bisect(stayed, name) for name in new], np.int64), _keys(new)
        vectors_BD = np.array([come[name] for name in new], np.float32).reshape(len(new), self.width)
        self.ids = np.insert(stay, places, np.array(new, object)).tolist()
        self.key_N = changed(self.key_N, leave, places, key_B)
        self.vectors_ND = changed(self.vectors_ND, leave, places, vectors_BD)
        self._number()
        if self.copy is not None:
            self.copy.change(leave, places, key_B)

    @property
    def width(self) -> int:
        return int(self.vectors_ND.shape[1])

    def rows(self, keys: list[int]) -> Int64s:
        """The row of each key, or -1."""
        return np.array([self.row_of_key.get(key, -1) for key in keys], np.int64)

    def of_rows(self, row_W: Int64s, width: int) -> Floats:
        """Vectors (W, D); zeros for a row of -1."""
        vectors_WD = np.zeros((len(row_W), width), np.float32)
        vectors_WD[row_W >= 0] = self._vectors(width)[row_W[row_W >= 0]]
        return vectors_WD

    def scores(self, query_D: Doubles) -> Doubles:
        """Dot products (N,) of every item with the query, in single precision as the vectors are."""
        return self.interest(query_D).of(None)

    def interest(self, query_D: Doubles) -> "Query":
        """The same, of any items."""
        return Query(self, query_D.astype(np.float32), self._vectors(len(query_D)))

    def among(self, vectors_ND: Floats) -> Floats:
        """Vectors of those that may be candidates for the interests' sake, together."""
        if self._among_AD is None:
            self._among_AD = vectors_ND[[] if self.copy is None else self.copy.among]
        return self._among_AD

    def cosines(self, vector_D: Floats) -> Doubles:
        """Cosines (N,) of every item with a vector, biases aside."""
        if self._length_N is None:
            self._length_N = np.sqrt(np.einsum("nd,nd->n", self.vectors_ND[:, :-1], self.vectors_ND[:, :-1]))
        length_N = np.maximum(self._length_N, 1e-30)
        length = max(float(np.linalg.norm(vector_D[:-1])), 1e-30)
        query_D = np.append(vector_D[:-1] / length, 0.0).astype(np.float32)
        return np.asarray(self._vectors(len(query_D)) @ query_D / length_N, np.float64)

    def _vectors(self, width: int) -> Floats:
        if self.ids and self.width != width:
            raise InputError(
                f"store: items have width {self.width}, the user {width}: two runs wrote under "
                "one name; give each its own (?run=NAME in the URL) and replay again"
            )
        return self.vectors_ND.reshape(-1, width)


class Query(NamedTuple):
    """Dot products with one query, in single precision as the vectors are."""

    catalogue: Catalogue
    query_D: Floats
    vectors_ND: Floats

    def of(self, rows: Int64s | slice | None) -> Doubles:
        """Of some rows, or of all."""
        vectors_CD = self.vectors_ND if rows is None else self.vectors_ND[rows]
        return np.asarray(vectors_CD @ self.query_D, np.float64)

    def of_among(self) -> Doubles:
        """Of those that may be candidates for the interests' sake."""
        return np.asarray(self.catalogue.among(self.vectors_ND) @ self.query_D, np.float64)


def _keys(ids: list[str]) -> Int64s:
    return np.array([key_of(identifier) for identifier in ids], np.int64)


class Follower:
    """What a store has of a run, as of the newest version: read whole once, then what has changed.

    For one thread at a time: a catalogue is brought up to date in place. Raises InputError where nothing was
    published.
    """

    def __init__(self, store: EmbeddingStore) -> None:
        pointer = store.pointer()
        info = store.info(pointer.at)
        if info is None:
            raise InputError(f"{store}: nothing was published under this name; replay a log into it first")
        self._store = store
        self.info = info
        self.at = pointer.at
        """Which version is read: the newest, or one that was kept; rows that go with it are of that one."""
        self._told, self._moved, self._position = pointer.told, (-1, b""), NOWHERE
        self._catalogue: Catalogue | None = None

    @property
    def held(self) -> Catalogue:
        """As it was at the last call of `catalogue`."""
        return self.catalogue() if self._catalogue is None else self._catalogue

    @property
    def version(self) -> int:
        """Of what is held; 0 before anything is."""
        return max(self._moved[0], 0)

    def look(self) -> Pointer:
        """Bring `info` up to date; where readers are pointed."""
        pointer = self._store.pointer()
        if pointer.told != self._told:
            self.info = self._store.info(pointer.at) or self.info
            self._told = pointer.told
            if self._catalogue is not None:
                self._catalogue.weigh(self.info.copy)
        return pointer

    def catalogue(self) -> Catalogue:
        """All of the version that readers are pointed at, and of no other. Raises as `items` does."""
        pointer = self.look()
        moved = (pointer.version, pointer.moved)
        if self._catalogue is None or moved != self._moved:
            if pointer.at != NEWEST:
                made, self._position = Catalogue(self._store.items(pointer.at), self.info.copy), NOWHERE
            else:
                made, moved = self._followed(moved)
            self._catalogue, self._moved, self.at = made, moved, pointer.at
        return self._catalogue

    def _followed(self, moved: tuple[int, bytes]) -> tuple[Catalogue, tuple[int, bytes]]:
        """The newest version, and the move to it: what is held with what has changed since, or all anew.

        Where the feed does not tell, what is read may be newer than the move that was seen before.
        """
        for held in (self._catalogue, None):
            position = self._position if held else self._store.position("items")
            made = held or Catalogue(self._store.items(), self.info.copy)
            changes = self._store.changes("items", position)
            if changes is not None and made.take(changes):
                self._position = changes.position
                return made, changes.as_of
        self._position = position
        return made, moved
