"""From examples to what is learned, watched and published: the same for a replay and for live traffic."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ebbtide.config import RunConfig
from ebbtide.publishing.publish import Publisher, Sink, columns, titles
from ebbtide.running.plan import Plan, Subject, plan, trainer_of
from learners.contract import Learner
from learners.training.trainer import Scored, Trainer
from state.drift_alarm import DriftAlarm
from state.examples import ExampleBatch
from state.keys import Names
from state.store.contract import RunInfo
from state.tree import Tree

if TYPE_CHECKING:
    from monitor.alarms import Alarm
    from monitor.drift import DriftMonitor

_FALLBACK = 100


@dataclass
class Phases:
    """CPU seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start


class Learning:
    """One stream of examples, one plan; `tree` is everything a restart needs."""

    def __init__(self, subject: Subject, config: RunConfig, sink: Sink) -> None:
        self.subject = subject
        self.config = config
        self.plan: Plan = plan(config, subject)
        self.trainer: Trainer = trainer_of(self.plan, config, subject)
        self.phases = Phases()
        self.drift = _monitor() if config.drift else None
        self.publisher = Publisher(
            sink,
            self.embedder,
            subject.names,
            self.trainer.had,
            every=config.publish_every,
            known=subject.operator.label_delay_ms == 0,
            periodic=subject.operator.memory.periodic,
        )

    @property
    def embedder(self) -> Learner:
        """Whose vectors are published."""
        return self.trainer.learners[self.plan.embedder]

    def step(self, batch: ExampleBatch) -> Scored:
        """Score, learn, watch and publish one micro-batch."""
        with self.phases("score and learn"):
            scored = self.trainer.step(batch)
        if self.drift is not None:
            with self.phases("watch for drift"):
                self._watch(self.drift, scored)
        with self.phases("publish"):
            self.publisher(scored)
        return scored

    def unsaved(self) -> list[str]:
        """Learners whose state cannot be saved."""
        return [name for name, learner in self.trainer.learners.items() if not learner.saved]

    def info(self, now_ms: int) -> RunInfo:
        """What a query must know of this run; `now_ms` is the stream's time."""
        catalogue, names, memory = self.trainer.catalogue, self.subject.names, self.subject.operator.memory
        popularity_N = catalogue.popularity(now_ms)
        best = np.argsort(-popularity_N, kind="stable")[:_FALLBACK].tolist()
        return RunInfo(
            log=self.subject.name,
            learner=self.plan.embedder,
            width=self.publisher.width,
            leave_out=self.plan.leave_out,
            label=self.subject.label_rule,
            interests=self.embedder.interest_names,
            copy=self.embedder.copy_score(),
            hour_width_h=memory.hour_width_h,
            week_width_h=memory.week_width_h,
            titles=titles(self.subject.items, names, now_ms),
            columns=columns(self.subject.items, names, now_ms),
            popular=tuple((names[int(catalogue.items.keys[n])], float(popularity_N[n])) for n in best),
        )

    def alarms(self) -> list[DriftAlarm]:
        """All of them, in order."""
        return [self.told(alarm) for alarm in self.drift.alarms] if self.drift else []

    def told(self, alarm: "Alarm") -> DriftAlarm:
        """An alarm with names."""
        return told(
            alarm, self.subject.names, {"recall@10": self.plan.embedder}.get(alarm.signal, self.plan.model)
        )

    def _watch(self, drift: "DriftMonitor", scored: Scored) -> None:
        from monitor.drift import Said

        p_B, hit_B = np.full((2, len(scored.batch)), np.nan)
        said_B = scored.outcomes[self.plan.model].p_B
        if said_B is not None and scored.batch.labelled:
            p_B[:] = said_B
        rank_R = scored.outcomes[self.plan.embedder].rank_R
        if rank_R is not None:
            hit_B[scored.request.rows_R] = rank_R <= 10
        drift.update(scored.batch, Said(p_B, hit_B))

    def tree(self) -> Tree:
        return {
            "trainer": self.trainer.tree(),
            "publisher": self.publisher.tree(),
            **({} if self.drift is None else {"drift": self.drift.tree()}),
        }

    def load(self, tree: Tree) -> None:
        self.trainer.load(tree["trainer"])
        self.publisher.load(tree["publisher"])
        if self.drift is not None:
            self.drift.load(tree["drift"])


def told(alarm: "Alarm", names: Names, learner: str) -> DriftAlarm:
    """The alarm with names; `learner` is whose errors its signal is of, if it is of errors."""
    from monitor.alarms import COLD, OUTCOMES

    name = None if alarm.key is None else names[alarm.key]
    if alarm.segment == "users":
        name = "cold" if alarm.key == COLD else "warm"
    errors = alarm.signal == "expected_log_loss" or (alarm.signal in OUTCOMES and alarm.signal != "positive")
    return DriftAlarm(
        signal=alarm.signal,
        learner=learner if errors else None,
        segment=alarm.segment,
        name=name,
        detector=alarm.detector,
        event=alarm.event,
        time_ms=alarm.time_ms,
        since_event=alarm.since_event,
        since_ms=alarm.since_ms,
        before=alarm.mean_before,
        after=alarm.mean_after,
        values_before=alarm.values_before,
        values_after=alarm.values_after,
        worse=alarm.worse,
        open=alarm.open,
        closed_event=alarm.closed_event,
        closed_ms=alarm.closed_ms,
        means=alarm.means,
        change=alarm.change,
        psi=alarm.psi,
        jensen_shannon=alarm.jensen_shannon,
    )


def _monitor() -> "DriftMonitor":
    """Here rather than above: its import takes seconds, which a mistyped command should not wait for."""
    from monitor.drift import DriftMonitor

    return DriftMonitor()
