"""What a log's files are opened by: their head, their mapping, their side tables."""

from dataclasses import replace
from pathlib import Path

from replay.logs.log_files import LogFiles
from replay.meaning.convert import Converter
from replay.meaning.decide import cells_of
from replay.meaning.mapping import Mapping, resolve
from replay.meaning.sides import ReadSide, side_of
from replay.meaning.times import distinct
from replay.reading.arrow import Column
from replay.reading.canonical import joined
from replay.reading.chunks import BadRow, RowsFile
from replay.reading.files import open_file
from replay.reading.separated import SeparatedFile
from replay.reading.usual_names import plain
from state.errors import InputError
from streams.times import is_clock

HEAD_ROWS = 10_000
_DATES = ("date", "day", "dt", "ds", "event_date", "local_date")


def head(log: LogFiles, columns: list[str]) -> dict[str, Column]:
    """The first rows of the log, whatever its chunks. Raises InputError if there are none."""
    parts: dict[str, list[Column]] = {name: [] for name in columns}
    rows = 0
    bad: BadRow | None = None
    for file in log.events:
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
        raise InputError(f"{log.name}: the log {what}; give one that does")
    return {name: joined(arrays) for name, arrays in parts.items()}


def resolved_mapping(given: Mapping, log: LogFiles) -> Mapping:
    """Role -> column of a log, as far as it is given, else by usual names. Raises InputError."""
    for file in log.events:
        if file.doubt:
            raise InputError(f"{file.path}: {file.doubt}")
    first = log.events[0]
    try:
        resolved = resolve(given, first.columns, log.name)
    except InputError as error:
        if isinstance(first, SeparatedFile) and first.hint:
            raise InputError(f"{error}; {first.hint}") from error
        raise
    return resolved if "time" in given.columns else _with_its_parts(resolved, log)


def _with_its_parts(mapping: Mapping, log: LogFiles) -> Mapping:
    """The mapping; a time that holds nothing but clocks goes with the log's one column of dates, a day with
    its month and year."""
    time, mapped = mapping.columns["time"], mapping.columns.values()
    by_name = {plain(name): name for name in log.events[0].columns}
    if plain(time) == "day" and {"year", "month"} <= by_name.keys():
        day = "+".join((by_name["year"], by_name["month"], time))
        return replace(mapping, columns=mapping.columns | {"time": day})
    dates = [name for name in log.events[0].columns if name not in mapped and plain(name) in _DATES]
    if len(dates) != 1:
        return mapping
    texts, _ = distinct(head(log, [time])[time])
    if not texts or not all(map(is_clock, texts)):
        return mapping
    return replace(mapping, columns=mapping.columns | {"time": f"{dates[0]}+{time}"})


def check_columns(files: tuple[RowsFile, ...], needed: list[str]) -> None:
    """Raises InputError where a file lacks a column that is read."""
    for file in files:
        missing = [name for name in needed if name not in file.columns]
        if missing:
            raise InputError(
                f"{file.path}: no column {missing[0]!r}, which the log's first file has; there are "
                f"{', '.join(file.columns)}"
            )


def side_table(
    given: str | Path | None,
    own: tuple[RowsFile, ...],
    kind: str,
    converter: Converter,
    types: dict[str, str],
) -> ReadSide | None:
    """The table of a log's items or users, the one that is given or else its own."""
    files = own if given is None else (open_file(Path(given)),)
    if not files:
        return None
    like = converter.mapping.columns[kind]
    clock = converter.clock
    day_first = clock.day_first if clock.form is None else clock.form.day_first
    return side_of(files, kind, converter.names, types, like, converter.ids[kind], day_first)
