"""Networks on the CPU, and on a GPU where there is one: events a second by batch, and whether both agree.

A made-up stream, users with 50 events behind them, 20,000 items. A step reads, scores and learns one batch,
all of it at once; events/s go by the wall clock, from the second step on. Agreement is the largest difference
between what the CPU and the GPU say of 256 rows, once both have learned the same batch.
Ten minutes on two cores, and 8 GB; needs torch.
"""

import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Cell, Row, Tables
from learners.contract import Context, Learner, Settings
from learners.interests.settings import TwoTowerSettings
from learners.systems.din import DIN, DINSettings
from learners.systems.mirrn import MIRRN, MIRRNSettings
from learners.systems.sine import SINE, SINESettings
from learners.systems.twotower import TwoTower
from learners.tables.catalogue import Catalogue
from state.examples import ExampleBatch, Floats, empty_examples, window_of

TITLE = "networks, events a second"
BATCHES = (256, 4_096, 65_536)
WINDOW, ITEMS, USERS, DRAWS = 50, 20_000, 100_000, 32
Make = Callable[[int, str], Settings]
SYSTEMS: dict[str, tuple[type[Learner], bool, Make]] = {
    "din": (DIN, True, lambda batch, device: DINSettings(minibatch=batch, device=device)),
    "mirrn, 20 of 50 kept": (
        MIRRN,
        True,
        lambda batch, device: MIRRNSettings(window=WINDOW, kept=20, minibatch=batch, device=device),
    ),
    f"sine, {DRAWS} draws": (
        SINE,
        False,
        lambda batch, device: SINESettings(few=0, draws=DRAWS, minibatch=batch, device=device),
    ),
    f"twotower, {DRAWS} draws": (
        TwoTower,
        False,
        # "cpu" is the compiled kernel; "cpu:0" the torch half, as on the GPU
        lambda _, device: TwoTowerSettings(
            window=WINDOW, softmax="sampled", draws=DRAWS, device="cpu:0" if device == "cpu" else device
        ),
    ),
}


def made_up(size: int, *, labelled: bool, seed: int) -> ExampleBatch:
    """Examples whose items are drawn from a long tail."""
    rng = np.random.default_rng(seed)
    batch = empty_examples(size, WINDOW)
    window, time_ms = window_of(batch), seed * 100_000_000 + np.arange(size)
    batch.offset_B[:], batch.time_ms_B[:], batch.known_ms_B[:] = time_ms, time_ms, time_ms
    batch.user_B[:] = rng.integers(0, USERS, size)
    batch.item_B[:] = (ITEMS * rng.random(size) ** 3).astype(np.int64)
    if labelled:
        batch.label_B[:] = rng.random(size) < 0.5
    window.length_B[:] = WINDOW
    window.item_BW[:] = (ITEMS * rng.random((size, WINDOW)) ** 3).astype(np.int64)
    window.age_s_BW[:] = np.arange(WINDOW, 0, -1) * 3600.0
    window.retention_BW[:] = np.exp(window.age_s_BW / -86_400.0)
    return batch


class Run:
    """A system on a device."""

    def __init__(self, name: str, batch: int, device: str) -> None:
        cls, self.labelled, make = SYSTEMS[name]
        roles = frozenset({"user", "item", "time"} | ({"label"} if self.labelled else set()))
        context = Context(labelled=self.labelled, roles=roles, catalogue=Catalogue())
        self.learner = cls(make(batch, device), context)
        self.batch, self.steps, self.seconds = batch, 0, 0.0

    def step(self) -> None:
        rows = made_up(self.batch, labelled=self.labelled, seed=self.steps)
        self.learner.context.catalogue.learn(rows)
        self.steps += 1
        self.seconds -= time.perf_counter()
        self.said(rows)
        self.learner.learn(rows)
        self.seconds += time.perf_counter()

    def said(self, rows: ExampleBatch) -> Floats:
        """P(action), or the users' vectors."""
        if self.learner.predicting:
            return self.learner.score(rows).astype(np.float32)
        vectors = self.learner.interests(rows)
        assert vectors is not None
        return vectors

    def rate(self, seconds: int) -> float:
        """Events a second, over so many seconds at least."""
        self.step()
        self.seconds, first = 0.0, self.steps
        while self.steps == first or self.seconds < seconds:
            self.step()
        return (self.steps - first) * self.batch / self.seconds


def agreement(name: str) -> float:
    """The largest difference between what the CPU and the GPU say."""
    runs = [Run(name, 256, device) for device in ("cpu", "cuda")]
    for run in runs:
        run.step()
    probe = made_up(256, labelled=runs[0].labelled, seed=9)
    return float(np.abs(runs[0].said(probe) - runs[1].said(probe)).max())


def measure(bench: Bench, *, largest: int, seconds: int) -> Tables:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    devices = ("cpu",) if gpu is None else ("cpu", "cuda")
    rows: list[Row] = []
    for name in SYSTEMS:
        for batch in (size for size in BATCHES if size <= largest):
            rates: dict[str, Cell] = {}
            for device in devices:
                with bench.telling.step(f"{name}, batches of {batch:,}, {device}"):
                    rates[device] = Run(name, batch, device).rate(seconds)
            rows.append({"what": f"{name}, {batch:,} at once", **rates})
    tables: Tables = {
        "devices": [
            {"what": "cpu", "is": platform.processor() or platform.machine()},
            {"what": "cuda", "is": gpu or "none on this machine"},
        ],
        TITLE: rows,
    }
    if gpu is not None:
        tables["largest difference of CPU and GPU"] = [
            {"what": name, "difference": agreement(name)} for name in SYSTEMS
        ]
    return tables


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "largest": Option(help="events of the largest batch", default=65_536, quick=256, kind=int),
        "seconds": Option(help="seconds a row takes at least", default=2, quick=0, kind=int),
    },
)
