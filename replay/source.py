"""A log, opened: the one door through which events come in from files.

    log = Log.open("checkins.csv.gz", items="pois.csv")
    for events in log.batches(1024):
        ...

Opening looks over the whole log once (`survey`), so that what is wrong is said before the run begins and the
run knows how much is to come. `batches` then reads it again, in constant memory.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from replay.arrow import Column
from replay.canonical import joined
from replay.cells import dotted
from replay.chunks import BadRow, RowsFile
from replay.convert import Columns, Converter
from replay.dead import DeadLetters
from replay.files import open_file
from replay.found import find
from replay.labels import LabelRule, parse_rule, usual_rule
from replay.log_files import LogFiles
from replay.mapping import ROW_ORDER, Mapping, resolve
from replay.order import Ties, cut, shuffled_ties, size_of, sorted_by_time, take
from replay.places import fill_places, single_category
from replay.separated import SeparatedFile
from replay.sides import find_id, side_of
from replay.survey import Survey, Surveyor
from replay.times import Clock, find_unit, time_ms
from replay.zones import Zone
from state.errors import InputError
from state.keys import Names
from state.side import SideTable
from streams.schema import ROLES, EventBatch

HEAD_ROWS = 10_000
_PIECE_ROWS = 1 << 16
_COPIES = 4
NO_LABEL = "none"


class Log:
    """A log of events in time order, with its side tables and what is known of it."""

    def __init__(
        self,
        *,
        found: LogFiles,
        converter: Converter,
        items: SideTable | None,
        users: SideTable | None,
        bounds_ms: tuple[int | None, int | None],
        limit: int | None,
        seed: int,
        memory_mb: int,
        label_rule: str | None,
        notes: list[str],
    ) -> None:
        self.name = found.name
        self.mapping = converter.mapping
        self.names: Names = converter.names
        self.items, self.users = items, users
        self.label_rule = label_rule
        self.notes = notes
        self.dead = DeadLetters()
        """Of the last pass over the log."""
        self._files = found.events
        self._converter = converter
        self._from_ms, self._until_ms = bounds_ms
        self._limit = limit
        self._seed = seed
        self._memory_mb = memory_mb
        self._category = single_category(items) if items and "category" not in self.mapping.columns else None
        self.survey = self._look()
        self.roles = self.survey.roles

    @classmethod
    def open(
        cls,
        log: str | Path,
        *,
        mapping: Mapping | None = None,
        label: str | None = None,
        items: str | Path | None = None,
        users: str | Path | None = None,
        from_: str | None = None,
        until: str | None = None,
        limit: int | None = None,
        seed: int = 0,
        memory_mb: int = 256,
    ) -> "Log":
        """Open a file, a folder or a known log.

        `label` is a rule, or `none` for a log that is to be taken as one of positives only. `from_` and
        `until` are times (the first inside, the last outside), `limit` a number of events in time order.
        `memory_mb` bounds what sorting holds. Raises InputError on anything the caller can mend.
        """
        said = mapping or Mapping()
        found = find(log, said)
        said = said.over(found.mapping)
        resolved = _resolved(said, found)
        mapped = set(resolved.columns.values())
        head = _head(found, [name for name in found.events[0].columns if name in mapped])
        notes = list(found.notes)
        clock = _clock(resolved, head, found.name)
        rule, sentence = _rule(label or found.label, resolved, found, head)
        zone = _zone(resolved, found.events[0].columns)
        names = Names()
        converter = Converter(resolved, clock, rule, zone, names)
        _check_columns(found.events, converter.needed)
        if limit is not None and limit < 1:
            raise InputError(f"--limit {limit}: expected at least 1")
        notes.append(sentence)
        if "text" in resolved.columns:
            notes.append(f"column {resolved.columns['text']!r} (text) is not read: events carry no text")
        while True:
            opened = cls(
                found=found,
                converter=converter,
                items=_side(items, found.items, "item", converter, found.item_types),
                users=_side(users, found.users, "user", converter, found.user_types),
                bounds_ms=(
                    None if from_ is None else time_ms(from_, clock.ticks),
                    None if until is None else time_ms(until, clock.ticks),
                ),
                limit=limit,
                seed=seed,
                memory_mb=memory_mb,
                label_rule=None if rule is None else str(_as_said(rule, resolved)),
                notes=list(notes),
            )
            if converter.settled:
                return opened
            converter.reread()

    @property
    def labelled(self) -> bool:
        return self._converter.rule is not None

    @property
    def rows(self) -> int:
        """How many events `batches` hands on."""
        return self.survey.rows if self._limit is None else min(self._limit, self.survey.rows)

    @property
    def place_of_item(self) -> bool:
        """Whether an event's place is its item's, read from the events or borrowed from the item table."""
        return self.survey.place_of_item

    def batches(self, size: int, skip: int = 0, dead_letters: Path | None = None) -> Iterator[EventBatch]:
        """The events in batches of `size`, the last shorter, without the first `skip`.

        `offset_B` counts events from the log's first, so a run that stopped after n goes on with `skip=n`.
        Bad rows are counted in `dead` and written to the folder `dead_letters`, in every pass from the log's
        beginning.
        """
        with DeadLetters(dead_letters) as self.dead:
            offset = 0
            for columns in cut(self._from(skip), size):
                events = _events(columns, skip + offset)
                offset += len(events)
                if self.items is not None:
                    events = fill_places(events, self.items, self._category, places=self.place_of_item)
                yield events

    def _from(self, skip: int) -> Iterator[Columns]:
        """Columns in the order in which events are handed on, within the limit, after `skip` of them."""
        end = self.rows
        at = 0
        for columns in self._ordered():
            size = size_of(columns)
            if at + size > skip:
                yield take(columns, slice(max(0, skip - at), min(size, end - at)))
            at += size
            if at >= end:
                return

    def _ordered(self) -> Iterator[Columns]:
        survey = self.survey
        ties = Ties(self._seed if survey.ties_sorted else None)
        chunks = self._chunks(self.dead)
        memory_rows = max(256, (self._memory_mb << 20) // (8 * _COPIES * (len(self.roles) + 2)))
        if not survey.in_order or (survey.ties_sorted and survey.longest_tie > memory_rows):
            return sorted_by_time(chunks, ties, memory_rows)
        return shuffled_ties(chunks, ties) if survey.ties_sorted else chunks

    def _chunks(self, dead: DeadLetters) -> Iterator[Columns]:
        """Every file's rows in the files' order, within the time bounds, numbered by `seq`."""
        self._converter.restart()
        seq = 0
        for file in self._files:
            for chunk in file.chunks(self._converter.needed):
                columns, _, bad = self._converter.columns(chunk)
                if bad:
                    dead.add(file.path, bad)
                time_ms_B = columns["time_ms"]
                columns["seq"] = np.arange(seq, seq + len(time_ms_B))
                seq += len(time_ms_B)
                inside_B = np.ones(len(time_ms_B), np.bool_)
                if self._from_ms is not None:
                    inside_B &= time_ms_B >= self._from_ms
                if self._until_ms is not None:
                    inside_B &= time_ms_B < self._until_ms
                yield columns if inside_B.all() else take(columns, np.flatnonzero(inside_B))

    def _look(self) -> Survey:
        dead = DeadLetters()
        surveyor = Surveyor(self.names)
        for columns in cut(self._chunks(dead), _PIECE_ROWS):
            surveyor.add(columns)
        if surveyor.rows == 0:
            self._refuse(dead)
        clock = self._converter.clock
        placed = bool({"lat", "place"} & set(self.mapping.columns))
        borrowed = self.items is not None and self.items.lat_N is not None
        of_item = surveyor.item_places.of_item if placed else borrowed
        survey = surveyor.survey(
            unit="tick" if self.mapping.columns["time"] == ROW_ORDER else clock.unit,
            roles=self._all_roles(borrowed and of_item),
            dead=dict(dead.counts.most_common()),
            place_of_item=of_item,
        )
        if self._converter.decimal_commas:
            with_commas = ", ".join(self._converter.decimal_commas)
            self.notes.append(f"decimal comma in {with_commas}: a number such as 3,5 is read as 3.5")
        if not survey.in_order:
            self.notes.append("sorted by time: the log was not in time order")
        if survey.ties_sorted:
            self.notes.append(
                f"equal times shuffled by seed: {max(survey.tie_ascending, 1 - survey.tie_ascending):.0%} of "
                "neighbours with equal time were sorted by item, which would leak what comes next"
            )
        if survey.unit == "tick":
            self.notes.append("times only give an order: one tick counts as one second")
        if of_item:
            self.notes.append("places are the items': a place view goes by where the user was last")
        return survey

    def _refuse(self, dead: DeadLetters) -> None:
        bounded = self._from_ms is not None or self._until_ms is not None
        if dead.counts and not bounded:
            raise InputError(
                f"{self.name}: not one of its rows is an event ({dead.said()}); check the mapping "
                f"({' '.join(self.mapping.flags())}) with `ebbtide data inspect`"
            )
        raise InputError(
            f"{self.name}: no event between --from and --until; widen them"
            if bounded
            else f"{self.name}: the log holds no events; give one that does"
        )

    def _all_roles(self, borrowed: bool) -> frozenset[str]:
        roles = set(self.mapping.columns) - {"text", "label"}
        if self.labelled:
            roles.add("label")
        if borrowed:
            roles |= {"lat", "lon"}
        if self._category is not None:
            roles.add("category")
        return frozenset(roles)


def _events(columns: Columns, offset: int) -> EventBatch:
    size = size_of(columns)
    given = {role: column for role, column in columns.items() if role != "seq"}
    return EventBatch.of(offset=np.arange(offset, offset + size), **given)


def _head(found: LogFiles, columns: list[str]) -> dict[str, Column]:
    """The first rows of the log, whatever its chunks. Raises InputError if there are none."""
    parts: dict[str, list[Column]] = {name: [] for name in columns}
    rows = 0
    bad: BadRow | None = None
    for file in found.events:
        for chunk in file.chunks([name for name in columns if name in file.columns]):
            for name in chunk.columns:
                column = chunk.cells(name)[0][: HEAD_ROWS - rows]
                parts[name].append(dotted(column) if chunk.decimal_comma else column)
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


def _resolved(said: Mapping, found: LogFiles) -> Mapping:
    for file in found.events:
        if isinstance(file, SeparatedFile):
            file.refuse_one_column()
    first = found.events[0]
    try:
        return resolve(said, first.columns, found.name)
    except InputError as error:
        if isinstance(first, SeparatedFile) and first.hint:
            raise InputError(f"{error}; {first.hint}") from error
        raise


def _clock(mapping: Mapping, head: dict[str, Column], name: str) -> Clock:
    column = mapping.columns["time"]
    if column == ROW_ORDER:
        return Clock("tick", 0, 0)
    unit = mapping.time_unit or find_unit(head[column], f"{name}: the time, column {column!r},")
    return Clock(unit, time_ms(mapping.earliest), time_ms(mapping.latest))


def _zone(mapping: Mapping, columns: list[str]) -> Zone | None:
    said = mapping.columns.get("tz")
    return None if said is None or said in columns else Zone.of(said)


def _rule(
    label: str | None, mapping: Mapping, found: LogFiles, head: dict[str, Column]
) -> tuple[LabelRule | None, str]:
    """The label rule with its column, and a sentence about it."""
    if label == NO_LABEL:
        return None, "no label, as was said: every event is a positive"
    if label is None:
        by_role = {role: head[column] for role, column in mapping.columns.items() if column in head}
        rule, sentence = usual_rule(frozenset(mapping.columns), by_role)
    else:
        rule = parse_rule(label)
        sentence = f"label: {rule}"
    if rule is None:
        return None, sentence
    column = mapping.columns.get(rule.column, rule.column)
    if column not in found.events[0].columns:
        there = ", ".join(found.events[0].columns)
        raise InputError(f"--label {rule}: no role or column {rule.column!r}; there are {there}")
    return replace(rule, column=column), sentence


def _as_said(rule: LabelRule, mapping: Mapping) -> LabelRule:
    """The rule with the role in place of the column, where the column has one."""
    role = next((role for role in ROLES if mapping.columns.get(role) == rule.column), rule.column)
    return replace(rule, column=role)


def _check_columns(files: tuple[RowsFile, ...], needed: list[str]) -> None:
    for file in files:
        missing = [name for name in needed if name not in file.columns]
        if missing:
            raise InputError(
                f"{file.path}: no column {missing[0]!r}, which the log's first file has; there are "
                f"{', '.join(file.columns)}"
            )


def _side(
    said: str | Path | None, found: RowsFile | None, kind: str, converter: Converter, types: dict[str, str]
) -> SideTable | None:
    file = found if said is None else open_file(Path(said))
    if file is None:
        return None
    id_ = find_id(file.columns, kind, converter.mapping.columns[kind]) or ""
    return side_of(file, kind, converter.names, types, id_, converter.ids[kind])
