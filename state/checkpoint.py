"""Checkpoints: everything a run is, in one directory that is there whole or not at all.

A checkpoint `DIR/checkpoint-<events>/` holds `state.safetensors` (every array) and `manifest.json` (every
scalar, and the BLAKE2b digest of the arrays' file and of the manifest itself). It is written under a
temporary name, synced, and renamed; the newest two are kept. Nothing in it is code.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from state.errors import InputError
from state.tree import Leaf, Tree, empties, flatten, unflatten

FORMAT = 1
_ARRAYS, _MANIFEST, _PREFIX, _KEEP = "state.safetensors", "manifest.json", "checkpoint-", 2


class CheckpointWarning(UserWarning):
    """A checkpoint was refused and an older one is used."""


def save(directory: Path, events: int, tree: Tree) -> Path:
    """Write the state after `events` events; returns the new checkpoint's path.

    On any failure (a full disk, say) the older checkpoints are left as they were and the error is raised.
    """
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{_PREFIX}{events:012d}"
    temporary = directory / f".writing-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        leaves = dict(flatten(tree))
        arrays = {path: np.require(v, None, "C") for path, v in leaves.items() if isinstance(v, np.ndarray)}
        _save_arrays(arrays, temporary / _ARRAYS)
        body = {
            "format": FORMAT,
            "events": events,
            "arrays_blake2b": _file_digest(temporary / _ARRAYS),
            "scalars": {path: v for path, v in leaves.items() if not isinstance(v, np.ndarray)}
            | {path: {} for path in empties(tree)},
        }
        text = json.dumps(body, sort_keys=True)
        manifest = {"blake2b": hashlib.blake2b(text.encode()).hexdigest(), "body": body}
        (temporary / _MANIFEST).write_text(json.dumps(manifest, sort_keys=True))
        for path in (temporary / _ARRAYS, temporary / _MANIFEST, temporary):
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        _sync(directory)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in _checkpoints(directory)[_KEEP:]:
        shutil.rmtree(old)
    return target


def load(directory: Path) -> tuple[int, Tree] | None:
    """The newest checkpoint that is whole, as (events, tree); None where the directory holds none.

    One that is truncated or altered is refused with a CheckpointWarning and the one before it is used.
    Raises InputError if there are checkpoints but none is whole.
    """
    candidates = _checkpoints(directory)
    for path in candidates:
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            warnings.warn(
                f"{path}: refused ({error}); trying the one before it", CheckpointWarning, stacklevel=2
            )
    if candidates:
        raise InputError(f"{directory}: no checkpoint is whole; start again without --resume")
    return None


def oldest(directory: Path) -> int:
    """How many events the oldest checkpoint is after; 0 where there is none."""
    checkpoints = _checkpoints(directory)
    return int(checkpoints[-1].name.removeprefix(_PREFIX)) if checkpoints else 0


def _read(path: Path) -> tuple[int, Tree]:
    manifest = json.loads((path / _MANIFEST).read_text())
    body = manifest["body"]
    if hashlib.blake2b(json.dumps(body, sort_keys=True).encode()).hexdigest() != manifest["blake2b"]:
        raise ValueError("the manifest's digest does not match")
    if body["format"] != FORMAT:
        raise ValueError(f"format {body['format']}, expected {FORMAT}")
    if _file_digest(path / _ARRAYS) != body["arrays_blake2b"]:
        raise ValueError("the arrays' digest does not match")
    leaves: dict[str, Leaf] = {**body["scalars"], **load_file(path / _ARRAYS)}
    return int(body["events"]), unflatten(leaves)


def _checkpoints(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"{_PREFIX}*"), reverse=True) if directory.is_dir() else []


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b()).hexdigest()


def _save_arrays(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Raises OSError, whatever the writer makes of a full disk."""
    try:
        save_file(arrays, path)
    except SafetensorError as error:
        code_match = re.search(r"os error (\d+)", str(error))
        code = int(code_match[1]) if code_match else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
