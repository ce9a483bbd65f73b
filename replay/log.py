"""A log, opened: the one door through which events come in from files.

    log = Log.open("checkins.csv.gz", items="pois.csv")
    for events in log.batches(1024):
        ...

Opening looks over the whole log once (`survey`), so that what is wrong is said before the run begins and the
run knows how much is to come. `batches` then reads it again, in constant memory.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from replay.logs.find import find
from replay.logs.log_files import LogFiles
from replay.logs.opening import check_columns, head, resolved_mapping, side_table
from replay.meaning.columns import Columns, cut, size_of, take
from replay.meaning.convert import Converter
from replay.meaning.dead_letters import DeadLetters
from replay.meaning.decide import Decisions, as_said, zone_of
from replay.meaning.mapping import Mapping
from replay.meaning.passes import Passes
from replay.meaning.places import fill_places, single_category
from replay.meaning.sides import ReadSide
from replay.meaning.times import shown
from replay.order import Ties, shuffled_ties, sorted_by_time
from replay.reading.chunks import BadRow
from replay.surveying.look import LogLook
from state.errors import InputError
from state.keys import Names
from streams.schema import EventBatch

_COPIES = 4
_NAMED = 12


class Log:
    """A log of events in time order, with its side tables and what is known of it."""

    def __init__(
        self,
        *,
        files: LogFiles,
        decisions: Decisions,
        converter: Converter,
        items: ReadSide | None,
        users: ReadSide | None,
        bounds: tuple[str | None, str | None],
        limit: int | None,
        seed: int,
        memory_mb: int,
    ) -> None:
        self.name = files.name
        self.mapping = converter.mapping
        self.names: Names = converter.names
        self.item_side, self.user_side = items, users
        sides = [side for side in (items, users) if side is not None]
        self.side_letters = [letter for side in sides for letter in side.bad]
        """Rows of side tables that were left out, and their files."""
        self.items = None if items is None else items.table
        self.users = None if users is None else users.table
        self.notes = [
            *files.notes,
            *_unused(files, converter),
            *(note for side in sides for note in side.notes),
        ]
        self.warnings = [*files.warnings, *(warning for side in sides for warning in side.warnings)]
        self.dead = DeadLetters()
        """Of the last pass over the log."""
        self._converter = converter
        self._passes = Passes(files.events, converter, bounds)
        self._limit = limit
        self._seed = seed
        self._memory_mb = memory_mb
        borrows = self.items is not None and "category" not in self.mapping.columns
        self._category = single_category(self.items) if self.items is not None and borrows else None
        look = LogLook(self.name, self._passes, items, users, single_category=self._category is not None)
        self.survey = look.over(decisions)
        self.notes += look.notes
        self.warnings += look.warnings
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
        between: tuple[str | None, str | None] = (None, None),
        limit: int | None = None,
        seed: int = 0,
        memory_mb: int = 256,
    ) -> "Log":
        """Open a file, a folder or a known log.

        `label` is a rule, or `none` for a log that is to be taken as one of positives only. `between` are
        two times (the first inside, the last outside), `limit` is a number of events in time order.
        `memory_mb` bounds what sorting holds. Raises InputError on anything the caller can mend.
        """
        given = mapping or Mapping()
        files = find(log, given)
        given = given.over(files.mapping)
        resolved = resolved_mapping(given, files)
        columns = files.events[0].columns
        decisions = Decisions(resolved, columns, label or files.label, files.name)
        decisions.see(head(files, decisions.columns))
        decisions.take_as_head()
        names = Names()
        converter = Converter(
            resolved,
            decisions.times,
            decisions.head.clock,
            decisions.head.rule,
            zone_of(resolved, columns),
            names,
        )
        check_columns(files.events, converter.needed)
        if limit is not None and limit < 1:
            raise InputError(f"--limit {limit}: expected at least 1")
        while True:
            opened = cls(
                files=files,
                decisions=decisions,
                converter=converter,
                items=side_table(items, files.items, "item", converter, files.item_types),
                users=side_table(users, files.users, "user", converter, files.user_types),
                bounds=between,
                limit=limit,
                seed=seed,
                memory_mb=memory_mb,
            )
            if converter.settled:
                return opened
            converter.reread()

    @property
    def labelled(self) -> bool:
        return self.label_rule is not None

    @property
    def label_rule(self) -> str | None:
        """What counts as a positive, in terms of roles."""
        rule = self._converter.rule
        return None if rule is None else str(as_said(rule, self.mapping))

    @property
    def rows(self) -> int:
        """How many events `batches` hands on."""
        return self.survey.rows if self._limit is None else min(self._limit, self.survey.rows)

    @property
    def left_out(self) -> int:
        """How many events lie beyond --from, --until or --limit."""
        return self.survey.left_out + self.survey.rows - self.rows

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
            for path, row in self.side_letters:
                self.dead.write(str(path), row)
            offset = 0
            for columns in cut(self._from(skip), size):
                events = _events(columns, skip + offset)
                offset += len(events)
                if self.items is not None:
                    events = fill_places(events, self.items, self._category, places=self.place_of_item)
                yield events

    def set_aside(self, events: EventBatch, reason: str, detail: str) -> None:
        """Write down events that were handed on and could not be used; they are counted by who found out."""
        roles = [role for role in ("user", "item", "action", "category") if role in self.roles]
        for b in range(len(events)):
            row: dict[str, str] = {role: self.names[int(getattr(events, f"{role}_B")[b])] for role in roles}
            row["time"] = shown(int(events.time_ms_B[b]))
            self.dead.write(self.name, BadRow(int(events.offset_B[b]) + 1, reason, row, detail))

    def _from(self, skip: int) -> Iterator[Columns]:
        """Columns in the order in which events are handed on, within the limit, after `skip` of them.

        Reads on beyond the limit, so that every dead letter is written down.
        """
        end = self.rows
        at = 0
        for columns in self._ordered():
            size = size_of(columns)
            first, last = max(0, skip - at), min(size, end - at)
            if first < last:
                yield take(columns, slice(first, last))
            at += size

    def _ordered(self) -> Iterator[Columns]:
        survey = self.survey
        ties = Ties(self._seed if survey.ties_sorted else None)
        chunks = self._passes.chunks(self.dead)
        memory_rows = max(256, (self._memory_mb << 20) // (8 * _COPIES * (len(self.roles) + 2)))
        if not survey.in_order or (survey.ties_sorted and survey.longest_tie > memory_rows):
            return sorted_by_time(chunks, ties, memory_rows)
        return shuffled_ties(chunks, ties) if survey.ties_sorted else chunks


def _events(columns: Columns, offset: int) -> EventBatch:
    size = size_of(columns)
    given = {role: column for role, column in columns.items() if role != "seq"}
    return EventBatch.of(offset=np.arange(offset, offset + size), **given)


def _unused(files: LogFiles, converter: Converter) -> list[str]:
    """A note on columns that nobody reads."""
    names = [name for name in files.events[0].columns if name not in converter.needed]
    if not names:
        return []
    shown = ", ".join(map(repr, names[:_NAMED])) + (
        f" and {len(names) - _NAMED} more" * (len(names) > _NAMED)
    )
    return [f"columns that are not used: {shown}; --map ROLE=COLUMN gives one a role"]
