"""What a log's files are opened by: their head, their mapping, their side tables."""

from pathlib import Path

from replay.arrow import Column
from replay.canonical import joined
from replay.chunks import BadRow, RowsFile
from replay.convert import Converter
from replay.decide import cells_of
from replay.files import open_file
from replay.log_files import LogFiles
from replay.mapping import Mapping, resolve
from replay.separated import SeparatedFile
from replay.sides import Side, find_id, side_of
from state.errors import InputError

HEAD_ROWS = 10_000


def head(found: LogFiles, columns: list[str]) -> dict[str, Column]:
    """The first rows of the log, whatever its chunks. Raises InputError if there are none."""
    parts: dict[str, list[Column]] = {name: [] for name in columns}
    rows = 0
    bad: BadRow | None = None
    for file in found.events:
        for chunk in file.chunks([name for name in columns if name in file.columns]):
            for name in chunk.columns:
                parts[name].append(cells_of(chunk, name)[: HEAD_ROWS - rows])
            rows += len(chunk)
            bad = bad or next(iter(chunk.bad), None)
            if rows >= HEAD_ROWS:
                return {name: joined(arrays) for name, arrays in parts.items()}
    if rows == 0:
        what = (
            "holds no events"
            if bad is None
            else f"holds no row that can be read ({bad.reason}: {bad.detail})"
        )
        raise InputError(f"{found.name}: the log {what}; give one that does")
    return {name: joined(arrays) for name, arrays in parts.items()}


def resolved_mapping(said: Mapping, found: LogFiles) -> Mapping:
    for file in found.events:
        if file.doubt:
            raise InputError(f"{file.path}: {file.doubt}")
    first = found.events[0]
    try:
        return resolve(said, first.columns, found.name)
    except InputError as error:
        if isinstance(first, SeparatedFile) and first.hint:
            raise InputError(f"{error}; {first.hint}") from error
        raise


def check_columns(files: tuple[RowsFile, ...], needed: list[str]) -> None:
    for file in files:
        missing = [name for name in needed if name not in file.columns]
        if missing:
            raise InputError(
                f"{file.path}: no column {missing[0]!r}, which the log's first file has; there are "
                f"{', '.join(file.columns)}"
            )


def side_table(
    said: str | Path | None,
    found: tuple[RowsFile, ...],
    kind: str,
    converter: Converter,
    types: dict[str, str],
) -> Side | None:
    files = found if said is None else (open_file(Path(said)),)
    if not files:
        return None
    id_ = find_id(files[0].columns, kind, converter.mapping.columns[kind]) or ""
    clock = converter.clock
    day_first = clock.day_first if clock.form is None else clock.form.day_first
    return side_of(files, kind, converter.names, types, id_, converter.ids[kind], day_first)
