"""A folder as a log: which of its files are the events, and which describe items and users.

Files with the same columns belong together. The events are the biggest such group in which somebody does
something with an item at some time; a table in which every row has another item's (user's) id describes
them. Whatever is neither is left alone.
"""

from pathlib import Path

import numpy as np

from replay.cells import Ids
from replay.chunks import RowsFile
from replay.files import is_rows, open_file
from replay.log_files import LogFiles
from replay.mapping import Mapping, guess, resolve
from replay.sides import find_id
from replay.usual import plain
from state.errors import InputError

_UNIQUE_SHARE = 0.95


def open_folder(path: Path, said: Mapping) -> LogFiles:
    """The log in a folder and its sub-folders, files in the order of their names. Raises InputError."""
    paths = sorted(p for p in path.rglob("*") if p.is_file() and is_rows(p.relative_to(path)))
    if not paths:
        raise InputError(
            f"{path}: no Parquet, CSV, JSON-lines or Arrow file in this folder; give one that has"
        )
    groups: dict[tuple[str, ...], list[RowsFile]] = {}
    for file in map(open_file, paths):
        groups.setdefault(tuple(sorted(file.columns)), []).append(file)
    by_size = sorted(groups.values(), key=_bytes, reverse=True)
    events = next((files for files in by_size if _are_events(files[0], said)), None)
    if events is None:
        resolve(said, by_size[0][0].columns, str(by_size[0][0].path))
        raise InputError(f"{path}: no file with a user, an item and a time; give the event file itself")
    roles = resolve(said, events[0].columns, str(path)).columns
    others = [files[0] for files in by_size if files is not events]
    items = next((file for file in others if _describes(file, "item", roles)), None)
    users = next((file for file in others if _describes(file, "user", roles) and file is not items), None)
    shown = [f"{kind}: {file.path.name}" for kind, file in (("items", items), ("users", users)) if file]
    files = events[0].path.name if len(events) == 1 else f"{len(events)} files"
    return LogFiles(
        name=str(path),
        events=tuple(events),
        items=items,
        users=users,
        notes=(f"folder: events: {'; '.join([files, *shown])}",),
    )


def _bytes(files: list[RowsFile]) -> int:
    return sum(file.path.stat().st_size for file in files)


def _are_events(file: RowsFile, said: Mapping) -> bool:
    try:
        resolve(said, file.columns, str(file.path))
    except InputError:
        return False
    return True


def _describes(file: RowsFile, kind: str, roles: dict[str, str]) -> bool:
    """Whether the file is a table of items (or users): the id is there, mostly once, and not the other's."""
    id_column = find_id(file.columns, kind, roles[kind])
    other = "user" if kind == "item" else "item"
    if id_column is None or plain(roles[other]) in map(plain, file.columns):
        return False
    if (
        plain(id_column) != plain(roles[kind])
        and guess(file.columns, str(file.path), roles=[kind]).get(kind) != id_column
    ):
        return False
    chunk = next(iter(file.chunks([id_column])), None)
    if chunk is None or len(chunk) == 0 or len(file.columns) < 2:
        return False
    keys = Ids(None).keys(chunk.columns[id_column])
    return len(np.unique(keys)) >= _UNIQUE_SHARE * len(keys)
