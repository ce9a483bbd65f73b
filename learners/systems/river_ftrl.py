"""Any river classifier as a learner; by default logistic regression with FTRL.

A model is named in the settings, with its parameters, which may be models or optimisers themselves:

    {"class": "linear_model.LogisticRegression", "optimizer": {"class": "optim.FTRLProximal", "alpha": 0.1}}

An example becomes a dictionary: the keys of every field that the log has
(`learners.gaussian_rows.features`) as one-hot numbers (`"user=7": 1.0`) or, for models that take
categories, as text (`"user": "7"`); and every number, on its running scale. Rows are scored and learned one
by one, each after what is due before it.

river's models are Python objects without a state of arrays, and Ebbtide reads no code from a checkpoint: a
run with one cannot be saved and resumed, and `tree` says so.
"""

import importlib
import inspect
import math
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Any, ClassVar

import msgspec
import numpy as np
from river import base

from learners.contract import Context, Learner, Outcome, Settings, Step
from learners.gaussian_rows.features import Features, Fields
from learners.gaussian_rows.kernels import rescale_all, standard
from learners.labels import require_labels
from state.errors import InputError
from state.examples import Doubles, ExampleBatch, Floats
from state.tree import Tree

Example = dict[Hashable, Any]


def _ftrl() -> dict[str, Any]:
    return {
        "class": "linear_model.LogisticRegression",
        "optimizer": {"class": "optim.FTRLProximal", "alpha": 0.1},
        "intercept_lr": 0.0,
    }


class River(Settings, frozen=True):
    """Settings of a river model."""

    model: dict[str, Any] = msgspec.field(default_factory=_ftrl)
    """Its class below `river`, and its parameters."""
    one_hot: bool = True
    """Categories as one number each, for models that take only numbers; else as text."""


class RiverLearner(Learner):
    """Raises InputError on a log without labels and on a model that river does not have."""

    name: ClassVar[str] = "river-ftrl"
    Config: ClassVar[type[Settings]] = River
    predicts: ClassVar[bool] = True
    saved: ClassVar[bool] = False

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        assert isinstance(config, River)
        require_labels(self.name, context)
        self.one_hot = config.one_hot
        self.features = Features(context)
        model = built(config.model)
        if not isinstance(model, base.Classifier):
            raise InputError(f"{self.name}.model: expected a classifier of river, got {type(model).__name__}")
        self.model = model
        self._waiting: deque[Example] = deque()
        self._scale_X3 = np.zeros((len(self.features.numbers), 3))

    def step(self, step: Step) -> Outcome:
        """Score each row after learning all that is due before it."""
        p_B = np.empty(len(step.batch))
        learned = 0
        for b, example in enumerate(self._scored(step.batch)):
            due = int(step.due_B[b])
            self._learn(step.queue.label_B[learned:due])
            learned = due
            p_B[b] = self._probability(example)
            self._waiting.append(example)
        return Outcome(p_B=p_B)

    def score(self, batch: ExampleBatch) -> Doubles:
        return np.array([self._probability(example) for example in self.examples(batch)])

    def learn(self, batch: ExampleBatch) -> None:
        """Learn the rows that wait longest, then rows that were never scored."""
        scored = len(self._waiting)
        self._waiting.extend(self._scored(batch.take(slice(scored, None))))
        self._learn(batch.label_B)

    def examples(self, batch: ExampleBatch) -> Iterator[Example]:
        """Each row as river takes it."""
        fields = self.features.of(batch)
        return (self._example(fields, b) for b in range(len(batch)))

    def _scored(self, batch: ExampleBatch) -> Iterator[Example]:
        """The same, each row moving the scale of numbers for those after it."""
        fields = self.features.of(batch)
        for b in range(len(batch)):
            yield self._example(fields, b)
            rescale_all(fields.number_BX[b], self._scale_X3)

    def _example(self, fields: Fields, b: int) -> Example:
        example: Example = {}
        for f, field in enumerate(self.features.fields):
            keys = fields.keys[fields.start_BF1[b, f] : fields.start_BF1[b, f + 1]].tolist()
            if self.one_hot:
                example.update((f"{field.name}={key}", 1.0) for key in keys)
            elif keys:
                example[field.name] = " ".join(map(str, keys))
        for x, number in enumerate(self.features.numbers):
            value = float(fields.number_BX[b, x])
            if not math.isnan(value):
                example[number.name] = standard(value, self._scale_X3[x])
        return example

    def _learn(self, label_Q: Floats) -> None:
        for label in label_Q.tolist():
            example = self._waiting.popleft()
            if not math.isnan(label):
                self.model.learn_one(example, label > 0.5)

    def _probability(self, example: Example) -> float:
        p = self.model.predict_proba_one(example).get(True, 0.5)
        return float(min(max(p, 1e-9), 1.0 - 1e-9))

    def tree(self) -> Tree:
        """Raises InputError."""
        raise InputError(
            f"learner {self.name!r}: a river model cannot be saved in a checkpoint; run it without "
            f"--checkpoint, or choose another learner"
        )

    def load(self, tree: Tree) -> None:
        """Raises InputError."""
        self.tree()


def built(spec: dict[str, Any]) -> Any:
    """The object that `spec` names: its class below `river`, and its parameters, built likewise.

    Its module is imported here: all of river takes seconds, and most runs have no river model.
    Raises InputError where there is no such class or it does not take the parameters.
    """
    path = spec.get("class")
    if not isinstance(path, str) or "." not in path:
        raise InputError(f'river model: expected {{"class": "module.Name", ...}}, got {spec!r}')
    module, _, name = path.rpartition(".")
    parameters = {
        key: built(value) if isinstance(value, dict) and "class" in value else value
        for key, value in spec.items()
        if key != "class"
    }
    try:
        cls = getattr(importlib.import_module(f"river.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"river model: expected a class of river, got {path!r} ({error})") from error
    if not (inspect.isclass(cls) and issubclass(cls, base.Base)):
        raise InputError(f"river model: expected a class of river, got {path!r}, which is none")
    try:
        return cls(**parameters)
    except (TypeError, ValueError) as error:
        raise InputError(f"river model: {path!r} does not take {parameters!r}: {error}") from error
