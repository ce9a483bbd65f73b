"""State as data: a tree of arrays and scalars that can be digested, written and read without code.

Whatever has state offers `tree()` and `load(tree)`. Arrays are trimmed to what is in use, so the digest
does not depend on how much room was reserved.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Leaf = NDArray[Any] | int | float | str | bool | None
Tree = dict[str, Any]
"""Nested dictionaries with `Leaf` leaves; keys hold no '/'."""


class Stateful(Protocol):
    """What a checkpoint can hold."""

    def tree(self) -> Tree: ...

    def load(self, tree: Tree) -> None: ...


def flatten(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    """Leaves with their paths, sorted by path."""
    for name in sorted(tree):
        value = tree[name]
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def empties(tree: Tree, prefix: str = "") -> Iterator[str]:
    """Paths of dictionaries with nothing in them, which have no leaves."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from empties(value, f"{prefix}{name}/") if value else [prefix + name]


def differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Where two nested dictionaries differ: (path with dots, here, there), None where there is nothing."""
    differences: list[tuple[str, Any, Any]] = []
    for name in sorted(left.keys() | right.keys()):
        a, b = left.get(name), right.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            differences += [(f"{name}.{path}", *both) for path, *both in differing(a, b)]
        elif a != b:
            differences.append((name, a, b))
    return differences


def filled(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """`earlier`, with what is in `now` wherever it says nothing: settings that its build did not know."""
    return {
        **{name: value for name, value in now.items() if name not in earlier},
        **{
            name: filled(value, now[name])
            if isinstance(value, Mapping) and isinstance(now.get(name), Mapping)
            else value
            for name, value in earlier.items()
        },
    }


def unflatten(leaves: dict[str, Leaf]) -> Tree:
    """The inverse of `flatten`."""
    tree: Tree = {}
    for path, value in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def digest(tree: Tree) -> str:
    """BLAKE2b over every path, type, shape and byte of `tree`; 32 hexadecimal digits."""
    hasher = hashlib.blake2b(digest_size=16)
    for path, value in flatten(tree):
        hasher.update(path.encode() + b"\0")
        if isinstance(value, np.ndarray):
            hasher.update(f"{value.dtype.str}{value.shape}\0".encode())
            hasher.update(np.ascontiguousarray(value).tobytes())
        else:
            hasher.update(json.dumps(value).encode() + b"\0")
    return hasher.hexdigest()
