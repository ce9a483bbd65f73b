"""STIM (arXiv:2508.02451), in our reading: a memory that fades and returns, asked by hour, weekday and place.

`docs/learners.md` draws it. Three parts, each with its own switches:

- the copy path (`learners.copying.copy_path`): the masks of the forgetting curve and of the periods as
  evidence for candidates, weighed by a query-based mixture of experts; it ranks the catalogue;
- the interests (`learners.interests.unit`): a multi-interest unit over recent behaviour; its vectors are
  published, and its score is evidence;
- P(action) on logs with labels (`learners.systems.stack`): Gaussian rows, corrected by what the session, the
  neighbours and an asymmetric factorisation say of their residuals.

The paper names the masks, the mixture and the multi-interest unit; all equations are our reconstruction.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import msgspec

from learners.contract import Context, Learner, Needs, Outcome, RankRequest, Settings, Step
from learners.copying.copy_path import CopyPath
from learners.copying.distil import copy_score
from learners.copying.further_pass import FurtherPass
from learners.copying.settings import CopySettings
from learners.insight import Insight
from learners.interests.contract import Unit
from learners.interests.settings import TwoTowerSettings
from learners.interests.unit import InterestUnit
from learners.judging.probing import probe
from learners.ranges import Some, Whole
from learners.registry import able, learner
from learners.systems.stack import Stack, StackSettings
from learners.tables.expiry import Forgotten
from state.errors import InputError
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s
from state.memory.mask import NEWEST
from state.store.copy_score import CopyScore
from state.tree import Tree


class InterestSettings(TwoTowerSettings, frozen=True, kw_only=True):
    """Settings of the interests."""

    views: bool | None = False
    few: Whole = 128
    draws: Some = 128
    """Fewer than alone: it is one column of the evidence, and learning it is the most of what a log without
    repeats costs."""


class StimSettings(Settings, frozen=True, kw_only=True):
    """Settings of the parts."""

    copy: CopySettings = CopySettings()
    interests: InterestSettings | str = InterestSettings()
    """Of the built-in unit; or a system, by name and with its own defaults, that stands in its place."""
    action: StackSettings = StackSettings()


class Stim(Learner):
    """Ranks any log, and predicts P(action) on one with labels."""

    name: ClassVar[str] = "stim"
    Config: ClassVar[type[Settings]] = StimSettings
    predicts: ClassVar[bool] = True
    ranks: ClassVar[bool] = True
    doubts: ClassVar[bool] = True
    layout: ClassVar[int] = 3
    ablations: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "no mask": {"copy": {"mask": False}},
        "no curve of return": {"copy": {"returns": False}},
        "no periods": {"copy": {"periodic": False}},
        "one expert": {"copy": {"views": False, "mixture": {"hidden": 60}}},
        "no copy path": {"copy": {"memory": False}},
        "one interest": {"interests": {"shallow": False}},
        "built-in interests": {"interests": {}},
        "no base": {"copy": {"base": False}, "action": {"base": False}},
    }
    action_ablations: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "no session": {"action": {"session": {"on": False}}},
        "no neighbours": {"action": {"neighbour_items": {"on": False}, "neighbour_users": {"on": False}}},
        "no practice": {"action": {"practice": {"on": False}}},
        "no SVD": {"action": {"asymmetric": {"on": False}}},
    }
    """Variants that differ on logs with labels."""

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        s = cast(StimSettings, config)
        self.unit = _unit(s.interests, context)
        self.copy = CopyPath(s.copy, context, self.unit) if s.copy.on else None
        self.further = FurtherPass(self.copy) if self.copy is not None else None
        self.action = Stack(s.action, context) if context.labelled else None

    @classmethod
    def ablations_for(cls, context: Context) -> Mapping[str, Mapping[str, Any]]:
        needed = {"no mask": "clock", "no periods": "clock", "no practice": "category"}
        ablations = {**cls.ablations, **(cls.action_ablations if context.labelled else {})}
        return {
            name: differ for name, differ in ablations.items() if needed.get(name, "user") in context.roles
        }

    @property
    def needs(self) -> Needs:
        s = cast(StimSettings, self.config)
        if self.copy is None:
            return self.unit.needs
        return Needs(window=s.copy.window, newest=NEWEST if s.copy.mask else s.copy.window)

    def step(self, step: Step) -> Outcome:
        p_B = self.action.step(step).p_B if self.action is not None else None
        if self.copy is not None:
            return Outcome(p_B=p_B, rank_R=self.copy.step(step))
        rank_R = self.unit.ranked(step.batch, step.rank)
        self.unit.learn(step.queue)
        return Outcome(p_B=p_B, rank_R=rank_R)

    def score(self, batch: ExampleBatch) -> Doubles:
        if self.action is None:
            return super().score(batch)
        return self.action.score(batch)

    def rank(self, batch: ExampleBatch) -> Floats:
        return self._ranker.rank(batch)

    def ranked(self, batch: ExampleBatch, request: RankRequest, chunk: int = 64) -> Int64s:
        return self._ranker.ranked(batch, request)

    def learn(self, batch: ExampleBatch) -> None:
        if self.action is not None:
            self.action.learn(batch)
        self._ranker.learn(batch)

    def relearn(self, batch: ExampleBatch) -> None:
        """Move the mixture and the interests again; P(action) is solved in closed form, and stays."""
        if self.further is None:
            self.unit.relearn(batch)
        else:
            self.further.learn(batch)

    @property
    def _ranker(self) -> CopyPath | Unit[Any]:
        return self.copy if self.copy is not None else self.unit

    def doubt(self, share: float) -> None:
        """P(action) and the interests doubt; evidence follows the newest events as it is."""
        if self.action is not None:
            self.action.doubt(share)
        if self.unit.doubts:
            self.unit.doubt(share)

    def forget(self, forgotten: Forgotten) -> None:
        if self.action is not None:
            self.action.forget(forgotten)
        self._ranker.forget(forgotten)

    def item_vectors(self, keys_N: Int64s) -> Floats | None:
        return self.unit.item_vectors(keys_N)

    def interests(self, batch: ExampleBatch) -> Floats | None:
        return self.unit.interests(batch)

    @property
    def interest_names(self) -> tuple[str, ...]:
        return self.unit.interest_names

    def changed_items(self) -> Int64s:
        return self.unit.changed_items()

    def copy_score(self) -> CopyScore | None:
        return copy_score(self.copy) if self.copy is not None else None

    def insight(self) -> Insight | None:
        if self.copy is None:
            return None
        probed = probe(
            self.rank,
            self.context.catalogue,
            window=self.needs.window,
            labelled=self.context.labelled,
            clock=self.copy.periodic,
        )
        told = self.copy.ledger.insight(probed.curves, probed.kernels)
        return msgspec.structs.replace(told, returns=self.copy.search.returns.curves())

    def tree(self) -> Tree:
        action = {} if self.action is None else {"action": self.action.tree()}
        copy = {} if self.copy is None else {"copy": self.copy.tree()}
        return {"interests": self.unit.tree(), **copy, **action}

    def load(self, tree: Tree) -> None:
        if self.copy is not None:
            self.copy.load(tree["copy"])
        self.unit.load(tree["interests"])
        if self.action is not None:
            self.action.load(tree["action"])


def _unit(chosen: InterestSettings | str, context: Context) -> Unit[Any]:
    """Raises InputError where a system cannot stand there."""
    if isinstance(chosen, InterestSettings):
        return InterestUnit(chosen, context)
    system = learner(chosen)
    if not issubclass(system, Unit):
        those = ", ".join(able(lambda one: issubclass(one, Unit)))
        raise InputError(
            f"[learners.stim] interests: expected a system that knows a user by interests ({those}), got "
            f"{chosen!r}"
        )
    return system(system.Config(), context)
