"""What a Flink job goes on from: checkpoints and savepoints in a folder, and what they belong to.

A folder belongs to one group on one topic; a file beside the checkpoints, and within every savepoint,
says so: Flink itself would restore whatever it is given, and go on at offsets that mean something else.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from ebbtide.writable import writing
from state.errors import InputError
from streams.engines.engine_config import altered

OWNER_FILE = "ebbtide.json"
FORMAT = 5
"""Of the job: names of operators, keys, and what they keep (until 4 an entry a record, until 3 messages)."""
_WHOLE = "_metadata"
"""Is put in its place when all else is there."""


class Belongs(msgspec.Struct, frozen=True, kw_only=True):
    """Whose state it is."""

    format: int = FORMAT
    flink: str
    group: str
    events: str
    topic_id: str | None
    partitions: int
    made_by: dict[str, Any]
    """The settings of the engine."""


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint or savepoint."""
    whole = [*folder.glob(f"*/chk-*/{_WHOLE}"), *folder.glob(f"savepoints/savepoint-*/{_WHOLE}")]
    return max(whole, key=lambda path: path.stat().st_mtime_ns).parent if whole else None


def is_savepoint(path: Path) -> bool:
    return not path.name.startswith("chk-")


def owner_of(path: Path) -> Belongs:
    """Whose a checkpoint or savepoint is. Raises InputError."""
    if not (path / _WHOLE).is_file():
        raise InputError(f"--from {path}: expected a whole checkpoint or savepoint, got none: no {_WHOLE}")
    belongs = _read(path) or _read(path.parent.parent)
    if belongs is None:
        raise InputError(f"--from {path}: expected a savepoint of ebbtide, got one without {OWNER_FILE}")
    return belongs


def _read(folder: Path) -> Belongs | None:
    try:
        return msgspec.json.decode((folder / OWNER_FILE).read_bytes(), type=Belongs)
    except OSError:
        return None
    except msgspec.MsgspecError as error:
        raise InputError(
            f"{folder / OWNER_FILE}: expected what a savepoint belongs to, got {error}"
        ) from error


def begun(folder: Path, now: Belongs) -> bool:
    """Whether a job has begun there, so that what it made before its first checkpoint is computed again.

    Raises InputError where it was another.
    """
    was = _read(folder)
    if was is not None:
        _check(folder, was, now)
    return was is not None


def check(path: Path, now: Belongs) -> None:
    """Raises InputError where what is saved there cannot be gone on from."""
    _check(path, owner_of(path), now)


def _check(path: Path, was: Belongs, now: Belongs) -> None:
    check_version(path, was, now.flink)
    if (was.group, was.events) != (now.group, now.events):
        raise InputError(
            f"{path}: belongs to the group {was.group!r} on {was.events!r}, expected {now.group!r} on "
            f"{now.events!r}; name another --checkpoints"
        )
    if None not in (was.topic_id, now.topic_id) and was.topic_id != now.topic_id:
        raise InputError(
            f"{now.events}: the topic was made anew since {path}, so its offsets mean nothing any more; "
            "begin in another --checkpoints, with another --group"
        )
    if now.partitions < was.partitions:
        raise InputError(
            f"{now.events}: expected at least {was.partitions} partitions, as when {path} was made, "
            f"got {now.partitions}"
        )
    both = altered(was.made_by, now.made_by)
    if both:
        differ = ", ".join(f"{name} was {before}, is {after}" for name, before, after in both)
        raise InputError(
            f"{path}: made with other settings: {differ}; use the same, or another --checkpoints and --group"
        )


def check_version(path: Path, was: Belongs, flink: str) -> None:
    """Raises InputError where it was not made by this version, on this one of Flink's."""
    if (was.format, was.flink.rpartition(".")[0]) != (FORMAT, flink.rpartition(".")[0]):
        raise InputError(
            f"{path}: made by format {was.format} on Flink {was.flink}, expected format {FORMAT} on "
            f"Flink {flink}; go on with the version that made it, or begin in another --checkpoints"
        )


def label(path: Path, folder: Path) -> None:
    """Say within a savepoint whose it is: it may be taken elsewhere."""
    if (folder / OWNER_FILE).exists():
        shutil.copy(folder / OWNER_FILE, path / OWNER_FILE)


def write(folder: Path, belongs: Belongs) -> None:
    """Say whose the folder is. Raises InputError where it cannot be written."""
    with writing("--checkpoints", folder, "; name another"):
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{OWNER_FILE}.{os.getpid()}"
        aside.write_bytes(msgspec.json.encode(belongs))
        aside.replace(folder / OWNER_FILE)
