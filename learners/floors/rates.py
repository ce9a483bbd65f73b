"""The floor: P(action) from the running rates of the user and of the item, and nothing else.

Log odds of the base rate plus the smoothed deviation of the user and of the item from it. It keeps nothing:
the rates come with the examples.
"""

from typing import ClassVar

import numpy as np

from learners.contract import Context, Learner, Settings
from learners.gaussian_rows.base_rates import base_rate, deviation, logit
from learners.labels import require_labels
from state.compiled import compiled
from state.examples import ITEM_RATES, USER_RATES, Doubles, ExampleBatch, Floats

_USER_COUNT, _USER_POSITIVES = USER_RATES.index("count"), USER_RATES.index("positives")
_ITEM_COUNT, _ITEM_POSITIVES = ITEM_RATES.index("count"), ITEM_RATES.index("positives")


class Rates(Learner):
    """Raises InputError on a log without labels."""

    name: ClassVar[str] = "rates"
    predicts: ClassVar[bool] = True
    floor: ClassVar[bool] = True

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        require_labels(self.name, context)

    def score(self, batch: ExampleBatch) -> Doubles:
        p_B = np.empty(len(batch))
        _score(batch.user_rates_BR, batch.item_rates_BR, p_B)
        return p_B


@compiled
def _score(user_rates_BR: Floats, item_rates_BR: Floats, p_B: Doubles) -> None:
    for b in range(p_B.shape[0]):
        user_R, item_R = user_rates_BR[b], item_rates_BR[b]
        base = base_rate(item_R)
        z = logit(base)
        z += deviation(user_R[_USER_POSITIVES], user_R[_USER_COUNT], base)
        z += deviation(item_R[_ITEM_POSITIVES], item_R[_ITEM_COUNT], base)
        p_B[b] = 1.0 / (1.0 + np.exp(-z))
