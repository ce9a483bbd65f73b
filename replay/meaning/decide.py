"""What a log leaves open: how its times are read, and what counts as a positive.

Decided by the head of the log, so that it can be read at all, and once more by the whole of it.
"""

from collections.abc import Mapping as Pairs
from dataclasses import dataclass, replace

from replay.meaning.evidence import RatingEvidence, TimeEvidence, TimeReading
from replay.meaning.labels import LabelRule, parse_rule, usual_rule
from replay.meaning.mapping import EARLIEST, LATEST, ROW_ORDER, Mapping, time_columns
from replay.meaning.times import TimeReader, joined_times
from replay.meaning.zones import Zone
from replay.reading.arrow import Column
from replay.reading.cells import dotted
from replay.reading.chunks import Chunk
from state.errors import InputError
from streams.schema import ROLES
from streams.times import UNIT_WORDS, TimeFormat, time_ms

NO_LABEL = "none"


@dataclass(frozen=True, slots=True)
class Decided:
    """How a log is read."""

    clock: TimeReader
    rule: LabelRule | None
    """`column` is a column of the file here, not a role."""
    notes: tuple[str, ...]
    """Sentences about the choices."""


class Decisions:
    """What is open in a log, and what has been seen of it so far."""

    def __init__(self, mapping: Mapping, columns: list[str], label: str | None, name: str) -> None:
        """`columns` are those of the log's files, `label` a rule as it was said. Raises InputError."""
        self._mapping, self._name = mapping, name
        mapped = mapping.columns["time"]
        self.times = [] if mapped == ROW_ORDER else time_columns(mapped, columns)
        """Columns of the time: none where rows are the clock, several where its parts stand apart."""
        self._said = None if label in (None, NO_LABEL) else _said_rule(str(label), mapping, columns)
        self._asked = label is None
        self._form = None if mapping.time_format is None else TimeFormat(mapping.time_format)
        self.head: Decided
        self.begin()

    @property
    def columns(self) -> list[str]:
        """The columns that must be seen."""
        rating = self._mapping.columns.get("rating") if self._asked else None
        return [*self.times, *([rating] if rating is not None else [])]

    def take_as_head(self) -> None:
        """What has been seen so far is the head of the log, which decides at first. Raises InputError."""
        self.head = self.decide(final=False)

    def begin(self) -> None:
        """Forget what has been seen."""
        self._time = TimeEvidence(self._form)
        self._rating = RatingEvidence()

    def new_file(self) -> None:
        """What comes next is another file's."""
        self._time.new_file()

    def see(self, columns: Pairs[str, Column]) -> None:
        """Take more rows."""
        if self.times:
            self._time.add(time_column(columns, self.times))
        rating = self._mapping.columns.get("rating")
        if rating is not None and self._asked:
            self._rating.add(columns[rating])

    def decide(self, *, final: bool) -> Decided:
        """What it comes to; unless `final`, more is to come. Raises InputError where the caller must say."""
        rule, sentence = self._rule()
        reading = TimeReading("tick")
        if self.times:
            where = f"{self._name}: the time, column {self._mapping.columns['time']!r},"
            reading = self._time.reading(where, self._mapping.time_unit, final=final)
        clock = TimeReader(
            unit=reading.unit,
            earliest_ms=time_ms(self._mapping.earliest or EARLIEST, "--map earliest"),
            latest_ms=time_ms(self._mapping.latest or LATEST, "--map latest"),
            day_first=reading.day_first,
            form=self._form,
        )
        notes = [sentence, *([f"times: {reading.why}"] if reading.why else [])]
        if len(self.times) > 1:
            notes.append(f"times: the columns {', '.join(map(repr, self.times))} together")
        return Decided(clock, rule, tuple(notes))

    def _rule(self) -> tuple[LabelRule | None, str]:
        if self._said is not None:
            return self._said, f"label: {as_said(self._said, self._mapping)}"
        if not self._asked:
            return None, "no label, as was said: every event is a positive"
        rule, sentence = usual_rule(frozenset(self._mapping.columns), {"rating": self._rating.values})
        return (None if rule is None else replace(rule, column=self._mapping.columns[rule.column])), sentence


def cells_of(chunk: Chunk, name: str) -> Column:
    """A column of a chunk, one value a cell, numbers with a point."""
    column, _ = chunk.cells(name)
    return dotted(column) if chunk.decimal_comma else column


def time_column(columns: Pairs[str, Column], times: list[str]) -> Column:
    """The times of rows, as they are written, out of their columns."""
    return columns[times[0]] if len(times) == 1 else joined_times([columns[name] for name in times])


def changed(head: Decided, whole: Decided) -> list[str]:
    """What the whole of a log says against its head."""
    by_head, by_whole = head.clock, whole.clock
    if by_head.unit != by_whole.unit:
        units = [UNIT_WORDS.get(clock.unit, f"{clock.unit}s") for clock in (by_head, by_whole)]
        return [f"times are {units[1]} by the whole log; its head looked like {units[0]}"]
    return []


def as_said(rule: LabelRule, mapping: Mapping) -> LabelRule:
    """The rule with the role in place of the column, where the column has one."""
    role = next((role for role in ROLES if mapping.columns.get(role) == rule.column), rule.column)
    return replace(rule, column=role)


def zone_of(mapping: Mapping, columns: list[str]) -> Zone | None:
    """The zone of a log's local times, where the mapping names one. Raises InputError."""
    name = mapping.columns.get("tz")
    return None if name is None or name in columns else Zone.of(name)


def _said_rule(label: str, mapping: Mapping, columns: list[str]) -> LabelRule:
    rule = parse_rule(label)
    column = mapping.columns.get(rule.column, rule.column)
    if column not in columns:
        there = ", ".join(columns)
        raise InputError(f"--label {rule}: no role or column {rule.column!r}; there are {there}")
    return replace(rule, column=column)
