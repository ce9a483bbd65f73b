"""What an action on drift was worth: beside the model a copy from just before it, which learns on without."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.report.comparisons import worth
from ebbtide.running.plan import Plan, variant_name
from learners.judging.judge import Events, Speaker, compared
from learners.training.trainer import Scored, Trainer
from state.drift_alarm import CHANGING, DriftAction, Worth
from state.keys import KeyMap
from state.tree import Tree

AFTERWARDS = 4096
"""Events after an action over which it is judged, fewer where there is another action before."""
_NAME = "not acting"
_COLUMNS: dict[str, type[np.generic]] = {
    "time_ms": np.int64,
    "user": np.int64,
    "label": np.float32,
    **{f"p_{who}": np.float32 for who in ("with", "without")},
    **{f"rank_{who}": np.int32 for who in ("with", "without")},
}


class WithoutAction:
    """The copy, which the trainer drives like any learner, and what both have said since."""

    def __init__(self, trainer: Trainer, plan: Plan, event: int = 0) -> None:
        """After event number `event`."""
        self.event = event
        self._trainer, self._predictor = trainer, plan.model
        self._ranker = plan.model if trainer.learners[plan.model].ranks else plan.embedder
        self.names = {of: variant_name(of, _NAME) for of in (self._predictor, self._ranker)}
        """Learner -> copy: of who predicts, and who ranks if that is another."""
        self._used = 0
        self._said: dict[str, NDArray[Any]] = {
            name: np.zeros(AFTERWARDS, dtype) for name, dtype in _COLUMNS.items()
        }

    @classmethod
    def begun(cls, trainer: Trainer, plan: Plan, event: int) -> "WithoutAction | None":
        """To be called before the action. None where there are learners whose state cannot be copied."""
        branch = cls(trainer, plan, event)
        if not all(trainer.learners[of].saved for of in branch.names):
            return None
        for of, name in branch.names.items():
            trainer.branch(name, of)
        return branch

    @property
    def over(self) -> bool:
        return self._used == AFTERWARDS

    def add(self, scored: Scored) -> None:
        """Events that both have scored, no more than are left."""
        batch, rows = scored.batch, slice(self._used, self._used + len(scored.batch))
        self._used = rows.stop
        for name in ("time_ms", "user", "label"):
            self._said[name][rows] = getattr(batch, f"{name}_B")
        for who, names in (("with", list(self.names)), ("without", list(self.names.values()))):
            p_B, rank_R = scored.outcomes[names[0]].p_B, scored.outcomes[names[-1]].rank_R
            self._said[f"p_{who}"][rows] = np.nan if p_B is None else p_B
            if rank_R is not None:
                self._said[f"rank_{who}"][rows][scored.request.rows_R] = rank_R

    def judge(self, action: DriftAction) -> Worth | None:
        """By what there is so far; None of what changes no learner, or was done at another event."""
        if action.event != self.event or action.do not in CHANGING:
            return None
        columns = {name: column[: self._used] for name, column in self._said.items()}
        users, unknown_E = KeyMap(), np.zeros(self._used, np.uint8)
        user_E = users.rows(columns["user"], grow=True).astype(np.int32)
        events = Events(columns["time_ms"], user_E, len(users), columns["label"], unknown_E, unknown_E)
        copy = Speaker(_NAME, predicts=True, ranks=True, floor=False, of=self._predictor)
        theirs, ours = ((columns[f"p_{who}"], columns[f"rank_{who}"]) for who in ("with", "without"))
        judgement = compared(events, slice(None), copy, ours, theirs)
        return Worth(
            events=self._used, differences=tuple(judgement.differences), verdict=worth(judgement.differences)
        )

    def end(self) -> None:
        for name in self.names.values():
            self._trainer.prune(name)

    def tree(self) -> Tree:
        columns = {name: column[: self._used].copy() for name, column in self._said.items()}
        return {"event": self.event, "said": columns}

    def load(self, tree: Tree) -> None:
        """The copy itself is the trainer's to load."""
        self.event, self._used = int(tree["event"]), len(tree["said"]["user"])
        for name, column in self._said.items():
            column[: self._used] = tree["said"][name]
            column[self._used :] = 0
