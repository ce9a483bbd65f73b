"""P(right) of students' answers by the stack, and what practice of a skill is worth there.

The second half, whole and without practice, and with one that counts answers instead of letting them fade.

Such logs have a row for every skill that a problem takes, and one outcome for all of them: whatever remembers
the last outcome would read the answer. So of rows of one problem that follow each other the first stays, and
the student's answers are numbered anew. Three minutes; the log may not be redistributed, so its file (CSV:
student, order, problem, skill, correct) has to be given.
"""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Bar, Row, Tables
from ebbtide.report.report import Report
from state.difference import of_metric
from state.errors import InputError

MODEL, COUNTED = "stack", "practice that does not fade"
MERGED, WORTH = "answers", "P(right), second half"
MADE_UP = "made up"
_ROLES = {"user": "student", "item": "problem", "category": "skill", "label": "correct", "time": "order"}
_COLUMNS = ("student", "order", "problem", "skill", "correct")


def measure(bench: Bench, *, answers: str) -> Tables:
    rows = _made_up() if answers == MADE_UP else _read(answers)
    merged = first_of_each_problem(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.csv"
        csv.write_csv(merged, path)
        [replayed] = bench.replays(
            str(path), learner=MODEL, map=_ROLES, rank_share=0.0, ablate=True, title=f"{MODEL} and its parts"
        )
    counts: list[Row] = [
        {"what": "rows of the file", "answers": len(rows)},
        {"what": "one a problem", "answers": len(merged)},
    ]
    return {MERGED: counts, WORTH: _worth(replayed.report)}


def first_of_each_problem(rows: pa.Table) -> pa.Table:
    """The rows, sorted by student and order, but those whose problem the student's row before has."""
    rows = rows.select(_COLUMNS).sort_by([("student", "ascending"), ("order", "ascending")])
    student_B, problem_B = (rows[name].to_numpy() for name in ("student", "problem"))
    again_B = np.zeros(len(rows), np.bool_)
    again_B[1:] = (student_B[1:] == student_B[:-1]) & (problem_B[1:] == problem_B[:-1])
    merged = rows.filter(pa.array(~again_B))
    _, first_B, count_S = np.unique(merged["student"].to_numpy(), return_index=True, return_counts=True)
    number_B = np.arange(len(merged)) - np.repeat(first_B, count_S)
    return merged.set_column(merged.column_names.index("order"), "order", pa.array(number_B))


def _worth(report: Report) -> list[Row]:
    """The stack, and every part without which it was tried: log loss less the stack's, paired over users."""
    assert report.ablation is not None
    scored = report.ablation.scored
    nothing = {"difference": None, "low": None, "high": None}
    rows: list[Row] = [{"what": MODEL, "AUC": scored.auc, "log loss": scored.log_loss, **nothing}]
    for variant in report.ablation.variants:
        auc, loss = (of_metric(variant.differences, metric) for metric in ("auc", "log_loss"))
        assert auc is not None
        assert loss is not None
        worth = {"difference": loss.difference, "low": loss.low, "high": loss.high}
        rows.append({"what": variant.name, "AUC": auc.value, "log loss": loss.value, **worth})
    return rows


def _read(path: str) -> pa.Table:
    """Raises InputError where it is no such file."""
    try:
        rows = csv.read_csv(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"--answers {path}: expected a CSV file of answers, got {error}") from error
    if lacking := [name for name in _COLUMNS if name not in rows.column_names]:
        raise InputError(f"--answers {path}: expected columns {', '.join(_COLUMNS)}; no {', '.join(lacking)}")
    return rows


def _made_up() -> pa.Table:
    """Students who get better at a skill; every problem takes two."""
    rng = np.random.default_rng(0)
    students, answers, skills = 25, 30, 6
    student_B = np.repeat(np.arange(students), 2 * answers)
    order_B = np.tile(np.arange(2 * answers), students)
    problem_B = np.repeat(rng.integers(0, 40, students * answers), 2)
    correct_B = np.repeat(rng.random(students * answers) < 0.6, 2).astype(np.int64)
    columns = (student_B, order_B, problem_B, (problem_B + order_B % 2) % skills, correct_B)
    return pa.table(dict(zip(_COLUMNS, columns, strict=True)))


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "answers": Option(
            help="file of students' answers",
            quick=MADE_UP,
            metavar="FILE",
            required=True,
        ),
    },
    bars=(
        Bar("log loss that fading saves", WORTH, COUNTED, "difference", 0.0015, 0.0023, digits=4),
        Bar("log loss that fading saves, low", WORTH, COUNTED, "low", 0.0),
    ),
)
