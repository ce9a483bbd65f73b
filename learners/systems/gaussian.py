"""Gaussian rows: P(action) from a mean and a variance per sparse feature and per slope, event by event.

The updates are those of `learners.gaussian_rows.kernels`; the features come from
`learners.gaussian_rows.features`. A row is scored after everything that is due before it is learned, so
results do not depend on the micro-batch. Its features are made once, when it is scored, and wait until its
outcome is known.

A weight takes 100 to 200 bytes, and there is one for each combination of ids and categories that was seen;
`most_rows` bounds them: at that number the half that was used longest ago is dropped.

The settings were chosen on the first halves of MovieLens-100K (with and without its side tables) and of
ASSISTments 2009.
"""

from typing import ClassVar

import numpy as np

from learners.contract import Context, Learner, Outcome, Settings, Step
from learners.gaussian_rows.features import Features
from learners.gaussian_rows.kernels import GaussianRequest, TemplateColumns, peek, run, settle
from learners.gaussian_rows.state import WaitingFeatures, WeightTable, store_of
from learners.labels import require_labels
from learners.ranges import Amount, Some
from learners.tables.expiry import Forgotten
from state.errors import InputError
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s, key_of, mix
from state.tree import Tree

_CHUNK = 1024
_SHARED = ("item", "hour", "event", "item_category", "item_number", "user_category", "user_number")


class Variances(Settings, frozen=True):
    """A variance in squared log odds for each kind of feature; see `learners.gaussian_rows.features`."""

    user: Amount = 0.43
    item: Amount = 0.5
    hour: Amount = 0.005
    event: Amount = 0.2
    item_category: Amount = 0.25
    item_number: Amount = 0.05
    user_category: Amount = 0.005
    user_number: Amount = 0.005
    user_hour: Amount = 0.1
    user_event: Amount = 0.1
    user_item_category: Amount = 0.17
    user_item_number: Amount = 0.056
    item_hour: Amount = 0.03
    item_event: Amount = 0.05
    item_user_category: Amount = 0.06
    slope_popularity: Amount = 0.004
    slope_item_rate: Amount = 0.002
    slope_user_rate: Amount = 0.002
    slope_own_rate: Amount = 0.005
    slope_own_category_rate: Amount = 0.005
    slope_item_number: Amount = 0.01
    user_slope_popularity: Amount = 0.05
    user_slope_item_rate: Amount = 0.07
    user_slope_item_number: Amount = 0.2
    item_slope_user_rate: Amount = 0.03
    item_slope_user_number: Amount = 0.02


class Gaussian(Settings, frozen=True):
    """Settings of Gaussian rows."""

    variance: Variances = Variances()
    """What a weight of each kind begins with: how much it can matter. 0 leaves the kind out."""
    forget: Amount = 1.25e-4
    """What a weight's variance grows by at each use."""
    forget_user: Amount = 0.003
    """The same for the weight of the user alone."""
    forget_shared: Amount = 5e-6
    """The same for weights that all users share and no cross has made rare."""
    most_rows: Some = 1 << 24
    """Bound on the number of weights."""


class GaussianRows(Learner):
    """Raises InputError on a log without labels, or on settings that leave nothing to learn."""

    name: ClassVar[str] = "gaussian"
    Config: ClassVar[type[Settings]] = Gaussian
    predicts: ClassVar[bool] = True
    doubts: ClassVar[bool] = True

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        assert isinstance(config, Gaussian)
        require_labels(self.name, context)
        self.features = Features(context)
        kinds = config.variance.__struct_fields__
        prior_K = np.array([getattr(config.variance, kind) for kind in kinds])
        if not (prior_K >= 0.0).all():
            raise InputError("gaussian.variance: expected numbers of at least 0")
        forget_K = np.full(len(kinds), config.forget)
        forget_K[[kinds.index(kind) for kind in _SHARED]] = config.forget_shared
        forget_K[kinds.index("user")] = config.forget_user
        used = [t for t in self.features.templates if prior_K[kinds.index(t.kind)] > 0.0]
        columns = [(mix(key_of(t.name)), t.a, t.b, t.x, kinds.index(t.kind)) for t in used]
        self._plan = TemplateColumns(*np.array(columns, np.int64).reshape(-1, 5).T.copy())
        self._most = self.features.most(used)
        self._scale_X3 = np.zeros((len(self.features.numbers), 3))
        self._serial = 0
        self._weights = WeightTable(prior_K, forget_K, config.most_rows)
        self._waiting = WaitingFeatures()

    def __len__(self) -> int:
        """Weights in use."""
        return len(self._weights)

    def step(self, step: Step) -> Outcome:
        """Score each row after learning all that is due before it."""
        assert step.due <= len(self._waiting) + len(step.batch), "rows are due that were never scored"
        return Outcome(p_B=self._run(step.batch, step.queue.label_B, step.due_B))

    def score(self, batch: ExampleBatch) -> Doubles:
        p_B = np.empty(len(batch))
        store = store_of(1, self._most)
        peek(self.features.of(batch), self._plan, self._scale_X3, self._weights.view(), store, p_B)
        return p_B

    def learn(self, batch: ExampleBatch) -> None:
        """Learn the rows that wait longest; what was never scored is scored now."""
        scored = min(len(self._waiting), len(batch))
        settle(batch.label_B[:scored], self._weights.view(), self._waiting.store)
        rest = batch.take(slice(scored, len(batch)))
        if len(rest):
            self._run(rest, rest.label_B, np.arange(len(rest)))
            settle(rest.label_B[-1:], self._weights.view(), self._waiting.store)

    def _run(self, batch: ExampleBatch, label_Q: Floats, due_B: Int64s) -> Doubles:
        p_B = np.empty(len(batch))
        learned = 0
        for start in range(0, len(batch), _CHUNK):
            rows = slice(start, start + _CHUNK)
            fields = self.features.of(batch.take(rows))
            asked = GaussianRequest(fields, due_B[rows], label_Q, p_B[rows])
            size = len(asked.due_B)
            self._waiting.reserve(size, size * self._most)
            done = 0
            while done < size:
                if self._weights.room < len(self._weights) + self._most:
                    self._weights.make_room(self._most * (size - done), self._most, self._waiting)
                done, learned = run(
                    done,
                    asked,
                    learned,
                    self._plan,
                    self._scale_X3,
                    float(self._serial),
                    self._weights.room - self._most,
                    self._weights.view(),
                    self._waiting.store,
                )
            self._serial += size
        return p_B

    def doubt(self, share: float) -> None:
        """At its next use every weight has its variance raised by `share` of what it has lost."""
        self._weights.doubt(float(self._serial), share)

    def forget(self, forgotten: Forgotten) -> None:
        """Weights go by when they were last used, whoever's they are."""
        self._weights.drop(forgotten.before_row, self._waiting)

    def tree(self) -> Tree:
        return {
            "weights": self._weights.tree(),
            "waiting": self._waiting.tree(),
            "scale_X3": self._scale_X3.copy(),
            "serial": self._serial,
        }

    def load(self, tree: Tree) -> None:
        self._weights.load(tree["weights"])
        self._waiting.load(tree["waiting"])
        self._scale_X3[:] = tree["scale_X3"]
        self._serial = int(tree["serial"])
