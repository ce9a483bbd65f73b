"""Durations and shares as people write them."""

import re

from state.errors import InputError
from streams.times import time_ms

_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")


def duration_ms(text: str, option: str) -> int:
    """A duration in milliseconds: `0`, `250ms`, `60s`, `10m`, `1.5h`, `7d`, `2w`.

    >>> duration_ms("1.5h", "--label-delay")
    5400000
    """
    if text.strip() == "0":
        return 0
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{option}: expected a duration such as 60s, 10m, 1h or 1d, got {text!r}")
    return round(float(match[1]) * _UNIT_MS[match[2]])


def durations_ms(text: str, option: str) -> list[int]:
    """Durations with commas between them, each once, shortest first; `immediate` is 0.

    >>> durations_ms("1h,immediate,10m", "--sync-every")
    [0, 600000, 3600000]
    """
    parts = [part.strip() for part in text.split(",")]
    try:
        return sorted({0 if part == "immediate" else duration_ms(part, option) for part in parts})
    except InputError as error:
        raise InputError(f"{error}; give a list such as immediate,1m,10m,1h,6h,1d") from None


def short(milliseconds: int) -> str:
    """A duration as `duration_ms` reads it; 0 is `immediate`.

    >>> short(600_000), short(5_400_000), short(7 * 86_400_000), short(0)
    ('10m', '90m', '7d', 'immediate')
    """
    if not milliseconds:
        return "immediate"
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if milliseconds % _UNIT_MS[unit] == 0)
    return f"{milliseconds // _UNIT_MS[unit]}{unit}"


def fraction_or_time(text: str, option: str) -> float | int:
    """A fraction of the events (0 to 1) as a float, or a time in epoch milliseconds as an int."""
    try:
        value = float(text)
    except ValueError:
        return time_ms(text, option)
    if 0.0 <= value <= 1.0:
        return value
    return time_ms(text, option)
