"""A run: a log through the operator and the trainer, measured, published, checkpointed, reported."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from ebbtide.alone import alone
from ebbtide.config import RunConfig
from ebbtide.report import page, report
from ebbtide.running.facts import facts
from ebbtide.running.plan import batch_size
from ebbtide.running.run import ReplayRun
from learners.judging.measure import Measure
from replay.log import Log
from state import checkpoint
from state.compiled import compiled_here
from state.errors import InputError
from state.store.embedded import open_store
from state.store.in_memory import DictStore
from streams.schema import EventBatch

Progress = Callable[[int, int, Measure], None]
"""Called with (events done, events in all, what was said so far) now and then."""

REPORT, PAGE = "report.json", "report.html"
_REHEARSED, _REHEARSED_BATCH = 320, 64
"""Enough for the memory to grow."""
_LONGEST_SLEEP_S = 86_400.0
"""A pause of centuries is more than the system takes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointing:
    """Where and how often a run saves itself."""

    directory: Path
    every: int = 100_000
    resume: bool = False


def replay(
    log: Log,
    out: Path,
    *,
    config: RunConfig | None = None,
    store: str | None = None,
    speed: float | None = None,
    checkpointing: Checkpointing | None = None,
    progress: Progress | None = None,
) -> report.Report:
    """Replay an opened log into `out`: report.json, report.html, predictions/, dead letters, the store.

    `store` is a Redis URL; without one a server of our own keeps the embeddings in `out`. `speed` paces the
    replay at that multiple of recorded time. Raises InputError on what the caller can mend.
    """
    begun = time.perf_counter()
    batch = batch_size(config or RunConfig(), log)
    config = msgspec.structs.replace(config or RunConfig(), batch=batch)
    with _held(out, checkpointing):
        _rehearse(log, config)
        made = _replayed(log, out, config, store, speed, checkpointing, progress, begun)
        report.write(made, out / REPORT)
        page.write(made, out / PAGE)
    return made


@contextmanager
def _held(out: Path, checkpointing: Checkpointing | None) -> Iterator[None]:
    """No other run writes into these folders."""
    with ExitStack() as held:
        held.enter_context(alone(out, "--out", "run writes"))
        if checkpointing is not None and checkpointing.directory.resolve() != out.resolve():
            held.enter_context(alone(checkpointing.directory, "--checkpoint", "run writes"))
        yield


def _replayed(
    log: Log,
    out: Path,
    config: RunConfig,
    store: str | None,
    speed: float | None,
    checkpointing: Checkpointing | None,
    progress: Progress | None,
    begun: float,
) -> report.Report:
    with (
        open_store(store or f"embedded:{out / 'store'}", create=True) as target,
        closing(ReplayRun(log, config, target, out)) as run,
    ):
        if checkpointing is not None:
            run.beside.refuse_checkpoint()
        if checkpointing is not None and run.learning.unsaved():
            raise InputError(
                f"--checkpoint: learner {run.learning.unsaved()[0]!r} cannot be saved; "
                "leave it out, or choose another"
            )
        resumed = _resumed(run, checkpointing)
        if not resumed:
            target.clear()
        started, cpu = time.perf_counter(), time.process_time()
        _stream(run, out, speed, checkpointing, progress)
        run.finish()
        with run.phases("judge"):
            evaluation = run.measure.evaluate(config.score_from)
            run.measure.close()
        return report.build(
            facts(
                run,
                evaluation,
                seconds=time.perf_counter() - started,
                cpu=time.process_time() - cpu,
                setup=started - begun,
            )
        )


def _stream(
    run: ReplayRun,
    out: Path,
    speed: float | None,
    checkpointing: Checkpointing | None,
    progress: Progress | None,
) -> None:
    started, total = time.monotonic(), run.log.rows
    saved = run.events
    batches = run.log.batches(batch_size(run.config, run.log), skip=run.events, dead_letters=out)
    while True:
        with run.phases("read"):
            events = next(batches, None)
        if events is None:
            return
        if speed is not None:
            due_s = (int(events.time_ms_B.max()) - run.log.survey.first_ms) / 1000 / speed
            while (early_s := started + due_s - time.monotonic()) > 0.0:
                time.sleep(min(early_s, _LONGEST_SLEEP_S))
        for part in run.beside.parts(events):
            run.step(part)
        if checkpointing is not None and run.events - saved >= checkpointing.every:
            with run.phases("checkpoint"):
                checkpoint.save(checkpointing.directory, run.events, run.tree())
            saved = run.events
        if progress is not None:
            progress(run.events, total, run.measure)


def _resumed(run: ReplayRun, checkpointing: Checkpointing | None) -> bool:
    if checkpointing is None or not checkpointing.resume:
        return False
    saved = checkpoint.load(checkpointing.directory)
    if saved is None:
        return False
    run.load(saved[1])
    return True


def _rehearse(log: Log, config: RunConfig) -> None:
    """A few made-up events through a run of their own: every kernel is compiled before the clock starts."""
    numbers = np.arange(_REHEARSED)
    time_ms = log.survey.first_ms + numbers * 600_000
    label = {"label": (numbers % 2).astype(np.float32)} if log.labelled else {}
    session = {"session": numbers % 4} if "session" in log.roles else {}
    events = EventBatch.of(user=numbers % 5, item=numbers % 8, time_ms=time_ms, **label, **session)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(ReplayRun(log, config, DictStore(), Path(folder))) as run,
    ):
        run.trainer.rehearse(_REHEARSED_BATCH)
        for start in range(0, _REHEARSED, _REHEARSED_BATCH):
            run.step(events.take(slice(start, start + _REHEARSED_BATCH)))
        run.finish()
        run.measure.evaluate(config.score_from if isinstance(config.score_from, float) else 0.5)
        run.digest()
        if compiled_here():
            run.insight()
