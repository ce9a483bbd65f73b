"""A run: a log through the operator and the trainer, measured, published, checkpointed, reported."""

import json
import resource
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
from ebbtide.running.compared import Beside
from ebbtide.running.learning import Learning
from ebbtide.running.plan import batch_size, operator_of, subject
from learners.insight import Insight
from learners.judging.evaluation import Evaluation
from learners.judging.measure import Measure
from replay.log import Log
from serving.scoring import followed
from state import checkpoint
from state.compiled import compiled_here
from state.errors import InputError
from state.store.contract import EmbeddingStore
from state.store.embedded import open_store
from state.store.in_memory import DictStore
from state.tree import Tree, digest
from streams.schema import EventBatch
from streams.wire.reasons import LATE

Progress = Callable[[int, int, Measure], None]
"""Called with (events done, events in all, what was said so far) now and then."""

REPORT, PAGE, PREDICTIONS = "report.json", "report.html", "predictions"
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


class Run:
    """One log, one plan; `step` takes events, `tree` is everything a restart needs."""

    def __init__(self, log: Log, config: RunConfig, store: EmbeddingStore, out: Path) -> None:
        self.log = log
        self.config = config
        self.subject = subject(config, log)
        self.learning = Learning(self.subject, config, store)
        self.plan, self.phases = self.learning.plan, self.learning.phases
        self.trainer = self.learning.trainer
        self.operator = operator_of(self.trainer, self.subject)
        self.beside = Beside(self.plan, config, log, self.trainer, out, self.phases)
        policy = self.beside.policy
        self.measure = Measure(
            out / PREDICTIONS,
            self.beside.speakers,
            of=self.beside.of,
            more=policy.columns if policy else (),
        )
        self.store = store
        self.events = 0

    def step(self, events: EventBatch) -> None:
        """Remember, score, measure, learn and publish one micro-batch."""
        self.events += len(events)
        with self.phases("remember"):
            batch = self.operator.process(events, int(events.time_ms_B.max()))
        if len(self.operator.late_L):
            self.log.set_aside(
                events.take(self.operator.late_L), LATE, "its time lies behind the clock of the log"
            )
        if not len(batch):
            return
        self.beside.before(batch)
        scored = self.learning.step(batch)
        said = self.beside.after(scored)
        with self.phases("measure"):
            acted = self.beside.policy.acted if self.beside.policy else None
            self.measure.add(scored.batch, said, scored.request, acted)

    def finish(self) -> None:
        """Learn what still waits, publish the last delta, and tell readers of the run."""
        with self.phases("score and learn"):
            self.trainer.finish()
        with self.phases("publish"):
            self.learning.publisher.flush()
            self.store.put_info(self.learning.info(self.log.survey.last_ms))

    def close(self) -> None:
        self.beside.close()

    def digest(self) -> str:
        """BLAKE2b of the operator's and the trainer's state, without learners that have none to give."""
        policy = self.learning.policy
        return digest(
            {
                "operator": self.operator.tree(),
                "trainer": self.trainer.tree(unsaved=False),
                **({} if policy is None else {"policy": policy.tree()}),
            }
        )

    def insight(self) -> Insight | None:
        """What the model has learned, or else the learner whose vectors are published."""
        named = (self.plan.model, self.plan.embedder)
        told = (self.trainer.learners[name].insight() for name in named)
        found = next((insight for insight in told if insight is not None), None)
        return found.timeless() if found is not None and self.log.survey.unit == "tick" else found

    def tree(self) -> Tree:
        return {
            "settings": self.fingerprint(),
            "events": self.events,
            "operator": self.operator.tree(),
            "measure": self.measure.tree(),
            **self.learning.tree(),
        }

    def load(self, tree: Tree) -> None:
        if _filled_in(tree["settings"]) != self.fingerprint():
            raise InputError(
                "--resume: the checkpoint was made with another log or other settings; "
                "resume with the same, or start again without --resume"
            )
        self.events = int(tree["events"])
        self.operator.load(tree["operator"])
        self.measure.load(tree["measure"])
        self.learning.load(tree)

    def fingerprint(self) -> str:
        """What must be the same for a checkpoint to be gone on from."""
        survey = self.log.survey
        config = msgspec.json.encode(self.config).decode()
        mapping = sorted(self.log.mapping.columns.items())
        return f"{config} {mapping} {self.log.label_rule} {survey.rows} {survey.first_ms} {survey.last_ms}"


def _filled_in(fingerprint: str) -> str:
    """With the default of every setting that the version which made a checkpoint did not have yet."""
    said, end = json.JSONDecoder().raw_decode(fingerprint)
    try:
        return msgspec.json.encode(msgspec.convert(said, RunConfig)).decode() + fingerprint[end:]
    except msgspec.ValidationError:
        return fingerprint


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
        closing(Run(log, config, target, out)) as run,
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
            _facts(
                run,
                evaluation,
                seconds=time.perf_counter() - started,
                cpu=time.process_time() - cpu,
                setup=started - begun,
            )
        )


def _stream(
    run: Run, out: Path, speed: float | None, checkpointing: Checkpointing | None, progress: Progress | None
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


def _resumed(run: Run, checkpointing: Checkpointing | None) -> bool:
    if checkpointing is None or not checkpointing.resume:
        return False
    found = checkpoint.load(checkpointing.directory)
    if found is None:
        return False
    run.load(found[1])
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
        closing(Run(log, config, DictStore(), Path(folder))) as run,
    ):
        run.trainer.rehearse(_REHEARSED_BATCH)
        for start in range(0, _REHEARSED, _REHEARSED_BATCH):
            run.step(events.take(slice(start, start + _REHEARSED_BATCH)))
        run.finish()
        run.measure.evaluate(config.score_from if isinstance(config.score_from, float) else 0.5)
        run.digest()
        if compiled_here():
            run.insight()


def _facts(run: Run, evaluation: Evaluation, *, seconds: float, cpu: float, setup: float) -> report.RunFacts:
    log, survey, counts = run.log, run.log.survey, run.operator.counts
    dead = dict(log.dead.counts.most_common())
    ablation, staleness = run.beside.results(evaluation, run.phases.seconds)
    return report.RunFacts(
        log=report.LogInfo(
            name=log.name,
            start_ms=survey.first_ms,
            end_ms=survey.last_ms,
            users=survey.users,
            items=survey.items,
            roles=sorted(log.roles),
            labelled=log.labelled,
            label_rule=log.label_rule,
            leave_out=run.plan.leave_out,
            leave_out_reason=run.plan.leave_out_reason,
            label_delay_ms=run.config.label_delay_ms,
        ),
        events=report.EventCounts(
            read=run.events + sum(dead.values()) + log.left_out,
            used=counts.used,
            dead_letters=sum(dead.values()),
            duplicates=counts.duplicates,
            late=counts.late,
            left_out=log.left_out,
        ),
        dead_letters=dead,
        user_memory=report.UserMemory(
            users=counts.users, expired=counts.expired, bytes_per_user=counts.bytes_per_user
        ),
        seconds=seconds,
        cpu_seconds=cpu,
        setup_seconds=setup,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        phases=run.phases.seconds,
        evaluation=evaluation,
        score_from=run.config.score_from,
        rank_share=run.plan.rank_share,
        seed=run.config.seed,
        memory=run.config.operator.memory,
        state_digest=run.digest(),
        config=run.config,
        drift=run.learning.alarms(),
        actions=run.learning.actions(),
        insight=run.insight(),
        ablation=ablation,
        staleness=staleness,
        off_policy=run.beside.policy.judge(run.measure, run.config.score_from) if run.beside.policy else None,
        warnings=log.warnings,
        notes=[
            *log.notes,
            *(f"state_digest is without {one}, whose state cannot be read" for one in run.learning.unsaved()),
            *followed(run.store.info()),
            f"memory: {counts.bytes_per_user:,.0f} bytes a user over {counts.users:,} users"
            + (f", {counts.expired:,} expired" if counts.expired else "")
            + f"; {len(run.trainer.catalogue):,} items in the catalogue",
        ],
    )
