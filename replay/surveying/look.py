"""A look over a whole log before it is read: what it holds, in which order, and what is wrong."""

from collections import Counter
from dataclasses import replace

from replay.meaning.columns import cut
from replay.meaning.dead_letters import DeadLetters
from replay.meaning.decide import Decisions, changed
from replay.meaning.passes import Passes
from replay.meaning.sides import ReadSide
from replay.meaning.times import shown
from replay.surveying.survey import Survey, Surveyor
from state.errors import InputError
from streams.wire.reasons import FAR_OFF, OUT_OF_BOUNDS, missing

_PIECE_ROWS = 1 << 16
_DESCRIBED = 0.1
"""Share of the events that a side table describes, at least, so that nothing is said."""


class LogLook:
    """At one log, with its side tables; `single_category`: whether items lend events their one category."""

    def __init__(
        self,
        name: str,
        passes: Passes,
        items: ReadSide | None,
        users: ReadSide | None,
        *,
        single_category: bool,
    ) -> None:
        self.name = name
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.mapping = passes.converter.mapping
        self._passes = passes
        self._items = items
        self._sides = [side for side in (items, users) if side is not None]
        self._single_category = single_category

    def over(self, decisions: Decisions) -> Survey:
        """Look over the whole log, again where it says what its head did not."""
        converter = self._passes.converter
        first = converter.clock, converter.rule = replace(converter.clock, near_ms=None), converter.rule
        surveyor, dead = self._pass(decisions)
        whole = decisions.decide(final=True)
        self.notes += [*whole.notes, *changed(decisions.head, whole)]
        if (whole.clock, whole.rule) != first:
            converter.clock, converter.rule = whole.clock, whole.rule
            surveyor, dead = self._pass()
        near_ms = self._passes.hours.near_ms
        bounds_said = self.mapping.earliest or self.mapping.latest
        if near_ms is not None and not whole.clock.ticks and not bounds_said:
            converter.clock = replace(whole.clock, near_ms=near_ms)
            surveyor, dead = self._pass()
            rows, (first_ms, last_ms) = self._passes.outside + surveyor.rows + len(dead), near_ms
            self.warnings.append(
                f"{dead.counts[FAR_OFF]:,} of {rows:,} rows are years from all others ({shown(first_ms)} to "
                f"{shown(last_ms)}), as if a clock had been wrong: dead letters;"
                " --map earliest=... and --map latest=... take all that lie between"
            )
        if surveyor.rows == 0:
            self._refuse(dead)
        unlabelled = dead.counts[missing("label")]
        if unlabelled > surveyor.rows:
            self.warnings.append(
                f"{unlabelled:,} of {surveyor.rows + len(dead):,} rows have no label: dead letters;"
                " --label none takes every event as a positive"
            )
        self.warnings += [
            f"{side.name}: describes the {side.kind}s of {self._described[side.name] / surveyor.rows:.1%}"
            " of the events only: are its ids written as those of the log?"
            for side in self._sides
            if self._described[side.name] < _DESCRIBED * surveyor.rows
        ]
        return self._surveyed(surveyor, dead)

    def _pass(self, decisions: Decisions | None = None) -> tuple[Surveyor, DeadLetters]:
        dead = DeadLetters()
        surveyor = Surveyor(self._passes.converter.names)
        if decisions is not None:
            decisions.begin()
        self._described = Counter[str]()
        for columns in cut(self._passes.chunks(dead, decisions), _PIECE_ROWS):
            surveyor.add(columns)
            for side in self._sides:
                rows_B = side.table.rows(columns[side.kind], columns["time_ms"])
                self._described[side.name] += int((rows_B >= 0).sum())
        return surveyor, dead

    def _surveyed(self, surveyor: Surveyor, dead: DeadLetters) -> Survey:
        clock = self._passes.converter.clock
        placed = bool({"lat", "place"} & set(self.mapping.columns))
        borrowed = self._items is not None and self._items.table.lat_N is not None
        of_item = surveyor.item_places.of_item if placed else borrowed
        survey = surveyor.survey(
            unit=clock.unit,
            roles=self._all_roles(borrowed and of_item),
            dead=dict(dead.counts.most_common()),
            left_out=self._passes.outside,
            place_of_item=of_item,
        )
        self.notes += self._passes.converter.notes
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
        if "text" in self.mapping.columns:
            self.notes.append(
                f"column {self.mapping.columns['text']!r} (text) is not read: events carry no text"
            )
        return survey

    def _refuse(self, dead: DeadLetters) -> None:
        bounded = self._passes.outside > 0
        bounds = "; --map earliest=... and latest=... move the bounds" if OUT_OF_BOUNDS in dead.counts else ""
        if dead.counts and not bounded:
            raise InputError(
                f"{self.name}: not one of its rows is an event ({dead.in_words()}); check the mapping "
                f"({' '.join(self.mapping.flags())}) with `ebbtide data inspect`{bounds}"
            )
        raise InputError(
            f"{self.name}: no event between --from and --until; widen them"
            if bounded
            else f"{self.name}: the log holds no events; give one that does"
        )

    def _all_roles(self, borrowed: bool) -> frozenset[str]:
        roles = set(self.mapping.columns) - {"text", "label"}
        if self._passes.converter.rule is not None:
            roles.add("label")
        if borrowed:
            roles |= {"lat", "lon"}
        if not roles >= {"lat", "lon"}:
            roles -= {"lat", "lon"}
        if self._single_category:
            roles.add("category")
        return frozenset(roles)
