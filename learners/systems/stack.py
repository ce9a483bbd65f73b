"""The stack: P(action) from Gaussian rows, corrected by parts that look at what they got wrong.

Gaussian rows give every row log odds. The parts make features from the residuals (label less their
probability) of the user's and the item's past; a Kalman logistic regression with weight one on those log odds
weighs the features. A part that is off is not computed.

Shape suffixes: B rows, Q rows of the queue, F features.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np

from learners.contract import NO_RANKS, Context, Learner, Outcome, Settings, Step
from learners.gaussian_rows.kalman import Kalman
from learners.labels import require_labels
from learners.ranges import Amount
from learners.residuals.asymmetric import Asymmetric, AsymmetricPart
from learners.residuals.exposure import Exposure, ExposurePart
from learners.residuals.neighbours import NeighbourPart, Neighbours, UserNeighbours
from learners.residuals.part import Known, ResidualPart, ResidualRows, moved, renumbered
from learners.residuals.practice import Practice, PracticePart
from learners.residuals.session import Session, SessionPart
from learners.systems.gaussian import Gaussian, GaussianRows
from learners.tables.dense_rows import Directory
from learners.tables.expiry import Forgotten
from learners.tables.fifo import Fifo
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s
from state.tree import Tree


class StackSettings(Settings, frozen=True):
    """Settings of the stack."""

    base: bool = True
    """Whether Gaussian rows are what is corrected; else even odds are."""
    gaussian: Gaussian = Gaussian()
    session: Session = Session()
    neighbour_items: Neighbours = Neighbours()
    neighbour_users: UserNeighbours = UserNeighbours()
    asymmetric: Asymmetric = Asymmetric()
    exposure: Exposure = Exposure()
    practice: Practice = Practice()
    variance: Amount = 0.2
    """What the weight of a feature begins with."""
    forget: Amount = 1e-7
    """What it grows by at each row."""
    most_users: Annotated[int, msgspec.Meta(ge=2)] = 1 << 22
    most_items: Annotated[int, msgspec.Meta(ge=2)] = 1 << 22
    """Users and items that the parts remember; beyond, the half that was used longest ago is forgotten."""


class Stack(Learner):
    """Raises InputError on a log without labels."""

    name: ClassVar[str] = "stack"
    Config: ClassVar[type[Settings]] = StackSettings
    predicts: ClassVar[bool] = True
    layout: ClassVar[int] = 2
    doubts: ClassVar[bool] = True
    ablations: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "no session": {"session": {"on": False}},
        "no neighbours": {"neighbour_items": {"on": False}, "neighbour_users": {"on": False}},
        "no practice": {"practice": {"on": False}},
        "practice that does not fade": {"practice": {"fades": False}},
        "no SVD": {"asymmetric": {"on": False}},
    }

    @classmethod
    def ablations_for(cls, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """Without categories nothing is practised."""
        return {
            name: differ
            for name, differ in cls.ablations.items()
            if "practice" not in differ or "category" in context.roles
        }

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        assert isinstance(config, StackSettings)
        require_labels(self.name, context)
        self.base = GaussianRows(config.gaussian, context) if config.base else None
        self.parts: dict[str, ResidualPart] = {}
        if config.session.on:
            self.parts["session"] = SessionPart(config.session)
        if config.neighbour_items.on:
            self.parts["neighbour_items"] = NeighbourPart(config.neighbour_items, "items")
        if config.neighbour_users.on:
            self.parts["neighbour_users"] = NeighbourPart(config.neighbour_users, "users")
        if config.asymmetric.on:
            self.parts["asymmetric"] = AsymmetricPart(config.asymmetric, context.seed)
        if config.exposure.on:
            self.parts["exposure"] = ExposurePart(config.exposure)
        if config.practice.on and "category" in context.roles:
            self.parts["practice"] = PracticePart(config.practice)
        self.names = ("constant", *(name for part in self.parts.values() for name in part.names))
        self.kalman = Kalman(len(self.names), variance=config.variance, forget=config.forget)
        self.directory = Directory(config.most_users, config.most_items)
        self.waiting = Fifo(
            {
                "user": (np.int64, 0),
                "item": (np.int64, 0),
                "logit": (np.float64, 0),
                "made": (np.float64, len(self.names)),
            }
        )

    def step(self, step: Step) -> Outcome:
        """Score each row after learning all that is due before it."""
        base_p_B = _even(step.batch) if self.base is None else self.base.step(step).p_B
        assert base_p_B is not None
        return Outcome(p_B=self._run(step.batch, base_p_B, step.queue.label_B, step.due_B))

    def score(self, batch: ExampleBatch) -> Doubles:
        users, items = self.directory.find(batch.user_B, batch.item_B)
        base_p_B = _even(batch) if self.base is None else self.base.score(batch)
        rows = ResidualRows(users, items, batch.time_ms_B, batch.category_B, _logit(base_p_B))
        made_BF = self._joined([part.peek(rows) for part in self.parts.values()], len(batch))
        return self.kalman.peek(made_BF, rows.logit_B)

    def learn(self, batch: ExampleBatch) -> None:
        """Learn the rows that wait longest; what was never scored is scored now."""
        scored = min(len(self.waiting), len(batch))
        rest = batch.take(slice(scored, len(batch)))
        if len(rest):
            self.step(Step(rest, batch, scored + np.arange(len(rest)), NO_RANKS))
            batch = batch.take(slice(len(batch) - 1, len(batch)))
        if self.base is not None:
            self.base.learn(batch)
        self._score(_NO_ROWS, batch.label_B, _NO_ROWS.user_B)

    def _run(self, batch: ExampleBatch, base_p_B: Doubles, label_Q: Floats, due_B: Int64s) -> Doubles:
        p_B = np.empty(len(batch))
        logit_B = _logit(base_p_B)
        done, learned = 0, 0
        while done < len(batch):
            users, items = self.directory.admit(batch.user_B[done:], batch.item_B[done:])
            part = slice(done, done + len(users))
            if len(users):
                for each in self.parts.values():
                    each.admit(self.directory.keys(0), self.directory.keys(1))
                rows = ResidualRows(
                    users, items, batch.time_ms_B[part], batch.category_B[part], logit_B[part]
                )
                due = int(due_B[part.stop - 1])
                p_B[part] = self._score(rows, label_Q[learned:due], due_B[part] - learned)
                done, learned = part.stop, due
            if done < len(batch):
                self._make_room()
        return p_B

    def _score(self, rows: ResidualRows, label_Q: Floats, due_B: Int64s) -> Doubles:
        """P(action) of each row; learns all of `label_Q`."""
        place = self.waiting.extend(len(rows.user_B))
        new, queue = (
            slice(place, self.waiting.tail),
            slice(self.waiting.head, self.waiting.head + len(label_Q)),
        )
        columns = self.waiting.columns
        columns["user"][new], columns["item"][new], columns["logit"][new] = (
            rows.user_B,
            rows.item_B,
            rows.logit_B,
        )
        logit_Q, label = columns["logit"][queue], label_Q.astype(np.float64)
        residual_Q = label - 1.0 / (1.0 + np.exp(-logit_Q))
        known = Known(columns["user"][queue], columns["item"][queue], logit_Q, label, residual_Q)
        made_BF = self._joined(
            [part.step(rows, known, due_B) for part in self.parts.values()], len(rows.user_B)
        )
        columns["made"][new] = made_BF
        p_B = self.kalman.step(made_BF, rows.logit_B, due_B, columns["made"][queue], logit_Q, label)
        self.waiting.take(len(label_Q))
        return p_B

    def _joined(self, made: list[Doubles], rows: int) -> Doubles:
        return np.concatenate([np.ones((rows, 1)), *made], axis=1)

    def doubt(self, share: float) -> None:
        """The Gaussian rows doubt; how far the parts are to be trusted stays."""
        if self.base is not None:
            self.base.doubt(share)

    def forget(self, forgotten: Forgotten) -> None:
        if self.base is not None:
            self.base.forget(forgotten)
        users, items = (len(self.directory.keys(side)) for side in (0, 1))
        self._keep(users, items, *self.directory.without(forgotten.user_U, forgotten.item_I))

    def _make_room(self) -> None:
        users, items = (len(self.directory.keys(side)) for side in (0, 1))
        self._keep(users, items, *self.directory.forget())

    def _keep(self, users: int, items: int, kept_users: Int64s, kept_items: Int64s) -> None:
        """Let parts and waiting rows follow the directory, which had so many users and items."""
        for part in self.parts.values():
            part.keep(kept_users, kept_items)
        queue = slice(self.waiting.head, self.waiting.tail)
        for name, kept, size in (("user", kept_users, users), ("item", kept_items, items)):
            column = self.waiting.columns[name]
            column[queue] = renumbered(column[queue], moved(kept, size))

    def tree(self) -> Tree:
        return {
            "base": {} if self.base is None else self.base.tree(),
            "parts": {name: part.tree() for name, part in self.parts.items()},
            "kalman": self.kalman.tree(),
            "directory": self.directory.tree(),
            "waiting": self.waiting.tree(),
        }

    def load(self, tree: Tree) -> None:
        if self.base is not None:
            self.base.load(tree["base"])
        for name, part in self.parts.items():
            part.load(tree["parts"][name])
        self.kalman.load(tree["kalman"])
        self.directory.load(tree["directory"])
        self.waiting.load(tree["waiting"])


def _even(batch: ExampleBatch) -> Doubles:
    return np.full(len(batch), 0.5)


def _logit(p_B: Doubles) -> Doubles:
    return np.asarray(np.log(p_B / (1.0 - p_B)))


_NONE = np.zeros(0, np.int64)
_NO_ROWS = ResidualRows(_NONE, _NONE, _NONE, _NONE, np.zeros(0))
