"""Durations and times as people write them."""

import pytest

from ebbtide.units import duration_ms, fraction_or_time
from state.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("250ms", 250), ("60s", 60_000), ("10 m", 600_000), ("1.5h", 5_400_000), ("1d", 86_400_000)],
)
def test_a_duration(text: str, expected: int) -> None:
    assert duration_ms(text, "--label-delay") == expected


@pytest.mark.parametrize("text", ["", "5", "-1s", "1y", "s", "1h30m"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match=r"--label-delay: expected a duration such as 60s"):
        duration_ms(text, "--label-delay")


@pytest.mark.parametrize(
    ("text", "expected"), [("0.5", 0.5), ("0", 0.0), ("1", 1.0), ("1506902400", 1506902400000)]
)
def test_a_fraction_or_a_time(text: str, expected: float) -> None:
    assert fraction_or_time(text, "--score-from") == expected


@pytest.mark.parametrize("text", ["1.5", "-0.1", "half", "inf", "nan"])
def test_neither_fraction_nor_time(text: str) -> None:
    with pytest.raises(InputError, match="--score-from: expected"):
        fraction_or_time(text, "--score-from")
