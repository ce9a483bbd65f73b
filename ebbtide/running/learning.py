"""From examples to what is learned, watched and published: the same for a replay and for live traffic."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ebbtide.config import RunConfig
from ebbtide.publishing.publish import Publisher, Sink, columns, titles
from ebbtide.running.plan import NOT_ACTING, Plan, Subject, acting, plan, trainer_of, variant_name
from ebbtide.running.webhooks import webhooks
from ebbtide.running.without_action import WithoutAction
from learners.coevolution.record import Coevolution
from learners.contract import Learner
from learners.training.trainer import Scored, Trainer, joined
from state.drift_alarm import CHANGING, DriftAction, DriftAlarm, EmbeddingHealth, Foreseen
from state.errors import InputError
from state.examples import ExampleBatch
from state.keys import Names
from state.progress import CycleAnswer
from state.store.contract import RunInfo
from state.tree import Tree

if TYPE_CHECKING:
    from monitor.actions import ActionPolicy
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

    def __init__(
        self,
        subject: Subject,
        config: RunConfig,
        sink: Sink,
        roll_back: Callable[[int], None] | None = None,
    ) -> None:
        """`roll_back` serves readers what they were served at a time, where there are any."""
        self.subject = subject
        self._roll_back = roll_back
        self.config = config
        self.plan: Plan = plan(config, subject)
        self.trainer: Trainer = trainer_of(self.plan, config, subject)
        self.phases = Phases()
        self.drift = _monitor() if config.drift else None
        self.policy = _policy(config, self.trainer.learners[self.plan.model], serves=roll_back is not None)
        self.without: WithoutAction | None = None
        """What the newest action is worth, until that is known."""
        self.on_action: list[Callable[[DriftAction], None]] = []
        """Called as something is done, and again once it is known what it was worth."""
        self.cycle_answers: list[CycleAnswer] = []
        """What became of what was asked of the model's cycles, the newest."""
        self.webhooks = webhooks(config.act or (), subject.name)
        if self.webhooks is not None:
            self.on_action.append(self.webhooks.send)
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
        """Score, learn, watch, act and publish one micro-batch; in pieces where it may be time to act."""
        if self.policy is None:
            return self._step(batch)[0]
        pieces = []
        for rows in self.policy.parts(len(batch)):
            scored, raised = self._step(batch.take(rows))
            pieces.append(scored)
            assert self.drift is not None
            actions = self.policy.after(len(scored.batch), raised, self.drift.alarms, self.drift.clock_ms)
            changes = any(action.do in CHANGING for action in actions)
            self._judge(self.policy, scored, ends=changes)
            if changes:
                self.without = WithoutAction.begun(self.trainer, self.plan, self.policy.events)
            for action in actions:
                self._act(action)
        return pieces[0] if len(pieces) == 1 else joined(batch, pieces)

    def _step(self, batch: ExampleBatch) -> "tuple[Scored, list[Alarm]]":
        with self.phases("score and learn"):
            scored = self.trainer.step(batch)
        raised: list[Alarm] = []
        if self.drift is not None:
            with self.phases("watch for drift"):
                raised = self._watch(self.drift, scored)
        with self.phases("publish"):
            self.publisher(scored)
        return scored, raised

    def _judge(self, policy: "ActionPolicy", scored: Scored, *, ends: bool) -> None:
        """Of the newest action, by these events, too; the last ones before another?"""
        if self.without is None:
            return
        self.without.add(scored)
        if ends or self.without.over:
            before, policy.done = policy.done, policy.judged(self.without.judge)
            for action in policy.done:
                if action not in before:
                    self._tell(action)
            self.without.end()
            self.without = None

    def _act(self, action: DriftAction) -> None:
        """Do it, to all learners that can but floors and those that go without; tell of it."""
        still = {variant_name(self.plan.model, NOT_ACTING)}
        if self.without is not None:
            still |= set(self.without.names.values())
        for name, learner in self.trainer.learners.items():
            if learner.floor or name in still:
                continue
            if action.do == "doubt" and learner.doubts and action.share is not None:
                learner.doubt(action.share)
            elif action.do == "calibrate" and learner.predicting:
                self.trainer.recalibrate(name)
            elif action.do == "cycle" and learner.cycles:
                with suppress(InputError):  # a variant may be one without cycles
                    learner.begin_cycle()
        if action.do == "rollback" and self._roll_back is not None:
            self._roll_back(action.time_ms if action.since_ms is None else action.since_ms)
        self._tell(action)

    def _tell(self, action: DriftAction) -> None:
        for listener in self.on_action:
            listener(action)

    def close(self, patience_s: float = 10.0) -> None:
        """Wait so long for what is being told to others."""
        if self.webhooks is not None:
            self.webhooks.close(patience_s)

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
            explore=self.embedder.explore,
            explores_by=self.embedder.explores_by,
            coevolution=msgspec.to_builtins(self.coevolution()),
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

    def actions(self) -> list[DriftAction]:
        """What was done about drift, in order, and what it was worth, by now."""
        if self.policy is None:
            return []
        return self.policy.judged(self.without.judge) if self.without else self.policy.done

    def coevolution(self) -> Coevolution | None:
        """What has evolved in cycles, where the model has any."""
        if not self.embedder.cycles:
            return None
        from learners.systems.coea import CoEA

        assert isinstance(self.embedder, CoEA)
        evolved = self.embedder.coevolution(self.subject.names)
        return msgspec.structs.replace(evolved, answers=self.cycle_answers)

    def embeddings(self) -> list[EmbeddingHealth]:
        """How the published vectors were, at each look."""
        return self.drift.embeddings.looks if self.drift else []

    def foreseen(self) -> list[Foreseen]:
        """What scores let expect before labels came, and what these told, in windows of events."""
        return self.drift.foreseen.told() if self.drift else []

    def told(self, alarm: "Alarm") -> DriftAlarm:
        """An alarm with names."""
        return told(
            alarm, self.subject.names, {"recall@10": self.plan.embedder}.get(alarm.signal, self.plan.model)
        )

    def _watch(self, drift: "DriftMonitor", scored: Scored) -> "list[Alarm]":
        from monitor.drift import Scores

        p_B, hit_B = np.full((2, len(scored.batch)), np.nan)
        said_B = scored.outcomes[self.plan.model].p_B
        if said_B is not None and scored.batch.labelled:
            p_B[:] = said_B
        rank_R = scored.outcomes[self.plan.embedder].rank_R
        if rank_R is not None:
            hit_B[scored.request.rows_R] = rank_R <= 10
        raised = drift.update(scored.batch, Scores(p_B, hit_B))
        if drift.embeddings.due(drift.events):
            items = self.trainer.catalogue.items
            drift.look(items.keys[: len(items)].copy(), self.embedder.item_vectors)
        return raised

    def tree(self) -> Tree:
        return {
            "trainer": self.trainer.tree(),
            "publisher": self.publisher.tree(),
            **({} if self.drift is None else {"drift": self.drift.tree()}),
            **({} if self.policy is None else {"policy": self.policy.tree()}),
            **({} if self.without is None else {"without": self.without.tree()}),
            **({} if self.webhooks is None else {"webhooks": self.webhooks.tree()}),
        }

    def load(self, tree: Tree) -> None:
        self.trainer.load(tree["trainer"])
        self.publisher.load(tree["publisher"])
        if self.drift is not None:
            self.drift.load(tree["drift"])
        if self.policy is not None and "policy" in tree:
            self.policy.load(tree["policy"])
        elif self.policy is not None and self.drift is not None:
            self.policy.events = self.drift.events
        if "without" in tree:
            self.without = WithoutAction(self.trainer, self.plan)
            self.without.load(tree["without"])
        if self.webhooks is not None and "webhooks" in tree:
            self.webhooks.load(tree["webhooks"])


def told(alarm: "Alarm", names: Names, learner: str) -> DriftAlarm:
    """The alarm with names; `learner` is whose errors its signal is of, if it is of errors."""
    from monitor.alarms import COLD, SIGNALS

    name = None if alarm.key is None else names[alarm.key]
    if alarm.segment == "users":
        name = "cold" if alarm.key == COLD else "warm"
    same = {field: getattr(alarm, field) for field in DriftAlarm.__struct_fields__ if hasattr(alarm, field)}
    return DriftAlarm(
        **same,
        learner=None if SIGNALS[alarm.signal] is None else learner,
        name=name,
        before=alarm.mean_before,
        after=alarm.mean_after,
    )


def _policy(config: RunConfig, model: Learner, *, serves: bool) -> "ActionPolicy | None":
    """Raises InputError where there are rules, and nothing is watched or nobody can follow them."""
    if not acting(config, model):
        return None
    from monitor.actions import DEFAULT, ActionPolicy

    if config.act is None:
        return ActionPolicy(DEFAULT)
    if not config.drift:
        raise InputError("act: expected drift = true, since rules go by its alarms")
    able = {
        "doubt": model.doubts,
        "calibrate": model.predicting,
        "cycle": model.cycles,
        "rollback": serves,
        "webhook": True,
    }
    for rule in config.act:
        if not able[rule.do]:
            who = "a replay has no readers to be served" if rule.do == "rollback" else f"{model.name} cannot"
            raise InputError(
                f"act: do = {rule.do!r}, but {who}; leave the rule out, or take another --learner"
            )
    return ActionPolicy(config.act)


def _monitor() -> "DriftMonitor":
    """Here rather than above: its import takes seconds, which a mistyped command should not wait for."""
    from monitor.drift import DriftMonitor

    return DriftMonitor()
