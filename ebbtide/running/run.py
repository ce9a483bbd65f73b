"""One run: a log's events through the operator and the trainer, measured and published."""

import json
from pathlib import Path

import msgspec

from ebbtide.config import RunConfig
from ebbtide.running.compared import Beside
from ebbtide.running.learning import Learning
from ebbtide.running.plan import operator_of, subject
from learners.insight import Insight
from learners.judging.measure import Measure
from replay.log import Log
from state.errors import InputError
from state.store.contract import EmbeddingStore
from state.tree import Tree, digest
from streams.schema import EventBatch
from streams.wire.reasons import LATE

PREDICTIONS = "predictions"


class ReplayRun:
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
        outcomes = self.beside.after(scored)
        with self.phases("measure"):
            acted = self.beside.policy.acted if self.beside.policy else None
            self.measure.add(scored.batch, outcomes, scored.request, acted)

    def finish(self) -> None:
        """Learn what still waits, publish the last delta, and tell readers of the run."""
        with self.phases("score and learn"):
            self.trainer.finish()
        with self.phases("publish"):
            self.learning.publisher.flush()
            self.store.put_info(self.learning.info(self.log.survey.last_ms))

    def close(self) -> None:
        self.beside.close()
        self.learning.close()

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
        first = next((insight for insight in told if insight is not None), None)
        return first.timeless() if first is not None and self.log.survey.unit == "tick" else first

    def tree(self) -> Tree:
        return {
            "settings": self.fingerprint(),
            "events": self.events,
            "operator": self.operator.tree(),
            "measure": self.measure.tree(),
            **self.learning.tree(),
        }

    def load(self, tree: Tree) -> None:
        if self.fingerprint() not in _filled_in(tree["settings"], ruled="policy" in tree):
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


def _filled_in(fingerprint: str, *, ruled: bool) -> tuple[str, ...]:
    """With the default of every setting that the version which made a checkpoint did not have yet.

    No rules about drift were once the default: a run without any (not `ruled`) may go on by the usual ones.
    """
    settings, end = json.JSONDecoder().raw_decode(fingerprint)
    try:
        config = msgspec.convert(settings, RunConfig)
    except msgspec.ValidationError:
        return (fingerprint,)
    meant = [config] if ruled or config.act else [config, msgspec.structs.replace(config, act=None)]
    return tuple(msgspec.json.encode(one).decode() + fingerprint[end:] for one in meant)
