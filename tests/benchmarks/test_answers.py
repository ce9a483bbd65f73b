"""A problem of several skills is one answer."""

from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.answers import first_of_each_problem, measure
from benchmarks.benchmark import Bench
from benchmarks.replays import Replays
from benchmarks.telling import Telling
from state.errors import InputError


def test_of_rows_of_one_problem_the_first_stays_and_answers_are_numbered_anew() -> None:
    rows = pa.table(
        {
            "student": [1, 0, 0, 0, 0, 1],
            "order": [1, 3, 0, 1, 2, 0],
            "problem": [7, 7, 7, 7, 8, 7],
            "skill": [5, 1, 1, 2, 1, 4],
            "correct": [0, 1, 0, 0, 1, 1],
        }
    )
    assert first_of_each_problem(rows).to_pylist() == [
        {"student": 0, "order": 0, "problem": 7, "skill": 1, "correct": 0},
        {"student": 0, "order": 1, "problem": 8, "skill": 1, "correct": 1},
        {"student": 0, "order": 2, "problem": 7, "skill": 1, "correct": 1},
        {"student": 1, "order": 0, "problem": 7, "skill": 4, "correct": 1},
    ]


def test_what_is_no_file_of_answers_is_said(tmp_path: Path) -> None:
    telling = Telling()
    bench = Bench(telling, Replays(telling, apart=False))
    with pytest.raises(InputError, match=r"nowhere: expected a CSV file of answers"):
        measure(bench, answers="nowhere")
    (tmp_path / "other.csv").write_text("student,order\n1,2\n")
    with pytest.raises(InputError, match=r"expected columns .*; no problem, skill, correct"):
        measure(bench, answers=str(tmp_path / "other.csv"))
