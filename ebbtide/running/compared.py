"""What runs beside a run's own learners: variants of the model, copies, and a learner judged as a policy."""

from collections.abc import Iterator
from pathlib import Path

from ebbtide.config import RunConfig
from ebbtide.report.comparisons import Ablation, Staleness, ablation
from ebbtide.running.freshness import Freshness, Phases
from ebbtide.running.judged_policy import JudgedPolicy
from ebbtide.running.plan import NOT_ACTING, Plan, variant_name
from learners.contract import Learner, Outcome
from learners.judging.evaluation import Evaluation
from learners.training.trainer import Scored, Trainer
from replay.log import Log
from state.errors import InputError
from state.examples import ExampleBatch
from streams.schema import EventBatch


class Beside:
    """Variants learn in the trainer, like any learner; copies are served here. Any may be absent."""

    def __init__(
        self, plan: Plan, config: RunConfig, log: Log, trainer: Trainer, out: Path, phases: Phases
    ) -> None:
        self.model = plan.model
        self.trainer = trainer
        self.variants = [name for name in trainer.learners if name not in plan.learners]
        self.freshness = Freshness(plan, config, log, out, phases) if config.sync_every_ms else None
        self.phases = phases
        self.policy = None if config.off_policy is None else JudgedPolicy(config.off_policy, trainer)

    @property
    def of(self) -> dict[str, str]:
        """Which learner each variant and copy is of."""
        copies = self.freshness.of() if self.freshness else {}
        return dict.fromkeys(self.variants, self.model) | copies

    @property
    def speakers(self) -> dict[str, Learner]:
        """All whose sayings are measured; in place of a copy the learner that it is of."""
        learners = self.trainer.learners
        return learners | {name: learners[of] for name, of in self.of.items() if name not in learners}

    def parts(self, events: EventBatch) -> Iterator[EventBatch]:
        """The events in the pieces in which they are to be stepped through."""
        return self.freshness.parts(events) if self.freshness else iter((events,))

    def before(self, batch: ExampleBatch) -> None:
        """To be called before the trainer learns from a micro-batch."""
        if self.freshness:
            self.freshness.before(batch, self.trainer)
        if self.policy:
            with self.phases("judge policy"):
                self.policy.before(batch)

    def after(self, scored: Scored) -> dict[str, Outcome]:
        """What everyone says of a micro-batch; a copy may be silent."""
        copies = self.freshness.after(scored) if self.freshness else {}
        return {**scored.outcomes, **copies}

    def results(
        self, evaluation: Evaluation, seconds: dict[str, float], *, acted: bool
    ) -> tuple[Ablation | None, Staleness | None]:
        """Parts of the report, by CPU seconds of phases, and whether anything was done about drift."""
        never = None if acted else variant_name(self.model, NOT_ACTING)
        prefix = variant_name(self.model, "")
        return (
            ablation(evaluation, self.model, prefix, never) if self.variants else None,
            self.freshness.result(evaluation, seconds) if self.freshness else None,
        )

    def refuse_checkpoint(self) -> None:
        """Raises InputError where something here is not in a checkpoint."""
        if self.freshness:
            raise InputError(
                "--sync-every: a checkpoint does not hold the copies; leave out --checkpoint, or --sync-every"
            )

    def close(self) -> None:
        if self.freshness:
            self.freshness.close()
