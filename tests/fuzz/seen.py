"""What a user sees of a log, and what must hold of it whatever the log is like."""

import json
import tomllib
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ebbtide import api
from replay.inspect import Inspection, inspect
from replay.log import Log
from replay.reading.chunks import BadRow
from state.errors import InputError
from state.tree import digest
from streams.schema import EventBatch, concat_events

_LONGEST, _LONGEST_LIST = 1200, 25_000


class Refused(Exception):
    """The product turned its input down, as it may: in one sentence."""


def sentence(said: str, longest: int = _LONGEST) -> None:
    """What people read is one line that a terminal shows as it is, and not the file that it is about."""
    strange = sorted({c for c in said if not c.isprintable()})
    assert not strange, f"a message holds {strange}: {said!r}"
    assert 0 < len(said) <= longest, f"a message of {len(said):,} characters: {said[:200]!r}"


@dataclass(frozen=True)
class Seen:
    """An opened log, read to its end."""

    log: Log
    events: EventBatch
    dead: dict[str, int]
    inspection: Inspection

    @property
    def rows(self) -> int:
        """That the log accounts for, used or not."""
        return len(self.events) + sum(self.dead.values())

    @property
    def said(self) -> str:
        """All that an inspection tells."""
        told = self.inspection
        return "\n".join([*told.notes, *told.warnings, *(f"{name}: {text}" for name, text in told.rows())])


def look(path: Path, options: dict[str, str], folder: Path) -> Seen:
    """Open a log, read it and look at it. Raises Refused, or AssertionError where something does not hold."""
    said = {{"from": "from_"}.get(name, name): value for name, value in options.items()}
    limit = said.pop("limit", None)
    mapping = {name.removeprefix("map "): said.pop(name) for name in list(said) if name.startswith("map ")}
    try:
        log = api.open_log(
            path,
            map=mapping or None,
            limit=None if limit is None else int(limit),
            **said,  # type: ignore[arg-type]
        )
    except InputError as error:
        sentence(str(error))
        raise Refused(str(error)) from error
    batches = list(log.batches(16, dead_letters=folder / "letters"))
    assert batches, "a log was opened and holds no events"
    events = concat_events(batches)
    assert len(events) == log.rows, f"{log.rows} events announced, {len(events)} handed on"
    dead = dict(log.dead.counts)
    assert dead == log.survey.dead or limit is not None, (
        f"dead letters at first {log.survey.dead}, then {dead}"
    )
    _check_letters(folder / "letters" / "dead_letters.jsonl", dead, [row for _, row in log.side_letters])
    assert (np.diff(events.time_ms_B) >= 0).all(), "events are not in time order"
    assert np.isin(events.label_B[~np.isnan(events.label_B)], (0, 1)).all() or _within(events.label_B, 0, 1)
    again = concat_events(list(log.batches(7)))
    assert columns(events) == columns(again), "a second reading differs"
    seen = Seen(log, events, dead, inspect(log))
    json.dumps(seen.inspection.report(), allow_nan=False)
    for line in seen.said.splitlines():
        sentence(line, _LONGEST_LIST)
    said = tomllib.loads(seen.inspection.mapping_toml)
    assert {role: said[role] for role in log.mapping.columns} == log.mapping.columns, said
    return seen


def _within(value_B: np.ndarray, least: float, most: float) -> bool:
    known = value_B[~np.isnan(value_B)]
    return bool(((known >= least) & (known <= most)).all())


def _check_letters(path: Path, dead: dict[str, int], of_sides: list[BadRow]) -> None:
    """The file has every dead letter of the log and its side tables, with its reason."""
    found: dict[str, int] = {}
    dead = dict(Counter(dead) + Counter(row.reason for row in of_sides))
    for line in path.read_text(encoding="utf-8").splitlines():
        reason = json.loads(line)["reason"]
        found[reason] = found.get(reason, 0) + 1
    assert found == dead, f"{dead} counted, {found} written"


def columns(events: EventBatch) -> str:
    """A digest of all columns."""
    return digest({f.name: getattr(events, f.name) for f in fields(events)})
