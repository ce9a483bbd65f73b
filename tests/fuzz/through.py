"""How far a case goes: only opened, through the command line, through a small learning, or a whole run."""

import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from ebbtide import api
from ebbtide.commands import app
from ebbtide.config import RunConfig
from ebbtide.running.learning import Learning
from ebbtide.running.plan import operator_of, subject
from replay.log import Log
from state.errors import EbbtideError, InputError
from state.examples import ExampleBatch
from state.store.contract import ItemRows, UserRows
from state.store.in_memory import DictStore
from tests.fuzz.seen import sentence
from tests.patience import PATIENCE_S


class Checked(DictStore):
    """A store that looks at what is published."""

    def publish(self, version: int, users: UserRows | None = None, items: ItemRows | None = None) -> None:
        for name, vectors in (
            ("interests", None if users is None else users.interests_BKD),
            ("item vectors", None if items is None else items.vectors_BD),
        ):
            assert vectors is None or np.isfinite(vectors).all(), f"published {name} are not finite"
        for entries in (users.memory_B if users is not None else None) or []:
            strong = entries["strength_s"] > 0
            assert strong.all(), f"published memory of no strength: {entries}"
        super().publish(version, users, items)


LEARNERS = ("twotower", "twotower", "gaussian", "stim")


def door(depth: str, path: Path, options: dict[str, str], folder: Path) -> None:
    """The command line in this process or in one of its own, or a whole run from Python."""
    flags = [word for name, value in options.items() for word in _flag(name, value)]
    if depth == "door" and {"from", "until", "limit"} & options.keys():
        command(["replay", "-q", str(path), "--out", str(folder / "out"), "--learner", "twotower", *flags])
    elif depth == "door":
        command(["data", "inspect", str(path), *flags])
    elif depth == "process":
        args = [
            sys.executable,
            "-m",
            "ebbtide",
            "replay",
            "-q",
            str(path),
            "--out",
            str(folder / "out"),
            *flags,
        ]
        ended = subprocess.run(args, capture_output=True, text=True, timeout=PATIENCE_S)
        assert ended.returncode in (0, 2), ended.stderr
        assert "Traceback" not in ended.stderr, ended.stderr
    elif depth == "run":
        try:
            report = api.replay(path, folder / "out", learner="twotower", floors=False, drift=False)
        except InputError as error:
            sentence(str(error))
            return
        counts = report.events
        assert counts.read == counts.used + counts.dead_letters + counts.duplicates + counts.late, counts


def _flag(name: str, value: str) -> list[str]:
    return (
        ["--map", f"{name.removeprefix('map ')}={value}"] if name.startswith("map ") else [f"--{name}", value]
    )


def command(args: list[str]) -> str:
    """A command in this process; what it printed. It ends with 0 or 2, and never with a traceback."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = CliRunner().invoke(app.app, args)
    error = result.exception
    if isinstance(error, EbbtideError):
        sentence(str(error))
        assert error.exit_code == 2, f"exit code {error.exit_code}: {error}"
    elif error is not None and not isinstance(error, SystemExit | OSError):
        raise AssertionError("".join(traceback.format_exception(error))) from error
    else:
        assert isinstance(error, OSError) or result.exit_code in (0, 2), result.output
    assert not warned, f"a library's warning reaches the terminal: {warned[0].message}"
    for line in result.output.splitlines():
        assert all(c.isprintable() for c in line), f"printed: {line!r}"
    return result.output


def learn(log: Log, seed: int) -> None:
    """A log through the operator and a small learning: all rows are counted, what is said is finite."""
    try:
        config = RunConfig(
            learner=LEARNERS[seed % len(LEARNERS)], floors=seed % 5 == 0, drift=False, rank_share=1.0
        )
        about = subject(config, log)
        learning = Learning(about, config, Checked())
    except InputError as error:
        sentence(str(error))
        return
    operator = operator_of(learning.trainer, about)
    for events in log.batches(16):
        step(learning, operator.process(events, int(events.time_ms_B.max())))
    finish(learning)
    counts = operator.counts
    assert counts.used + counts.duplicates + counts.late == log.rows, f"{counts} of {log.rows} events"


def step(learning: Learning, batch: ExampleBatch) -> None:
    """One micro-batch; what is said of it are probabilities and ranks."""
    if not len(batch):
        return
    scored = learning.step(batch)
    for name, outcome in scored.outcomes.items():
        if outcome.p_B is not None:
            assert ((outcome.p_B >= 0) & (outcome.p_B <= 1)).all(), f"{name} says {outcome.p_B}"
        if outcome.rank_R is not None:
            assert (outcome.rank_R >= 1).all(), f"{name} ranks {outcome.rank_R}"


def finish(learning: Learning) -> None:
    """Learn what waits, and publish the rest."""
    learning.trainer.finish()
    learning.publisher.flush()
