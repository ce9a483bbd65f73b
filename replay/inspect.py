"""What a log is, before one replays it: the mapping proposed, what it holds, and what to mind."""

from dataclasses import asdict, dataclass, field
from typing import Any

from replay.log import Log
from replay.logs.known import KNOWN
from replay.logs.planted import PLANTED
from replay.meaning.times import shown
from replay.surveying.survey import Survey
from state.printable import printable

_DAY_MS = 86_400_000
_NOTABLE_DEAD = 0.01
_NOTABLE_SILENCE = 0.02
_LONGEST = 20_000
"""Characters of a line: of a wide table every column is named."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """An inspected log; `report()` is the same as plain data."""

    name: str
    mapping_toml: str
    map_flags: list[str]
    label_rule: str | None
    survey: Survey
    items: dict[str, str] | None
    """Column -> kind of the item table, None without one."""
    users: dict[str, str] | None
    warnings: list[str]
    notes: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """For JSON: times beside their dates, sets as lists, NaN as null."""
        survey = self.survey
        seen = asdict(survey) | {"roles": sorted(survey.roles)}
        seen = {name: None if value != value else value for name, value in seen.items()}
        if survey.unit != "tick":
            seen |= {"first": shown(survey.first_ms), "last": shown(survey.last_ms)}
        return {
            "log": self.name,
            "mapping": self.mapping_toml,
            "map": self.map_flags,
            "label": self.label_rule,
            "survey": seen,
            "items": self.items,
            "users": self.users,
            "notes": self.notes,
            "warnings": self.warnings,
        }

    def rows(self) -> list[tuple[str, str]]:
        """What to print: a heading and a text a line."""
        survey = self.survey
        about = "" if survey.exact else "about "
        lines = [
            ("log", self.name),
            ("events", f"{survey.rows:,} of {survey.rows + sum(survey.dead.values()):,} rows"),
            ("users", f"{about}{survey.users:,}"),
            ("items", f"{about}{survey.items:,}"),
            ("time", _span(survey)),
            ("order", "in time order" if survey.in_order else "not in time order; sorted when read"),
            ("ties", f"{survey.tie_share:.1%} share the time of the event before"),
            ("repeats", f"{survey.user_item_repeat:.1%} of events repeat their user's item"),
        ]
        if survey.session_item_repeat == survey.session_item_repeat:
            lines.append(("", f"{survey.session_item_repeat:.1%} repeat their session's item"))
        if {"lat", "place"} & survey.roles:
            lines.append(("places", "the items'" if survey.place_of_item else "the events' own"))
        if survey.labelled:
            lines.append(("label", f"{self.label_rule}: {survey.positive_share:.1%} positive"))
        else:
            lines.append(("label", "none: every event is a positive"))
        lines += [("silence", f"{shown(a)} to {shown(b)}") for a, b in survey.silences]
        lines += [("dead letters", f"{count:,} x {reason}") for reason, count in survey.dead.items()]
        for kind, table in (("item table", self.items), ("user table", self.users)):
            if table is not None:
                lines.append(
                    (kind, ", ".join(f"{name} ({what})" for name, what in table.items()) or "no columns")
                )
        return [(name, printable(text, _LONGEST)) for name, text in lines]


def inspect(log: Log) -> Inspection:
    """Look at an opened log."""
    return Inspection(
        name=printable(log.name),
        mapping_toml=log.mapping.toml(),
        map_flags=[printable(flag) for flag in log.mapping.flags()],
        label_rule=log.label_rule,
        survey=log.survey,
        items=None if log.item_side is None else log.item_side.kinds,
        users=None if log.user_side is None else log.user_side.kinds,
        warnings=[printable(warning, _LONGEST) for warning in [*log.warnings, *_warnings(log.survey)]],
        notes=[printable(note, _LONGEST) for note in log.notes],
    )


def known_logs() -> list[dict[str, str]]:
    """The logs that can be replayed by name."""
    planted = {
        "name": PLANTED,
        "about": f"made up, with known truth; {PLANTED}:users=200,events=20000,seed=3 sets its size",
        "package": "-",
        "licence": "-",
    }
    fetched = [
        {"name": name, "about": known.about, "package": known.package, "licence": known.licence}
        for name, known in KNOWN.items()
    ]
    return [*fetched, planted]


def _span(survey: Survey) -> str:
    if survey.unit == "tick":
        return f"ticks {survey.first_ms // 1000:,} to {survey.last_ms // 1000:,}: an order, no clock"
    days = (survey.last_ms - survey.first_ms) / _DAY_MS
    return f"{shown(survey.first_ms)} to {shown(survey.last_ms)} UTC ({days:,.1f} days; unit {survey.unit})"


def _warnings(survey: Survey) -> list[str]:
    warnings: list[str] = []
    dead = sum(survey.dead.values())
    span_ms = max(survey.last_ms - survey.first_ms, 1)
    if survey.ties_sorted:
        warnings.append(
            "the order inside equal times looks sorted by item and would leak what comes next: "
            "such ties are shuffled"
        )
    if survey.unit == "tick":
        warnings.append("times give an order and no more: hours and weekdays mean nothing here")
    if dead > _NOTABLE_DEAD * (survey.rows + dead):
        warnings.append(f"{dead:,} of {survey.rows + dead:,} rows are no events; see the dead letters")
    if survey.tie_share > 0.5:
        warnings.append("most events tie with the one before: look at the strict figures (--label-delay 1s)")
    if survey.labelled and survey.positive_share in (0.0, 1.0):
        warnings.append("all labels are the same; --label none takes every event as a positive")
    for start, end in survey.silences:
        if end - start > _NOTABLE_SILENCE * span_ms:
            warnings.append(f"nothing happens from {shown(start)} to {shown(end)}")
    return warnings
