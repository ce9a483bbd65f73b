"""What freshness is worth: copies of a run's models that serve from older weights, and retraining offline.

They see the examples that the models see. Micro-batches are cut where copies are to be brought up to date,
which is all that changes for the models: one that learns batch by batch learns a little sooner.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import numpy as np

from ebbtide.config import RunConfig
from ebbtide.report import comparisons
from ebbtide.running.plan import Plan, learners_of, subject
from ebbtide.units import short
from learners.contract import Learner, Outcome
from learners.judging.evaluation import Evaluation
from learners.tables.catalogue import Catalogue
from learners.training.retraining import Offline, Spill, stride
from learners.training.served import Served
from learners.training.trainer import Scored, Trainer
from replay.log import Log
from state.errors import InputError
from state.examples import ExampleBatch
from streams.schema import EventBatch

Phases = Callable[[str], AbstractContextManager[None]]

DAY_MS = 86_400_000
_RETRAIN = "retrain offline"


class Freshness:
    """Copies of the model (and of the learner that is published, where that is another) at each interval.

    Raises InputError where times only give an order, or a learner cannot be copied.
    """

    def __init__(self, plan: Plan, config: RunConfig, log: Log, out: Path, phases: Phases) -> None:
        if log.survey.unit == "tick":
            raise InputError(
                f"--sync-every: the times of {log.name} only give an order; map a time with --map time=COLUMN"
            )
        if config.operator.memory.expire_ms is not None:
            raise InputError(
                "--sync-every: a copy's catalogue has to be the beginning of the model's, and with --expire "
                "items leave it; leave out one of the two"
            )
        self.names = tuple(dict.fromkeys([plan.model, plan.embedder]))
        self.phases = phases

        def make(catalogue: Catalogue) -> dict[str, Learner]:
            return learners_of(self.names, config, subject(config, log), catalogue)

        unsaved = [name for name, one in make(Catalogue()).items() if not one.saved]
        if unsaved:
            raise InputError(f"--sync-every: learner {unsaved[0]!r} cannot be copied; choose another")
        self.served = {every_ms: Served(make, every_ms) for every_ms in config.sync_every_ms if every_ms}
        self.offline: Offline | None = None
        if config.offline_passes:
            days = (log.survey.last_ms - log.survey.first_ms) / DAY_MS
            self.offline = Offline(
                make,
                Spill(out / ".examples.arrow"),
                every_ms=DAY_MS,
                passes=config.offline_passes,
                stride=stride(days, config.offline_passes, config.offline_budget),
                rule=plan.leave_out,
                rank_share=plan.rank_share,
                seed=config.seed,
            )
        self._first_ms: int | None = None
        self._clock_ms = -(2**63)
        self._batches = 0

    def of(self) -> dict[str, str]:
        """Which model each copy is of."""
        kinds = [f"every {short(every_ms)}" for every_ms in self.served]
        kinds += ["offline"] if self.offline else []
        return {_called(name, kind): name for kind in kinds for name in self.names}

    def parts(self, events: EventBatch) -> Iterator[EventBatch]:
        """The events, cut wherever the stream's clock passes a time at which something is due."""
        clock_ms_B = np.maximum(np.maximum.accumulate(events.time_ms_B), self._clock_ms)
        if self._first_ms is None:
            self._first_ms = int(clock_ms_B[0])
        cut_B = np.zeros(len(events), np.bool_)
        for every_ms in (*self.served, *([DAY_MS] if self.offline else [])):
            cut_B[1:] |= np.diff((clock_ms_B - self._first_ms) // every_ms) > 0
        bounds = [0, *np.flatnonzero(cut_B).tolist(), len(events)]
        return (events.take(slice(start, stop)) for start, stop in pairwise(bounds))

    def before(self, batch: ExampleBatch, trainer: Trainer) -> None:
        """Bring up to date what is due as a micro-batch begins, before anything of it is learned."""
        self._batches += 1
        self._clock_ms = max(self._clock_ms, int(batch.time_ms_B[0]))
        if self._first_ms is None:
            self._first_ms = self._clock_ms
        with self.phases("bring copies up to date"):
            due = [served for served in self.served.values() if served.schedule.due(self._clock_ms)]
            if due:
                catalogue = trainer.catalogue.tree()
                learners = {name: trainer.learners[name].tree() for name in self.names}
                for served in due:
                    served.publish(catalogue, learners)
        if self.offline is not None and self.offline.schedule.due(self._clock_ms):
            with self.phases(_RETRAIN):
                self.offline.begin_day()

    def after(self, scored: Scored) -> dict[str, Outcome]:
        """What the copies say of the rows that the models have just scored; a copy may be silent."""
        batch, request = scored.batch, scored.request
        self._clock_ms = max(self._clock_ms, int(batch.time_ms_B.max()))
        outcomes: dict[str, Outcome] = {}
        with self.phases("score copies"):
            for every_ms, served in self.served.items():
                outcomes |= _named(served.score(batch, request), f"every {short(every_ms)}")
            if self.offline is not None:
                outcomes |= _named(self.offline.score(batch, request), "offline")
                self.offline.spill.append(batch)
        return outcomes

    def result(self, evaluation: Evaluation, seconds: dict[str, float]) -> comparisons.Staleness:
        """The report's part, given CPU seconds by phase."""
        compared = {against.name: against for against in evaluation.compared}
        copies: list[comparisons.Copy] = []
        offline: list[comparisons.Retrained] = []
        spent_s, share = seconds.get(_RETRAIN, 0.0), 1.0
        for name in self.names:
            copies.append(comparisons.immediate(evaluation, name))
            for every_ms, served in self.served.items():
                against = compared[_called(name, f"every {short(every_ms)}")]
                copies.append(comparisons.copy(against, short(every_ms), every_ms / 1000, served.published))
            if self.offline is not None and self.offline.trainings:
                against = compared[_called(name, "offline")]
                share = self.offline.daily_rows / self.offline.trained_rows
                offline.append(
                    comparisons.Retrained(
                        learner=name,
                        every_s=DAY_MS / 1000,
                        stride=self.offline.stride,
                        passes=self.offline.passes,
                        trainings=self.offline.trainings,
                        events=against.events,
                        differences=against.differences,
                    )
                )
        return comparisons.Staleness(
            batch_s=(self._clock_ms - (self._first_ms or 0)) / 1000 / max(self._batches, 1),
            copies=copies,
            offline=offline,
            offline_cpu_seconds=spent_s,
            offline_daily_cpu_seconds=spent_s * share,
        )

    def close(self) -> None:
        """Remove what was kept on disk."""
        if self.offline is not None:
            self.offline.spill.close()


def _called(learner: str, kind: str) -> str:
    return f"{learner} {kind}"


def _named(outcomes: dict[str, Outcome], kind: str) -> dict[str, Outcome]:
    return {_called(name, kind): outcome for name, outcome in outcomes.items()}
