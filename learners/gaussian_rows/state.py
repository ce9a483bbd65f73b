"""What Gaussian rows remember: the weights, and the features of rows whose outcome is not known yet."""

import numpy as np

from learners.gaussian_rows.kernels import USED, GaussianWeights, Store
from state.errors import InputError
from state.examples import Doubles
from state.keys import Int64s, KeyMap
from state.tree import Tree


class WeightTable:
    """Feature key -> mean, variance and last use; never more than `most_rows` of them."""

    def __init__(self, prior_K: Doubles, forget_K: Doubles, most_rows: int) -> None:
        self.prior_K, self.forget_K, self.most_rows = prior_K, forget_K, most_rows
        self.map = KeyMap()
        self.weight_N3: Doubles = np.zeros((0, 3))
        self.doubt_2: Doubles = np.zeros(2)

    def __len__(self) -> int:
        return len(self.map)

    @property
    def room(self) -> int:
        """Weights that fit without `make_room`."""
        return min(len(self.map.keys), self.most_rows)

    def view(self) -> GaussianWeights:
        """For kernels, until the next `make_room`."""
        return GaussianWeights(self.map.arrays, self.weight_N3, self.prior_K, self.forget_K, self.doubt_2)

    def doubt(self, before: float, share: float) -> None:
        """Weights that were last used before this row are less certain from now on."""
        self.doubt_2[:] = before, share

    def make_room(self, extra: int, least: int, waiting: "WaitingFeatures") -> None:
        """Grow by `extra` weights as far as `most_rows` allows; where not even `least` fit, drop the half
        that was used longest ago.

        Raises InputError where the rows that wait for their outcome leave no room.
        """
        if len(self) + least > self.most_rows:
            used_N = self.weight_N3[: len(self), USED]
            self.drop(float(np.nextafter(np.median(used_N), np.inf)), waiting)
        if len(self) + least > self.most_rows:
            raise InputError(
                f"gaussian.most_rows: expected room for the {len(self)} weights of rows that wait for their "
                f"outcome and {least} more, got {self.most_rows}; raise it or shorten the label delay"
            )
        self.map.reserve(min(extra, self.most_rows - len(self)))
        if len(self.map.keys) > len(self.weight_N3):
            grown = np.zeros((len(self.map.keys), 3))
            grown[: len(self)] = self.weight_N3[: len(self)]
            self.weight_N3 = grown

    def drop(self, before: float, waiting: "WaitingFeatures") -> None:
        """Drop weights that were last used before this row, but those of rows that wait."""
        keep_N = self.weight_N3[: len(self), USED] >= before
        keep_N[waiting.rows()] = True
        moved_N = np.cumsum(keep_N) - 1
        kept = self.weight_N3[: len(self)][keep_N]
        self.map = KeyMap(self.map.keys[: len(self)][keep_N])
        self.weight_N3 = kept
        waiting.move(moved_N)

    def tree(self) -> Tree:
        doubt = {"doubt_2": self.doubt_2.copy()} if self.doubt_2.any() else {}
        return {"map": self.map.tree(), "weight_N3": self.weight_N3[: len(self)].copy(), **doubt}

    def load(self, tree: Tree) -> None:
        self.map.load(tree["map"])
        self.weight_N3 = np.array(tree["weight_N3"])
        self.doubt_2[:] = tree.get("doubt_2", 0.0)


class WaitingFeatures:
    """Features as scored, first in first out; as long as the trainer's queue."""

    def __init__(self) -> None:
        self.store = store_of(64, 1024)

    def __len__(self) -> int:
        return int(self.store.ends[1] - self.store.ends[0])

    def reserve(self, rows: int, features: int) -> None:
        """Make room for `rows` more with `features` in all, at a constant cost per row."""
        old, used = self.store, self._used()
        head, tail = (int(end) for end in old.ends)
        if tail + rows <= len(old.offset_P) and used.stop + features <= len(old.row_L):
            return
        need_rows, need_features = tail - head + rows, used.stop - used.start + features
        if 2 * need_rows > len(old.offset_P) or 2 * need_features > len(old.row_L):
            self.store = store_of(4 * need_rows, 4 * need_features)
        self.store.start_P1[: tail - head + 1] = old.start_P1[head : tail + 1] - used.start
        self.store.offset_P[: tail - head] = old.offset_P[head:tail]
        for name in ("row_L", "kind_L", "x_L"):
            getattr(self.store, name)[: used.stop - used.start] = getattr(old, name)[used]
        self.store.ends[:] = 0, tail - head

    def rows(self) -> Int64s:
        """The weights that waiting rows use."""
        return self.store.row_L[self._used()]

    def move(self, moved_N: Int64s) -> None:
        """Weight n is now `moved_N[n]`."""
        used = self._used()
        self.store.row_L[used] = moved_N[self.store.row_L[used]]

    def _used(self) -> slice:
        first, last = self.store.start_P1[self.store.ends]
        return slice(int(first), int(last))

    def tree(self) -> Tree:
        head, tail = (int(end) for end in self.store.ends)
        used = self._used()
        return {
            "start_P1": self.store.start_P1[head : tail + 1] - used.start,
            "offset_P": self.store.offset_P[head:tail].copy(),
            **{name: getattr(self.store, name)[used].copy() for name in ("row_L", "kind_L", "x_L")},
        }

    def load(self, tree: Tree) -> None:
        size = len(tree["offset_P"])
        self.store = Store(np.array([0, size]), *(np.array(tree[name]) for name in Store._fields[1:]))


def store_of(rows: int, features: int) -> Store:
    """An empty store with room for so many rows, with so many features in all."""
    return Store(
        np.zeros(2, np.int64),
        np.zeros(rows + 1, np.int64),
        np.zeros(rows),
        np.zeros(features, np.int64),
        np.zeros(features, np.int64),
        np.zeros(features),
    )
