"""Texts in a tree: their bytes, one after another, and how many each has."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from state.tree import Tree


def to_tree(texts: Iterable[str]) -> Tree:
    """Any texts, lone surrogates among them."""
    pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    return {"lengths": lengths, "bytes": np.frombuffer(b"".join(pieces), np.uint8)}


def from_tree(tree: Tree) -> list[str]:
    """The inverse of `to_tree`."""
    ends = np.cumsum(tree["lengths"]).tolist()
    whole = np.asarray(tree["bytes"]).tobytes()
    return [whole[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise([0, *ends])]
