"""How one learner differs from another in a metric, on the same events."""

from collections.abc import Iterable

import msgspec


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of a variant, and its difference to the learner itself on the same events.

    `low` to `high` is the paired 95% interval over users; null with fewer than 20 of them.
    """

    metric: str
    value: float
    difference: float
    low: float | None = None
    high: float | None = None


def of_metric(differences: Iterable[Difference], metric: str) -> Difference | None:
    """The one in this metric, if there is one."""
    return next((one for one in differences if one.metric == metric), None)
