"""A log with gaps of centuries, replayed as a user would: report, pages and answers are numbers."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import ebbtide
from serving.reasons import PastEvent
from tests.replay.events import write_csv

BLOCK = 80


def written(path: Path, years: list[int], labelled: bool) -> Path:
    """Blocks of events of an hour each, a block a year, in the order given; users and items stay."""
    random = np.random.default_rng(0)
    rows = []
    for block, year in enumerate(years):
        start_s = int(datetime(year, 3, 1, tzinfo=UTC).timestamp())
        for n in range(BLOCK):
            time = datetime.fromtimestamp(start_s + 45 * n, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
            user, item = random.integers(0, 8), random.integers(0, 12) + block
            rows.append(f"u{user},i{item},{time}" + (f",{random.integers(0, 2)}" if labelled else ""))
    return write_csv(path, "user,item,time" + (",label" if labelled else ""), rows)


def numbers(value: object) -> Iterator[float]:
    """Every number within what JSON holds."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield float(value)


@pytest.mark.parametrize(
    ("years", "labelled"),
    [([1, 1500, 1998, 2026, 9998], True), ([1900, 1901, 1960], False), ([1998, 2026], True)],
    ids=["ten thousand years", "before 1970", "a log of 1998 and today"],
)
def test_a_log_with_gaps_is_reported_and_answers(tmp_path: Path, years: list[int], labelled: bool) -> None:
    log = written(tmp_path / "log.csv", years, labelled)
    out = tmp_path / "out"
    any_time = {"earliest": "0001-01-01", "latest": "9999-12-31"}
    report = ebbtide.replay(
        log, out, map=any_time, learner="stim", batch=32, sync_every="1h,1d", score_from=0.2
    )
    assert report.events.used == BLOCK * len(years)
    said = json.loads((out / "report.json").read_text())
    assert all(math.isfinite(number) for number in numbers(said))
    assert "<svg" in (out / "report.html").read_text()
    with ebbtide.connect(out) as answers:
        for at_ms in (None, 0, int(datetime(9999, 1, 1, tzinfo=UTC).timestamp() * 1000)):
            answer = answers.recommend("u1", 5, at_ms=at_ms)
            assert len(answer.items) == 5
            assert all(math.isfinite(one.score) for one in answer.items)
            events = [why for one in answer.items for why in one.why if isinstance(why, PastEvent)]
            assert all(0.0 <= event.retention <= 1.0 for event in events)
        assert all(math.isfinite(one.score) for one in answers.similar(f"i{len(years) + 3}", 3).items)
