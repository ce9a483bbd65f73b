"""Times as people write them, and near misses: a time or a sentence, and one time wherever it is written."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pyarrow as pa

from ebbtide import units
from replay.meaning.evidence import TimeEvidence
from replay.meaning.times import TimeReader
from replay.meaning.zones import Zone
from state.errors import InputError
from streams.times import time_ms
from streams.wire import json_form
from streams.wire.message import Fault
from tests.fuzz.seen import sentence
from tests.fuzz.table import START, TIMES
from tests.fuzz.values import CELLS

_LETTERS = "0123456789-/.:, TZ+UTCampAMPM'\"\t\0é\u0660²½_eEnNaAiIfFxs"
_DURATIONS = (
    "0",
    "1s",
    "10m",
    "1.5h",
    "7d",
    "2w",
    "250ms",
    "immediate,1m,10m",
    "1h,1h",
    "9" * 30 + "w",
    "-1s",
    "1e3s",
    "",
)
_ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "60",
    "-300",
    "9999",
    "Mars/Olympus",
    "../../etc/passwd",
    "",
    ".",
    "/",
)
_YEARS_MS = (-62_135_596_800_000, 253_402_300_799_999)
_YEARS = (-1, 0, 1, 1500, 1969, 1970, 1998, 2024, 2038, 2099, 2100, 2262, 9999, 10000)


class TimeCase(msgspec.Struct, frozen=True, tag="time"):
    """A text, put where a time is expected, and letters of it that become others."""

    text: str
    letters: tuple[tuple[int, str], ...] = ()

    @property
    def said(self) -> str:
        text = self.text
        for at, letter in self.letters:
            place = at % (len(text) + 1)
            text = text[:place] + letter + text[place + at % 2 :]
        return text

    def check(self, folder: Path) -> None:
        text = self.said
        found = {
            "--from": _tried(lambda: time_ms(text, "--from")),
            "--at": _tried(lambda: time_ms(text, "--at")),
            "the wire": _wire(text),
            "a file": _file(text),
        }
        known = {name: at_ms for name, at_ms in found.items() if at_ms is not None}
        assert len(set(known.values())) <= 1, f"{text!r} is read as {known}"
        for at_ms in known.values():
            assert isinstance(at_ms, int)
            assert abs(at_ms) < 2**63, f"{text!r} is {at_ms}"
        _tried(lambda: TimeReader("tick", 0, 0).said_ms(text, "--from"))
        _tried(lambda: units.fraction_or_time(text, "--score-from"))
        duration = _tried(lambda: units.duration_ms(text, "--label-delay"))
        assert duration is None or duration >= 0
        _tried(lambda: units.durations_ms(text, "--sync-every"))
        _tried(lambda: Zone.of(text))


def _tried(read: Callable[[], object]) -> int | None:
    """What a reader makes of it; None where it says that it is no time."""
    try:
        found = read()
    except InputError as error:
        sentence(str(error))
        return None
    return found if isinstance(found, int) else None


def _wire(text: str) -> int | None:
    event = msgspec.json.encode({"user": 1, "item": 2, "time": text})
    try:
        return json_form.parse(event, Counter())[1]
    except Fault as fault:
        sentence(fault.detail)
        return None


def _file(text: str) -> int | None:
    """As the only text of a column; numbers are left out, for their unit goes by the column."""
    column = pa.array([text])
    evidence = TimeEvidence()
    evidence.add(column)
    try:
        reading = evidence.reading("the time")
    except InputError as error:
        sentence(str(error))
        return None
    at_ms_B, faults = TimeReader(reading.unit, *_YEARS_MS, reading.day_first).read(column)
    bad = any(fault_B.any() for fault_B, _, _ in faults)
    return int(at_ms_B[0]) if reading.unit == "text" and not bad else None


def draw(rng: Random) -> TimeCase:
    """A time of some form and year, a duration, a zone or a cell of another kind; half of them spoilt."""
    drawn = rng.random()
    if drawn < 0.7:
        moment = START.replace(
            year=max(1, min(rng.choice(_YEARS), 9999)), day=rng.randrange(1, 29), month=rng.randrange(1, 13)
        )
        text = str(TIMES[rng.choice(list(TIMES))](moment))
    elif drawn < 0.8:
        text = rng.choice(_DURATIONS)
    elif drawn < 0.85:
        text = rng.choice(_ZONES)
    else:
        text = str(rng.choice(CELLS))
    spoilt = rng.randrange(1, 4) if rng.random() < 0.5 else 0
    return TimeCase(text, tuple((rng.randrange(40), rng.choice(_LETTERS)) for _ in range(spoilt)))
