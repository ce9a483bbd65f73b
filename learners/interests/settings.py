"""Settings of the interests."""

from typing import Literal

from learners.contract import Settings
from learners.ranges import Amount, Positive, Share, Some, Whole


class TwoTowerSettings(Settings, frozen=True, kw_only=True):
    """Defaults were chosen on the first halves of the benchmark logs."""

    width: Some = 32
    window: Some = 100
    """Entries of the memory that a user's vector is made of."""
    views: bool | None = None
    """Whether hour, week and place give interests of their own; by default where the log has a place."""
    short: Whole = 10
    """Newest entries in the short view, each `fade` times the weight of the one after it."""
    fade: Share = 0.7
    shallow: bool = True
    """Whether there are other interests than the short view's."""
    deep: Whole = 0
    """Interests that learned queries find, on top of the shallow ones; 2 to 4 where they are of use."""
    attended: Whole = 50
    """Newest entries that these look at."""
    query_lr: Amount = 0.02
    semantics: bool = True
    """Whether an item's vectors include those of its kinds: categories, groups of numbers."""
    kind_scale: Amount = 1.0
    """A kind's first weights, next to an item's."""
    kind_rate: Amount = 0.05
    """A kind's learning rate, next to an item's."""
    softmax: Literal["auto", "sampled", "full"] = "auto"
    """`auto` takes every item as a candidate while there are at most `few`."""
    few: Whole = 2048
    draws: Some = 256
    lr: Amount = 0.12
    bias_lr: Amount = 0.5
    reg: Amount = 0.02
    """Pull to zero of a row that is updated, in proportion to its share in the update."""
    sd: Amount = 0.1
    """Of the first weights."""
    accumulator: Positive = 0.1
    """Where AdaGrad's sums start."""
    cold_bias: float = 0.0
    """Bias of an item nothing was learned of."""
    spare: Share = 0.02
    """Where fewer events than this share repeat an item of the window, its items are no candidates."""
    admit: Some = 1
    """Events of an item before it gets a row."""
    expire_days: Positive = 365.0
    """Time without an event after which an item loses its row."""
    device: str = "cpu"
    """'cpu': the compiled kernel, an update an event. Any other, like 'cuda' or 'cpu:0': torch, an update a
    micro-batch."""
