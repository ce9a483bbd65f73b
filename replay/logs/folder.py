"""A folder as a log: which of its files are the events, and which describe items and users.

The events are decided by the files with one set of columns that are the biggest, and in which somebody does
something with an item at some time. All files that have the columns in use belong to them, whatever else they
have. A table in which every row has another item's (user's) id describes them. Folders called NAME=VALUE are
columns. What is hidden (`.` or `_` before the name), and checksums, are no data by rule; every other file
that is not used is named, with the reason.
"""

from pathlib import Path

import numpy as np

from replay.logs.log_files import LogFiles
from replay.meaning.mapping import ROW_ORDER, Mapping, guess, resolve, time_columns
from replay.meaning.sides import find_id
from replay.reading.cells import Ids
from replay.reading.chunks import RowsFile
from replay.reading.files import is_empty, is_rows, open_file
from replay.reading.partitions import PartitionFile, partition_columns
from replay.reading.usual_names import plain
from state.errors import InputError

_UNIQUE_SHARE = 0.95
_NAMED = 12
_HIDDEN = (".", "_")


def open_folder(path: Path, given: Mapping) -> LogFiles:
    """The log in a folder and its sub-folders, files in the order of their names. Raises InputError."""
    inside = sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file())
    data = [p for p in inside if not _is_hidden(p)]
    rows = [p for p in data if is_rows(p)]
    empty = [p for p in rows if is_empty(path / p)]
    opened = [_opened(path, p) for p in rows if p not in empty]
    if not opened:
        raise InputError(
            f"{path}: no Parquet, CSV, JSON-lines or Arrow file in this folder, or empty ones only; "
            "give one that has some"
        )
    groups: dict[tuple[str, ...], list[RowsFile]] = {}
    for file in opened:
        groups.setdefault(tuple(sorted(file.columns)), []).append(file)
    by_size = sorted(groups.values(), key=_bytes, reverse=True)
    main = next((files for files in by_size if _roles(files[0], given)), None)
    if main is None:
        resolve(given, by_size[0][0].columns, str(by_size[0][0].path))
        raise InputError(f"{path}: no file with a user, an item and a time; give the event file itself")
    roles = resolve(given, main[0].columns, str(path)).columns
    in_use = _in_use(roles, main[0].columns)
    events = tuple(file for file in opened if in_use.keys() <= set(file.columns))
    others = [files for files in by_size if files[0] not in events]
    items = _table(others, "item", roles)
    users = _table([files for files in others if files[0] not in items], "user", roles)
    shown = [
        f"{kind}: {_named(path, files)}" for kind, files in (("items", items), ("users", users)) if files
    ]
    what = _inside(path, events[0]) if len(events) == 1 else f"{len(events)} files"
    notes = [f"folder: events: {'; '.join([what, *shown])}"]
    for files, why in (
        (empty, "empty, passed over"),
        ([p for p in data if p not in rows], "not read, as the suffix is none of a table"),
    ):
        if files:
            notes.append(f"folder: {_list([str(p) for p in files])}: {why}")
    unused = [file for files in others for file in files if file not in items and file not in users]
    return LogFiles(
        name=str(path),
        events=events,
        items=tuple(items),
        users=tuple(users),
        notes=tuple(notes),
        warnings=(
            *_left_out(path, unused, given, in_use, roles),
            *_more_roles(path, groups, events, given, roles),
            *_more_columns(path, items),
            *_more_columns(path, users),
        ),
    )


def _is_hidden(inside: Path) -> bool:
    """Whether a file, or a folder it is in, is no data by its name."""
    names = (name for name in inside.parts if "=" not in name)
    return inside.suffix == ".crc" or any(name.startswith(_HIDDEN) for name in names)


def _opened(top: Path, inside: Path) -> RowsFile:
    file, partition = open_file(top / inside), partition_columns(inside)
    return PartitionFile(file, partition) if partition else file


def _bytes(files: list[RowsFile]) -> int:
    return sum(file.path.stat().st_size for file in files)


def _roles(file: RowsFile, given: Mapping) -> dict[str, str]:
    """The roles of a file of events, none where it is none."""
    try:
        return resolve(given, file.columns, str(file.path)).columns
    except InputError:
        return {}


def _in_use(roles: dict[str, str], columns: list[str]) -> dict[str, str]:
    """Column -> role of the columns that every file of events must have."""
    role_of: dict[str, str] = {}
    for role, mapped in roles.items():
        names = [mapped] if role != "time" else [] if mapped == ROW_ORDER else time_columns(mapped, columns)
        if role != "text":
            role_of |= {name: role for name in names if role != "tz" or name in columns}
    return role_of


def _left_out(
    top: Path, files: list[RowsFile], given: Mapping, in_use: dict[str, str], roles: dict[str, str]
) -> list[str]:
    """A sentence on the files that are neither events nor describe anybody, by what they lack."""
    by_reason: dict[str, list[RowsFile]] = {}
    for file in files:
        lacking = {column: role for column, role in in_use.items() if column not in file.columns}
        columns = ", ".join(repr(column) for column in lacking)
        why = f"no column {columns}, which the log's other files have and which is in use"
        if not set(lacking.values()) & {"user", "item", "time"}:
            without = " ".join(f"--map {role}=" for role in dict.fromkeys(lacking.values()))
            why += f"; {without} goes without, and takes them all"
        elif kind := next((kind for kind in ("item", "user") if _describes(file, kind, roles)), ""):
            why = f"another table of {kind}s, with other columns; join them to one"
        elif not _roles(file, given):
            why = f"no events (no column {columns}), and no table of items or users"
        by_reason.setdefault(why, []).append(file)
    return [f"{_named(top, same)} left out: {why}" for why, same in by_reason.items()]


def _more_roles(
    top: Path,
    groups: dict[tuple[str, ...], list[RowsFile]],
    events: tuple[RowsFile, ...],
    given: Mapping,
    roles: dict[str, str],
) -> list[str]:
    """A sentence on each column that would have a role, were it in all files of events."""
    notes: list[str] = []
    for files in groups.values():
        if files[0] in events:
            more = {role: name for role, name in _roles(files[0], given).items() if role not in roles}
            notes += [
                f"column {name!r} ({role}) is not read: it is in {_named(top, files)} only"
                for role, name in more.items()
            ]
    return notes


def _table(others: list[list[RowsFile]], kind: str, roles: dict[str, str]) -> list[RowsFile]:
    """The files of the biggest table of items (users), and those that have all of its columns."""
    main = next((files for files in others if _describes(files[0], kind, roles)), [])
    more = [
        file
        for files in others
        for file in files
        if main and files is not main and set(main[0].columns) < set(file.columns)
    ]
    return [*main, *(file for file in more if _describes(file, kind, roles))]


def _more_columns(top: Path, table: list[RowsFile]) -> list[str]:
    """A sentence on each column that only some files of a side table have."""
    where: dict[str, list[RowsFile]] = {}
    for file in table:
        for name in file.columns:
            if name not in table[0].columns:
                where.setdefault(name, []).append(file)
    return [
        f"column {name!r} is not read: it is in {_named(top, files)} only" for name, files in where.items()
    ]


def _inside(top: Path, file: RowsFile) -> str:
    return str(file.path.relative_to(top))


def _named(top: Path, files: list[RowsFile]) -> str:
    return _list([_inside(top, file) for file in files])


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join([*names[:_NAMED], *([f"and {more:,} more"] if more > 0 else [])])


def _describes(file: RowsFile, kind: str, roles: dict[str, str]) -> bool:
    """Whether the file is a table of items (or users): the id is there, mostly once, and not the other's."""
    id_column = find_id(file.columns, kind, roles[kind])
    other = "user" if kind == "item" else "item"
    if id_column is None or file.doubt or plain(roles[other]) in map(plain, file.columns):
        return False
    if (
        plain(id_column) != plain(roles[kind])
        and guess(file.columns, str(file.path), roles=[kind]).get(kind) != id_column
    ):
        return False
    chunk = next(iter(file.chunks([id_column])), None)
    if chunk is None or len(chunk) == 0 or len(file.columns) < 2:
        return False
    keys = Ids(None).keys(chunk.cells(id_column)[0])
    return len(np.unique(keys)) >= _UNIQUE_SHARE * len(keys)
