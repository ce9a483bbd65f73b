"""A group's state in a folder, on its way from one engine to another.

`DIR/partition-N` holds a checkpoint (`state.checkpoint`) of one partition's records, sorted by key: equal
states are equal files, and a damaged one is refused.

Shape suffixes: R records, B bytes.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state import checkpoint
from state.errors import InputError
from state.tree import Tree

FORMAT = 1
_PARTITION = re.compile(r"partition-(\d+)")


@dataclass(frozen=True, slots=True)
class Kept:
    """The records of one partition of the topic of events."""

    topic: str
    partition: int
    records: dict[bytes, bytes]


def write(folder: Path, kept: Kept, events: int) -> None:
    """One partition, after so many events. Raises OSError."""
    keys = sorted(kept.records)
    tree: Tree = {
        "format": FORMAT,
        "topic": kept.topic,
        "partition": kept.partition,
        "keys": _packed(keys),
        "values": _packed([kept.records[key] for key in keys]),
    }
    checkpoint.save(folder / f"partition-{kept.partition}", events, tree)


def partitions(folder: Path) -> list[int]:
    """Those that a folder has."""
    matches = (_PARTITION.fullmatch(path.name) for path in folder.glob("partition-*"))
    return sorted(int(match[1]) for match in matches if match)


def read(folder: Path, partition: int) -> Kept:
    """Raises InputError where there is none that is whole, or it is of another format."""
    path = folder / f"partition-{partition}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", checkpoint.CheckpointWarning)
        try:
            saved = checkpoint.load(path)
        except checkpoint.CheckpointWarning as error:
            raise InputError(f"{path}: expected a state that is whole; export it again ({error})") from error
    if saved is None:
        raise InputError(f"{path}: expected an exported state, got none")
    tree = saved[1]
    if tree.get("format") != FORMAT:
        raise InputError(
            f"{path}: expected format {FORMAT} of exported states, got {tree.get('format')}; export it with "
            "the version that is to import it"
        )
    records = dict(zip(_unpacked(tree["keys"]), _unpacked(tree["values"]), strict=True))
    return Kept(tree["topic"], tree["partition"], records)


def _packed(texts_R: Sequence[bytes]) -> Tree:
    return {
        "bytes": np.frombuffer(b"".join(texts_R), np.uint8),
        "length": np.array([len(text) for text in texts_R], np.int64),
    }


def _unpacked(packed: Mapping[str, NDArray[Any]]) -> list[bytes]:
    whole, ends = packed["bytes"].tobytes(), np.cumsum(packed["length"]).tolist()
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]
