"""What an evaluation says: the measured part of `report.json`, field by field in `docs/report.md`."""

from collections.abc import Callable

import msgspec

from learners.judging.metrics import LOWER_IS_BETTER, PREDICTION, RANKING
from state.difference import Difference, of_metric


def _json_name(field: str) -> str:
    return field.replace("_at_", "@")


class Part(msgspec.Struct, frozen=True, kw_only=True, rename=_json_name):
    """The metrics of one part of the log; null where the part cannot give one."""

    start_ms: int | None = None
    end_ms: int | None = None
    events: int = 0
    positives: int = 0
    ranked: int = 0
    auc: float | None = None
    user_auc: float | None = None
    log_loss: float | None = None
    normalized_entropy: float | None = None
    calibration_error: float | None = None
    recall_at_1: float | None = None
    recall_at_10: float | None = None
    recall_at_50: float | None = None
    ndcg_at_10: float | None = None
    mrr: float | None = None

    def value(self, metric: str) -> float | None:
        """A metric by its name in `learners.judging.metrics.METRICS`."""
        value: float | None = getattr(self, _field(metric))
        return value

    def with_values(self, values: dict[str, float | None], ranked: int) -> "Part":
        """The same part with these metrics filled in."""
        named = {_field(metric): value for metric, value in values.items()}
        return msgspec.structs.replace(self, ranked=ranked, **named)


def _field(metric: str) -> str:
    return metric.replace("@", "_at_")


class CalibrationPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One bin of equal mass: the mean P(action) that was said, and the mean label that came."""

    predicted: float
    happened: float
    events: int


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """The learner minus a floor on the scored part, with its 95% interval over users."""

    floor: str
    metric: str
    difference: float
    low: float
    high: float


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A variant of a learner, or a copy of it, beside the learner itself, on the scored part."""

    name: str
    of: str
    events: int
    """At which the variant spoke."""
    differences: list[Difference]

    def difference(self, metric: str) -> Difference | None:
        """The difference in one metric, if there is one."""
        return of_metric(self.differences, metric)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One learner, judged."""

    name: str
    floor: bool
    predicts: bool
    ranks: bool
    all: Part
    scored: Part
    windows: list[Part]
    slices: dict[str, Part]
    calibration: list[CalibrationPoint]
    intervals: list[Interval]

    def interval(self, floor: str, metric: str) -> Interval | None:
        """The interval against one floor, if there is one."""
        return next((i for i in self.intervals if (i.floor, i.metric) == (floor, metric)), None)


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Every learner, judged on the same events."""

    predictor: str | None
    ranker: str | None
    users: int
    learners: list[Judged]
    compared: list[Compared] = []
    """Variants and copies, which are no learners of the run's own."""

    def speaks(self, metric: str) -> Judged | None:
        """The learner whose figure is the run's own: the predictor or the ranker."""
        name = self.predictor if metric in PREDICTION else self.ranker
        return next((learner for learner in self.learners if learner.name == name), None)

    def own(self, part: Callable[[Judged], Part]) -> Part:
        """The run's own figures on a part: the predictor's prediction and the ranker's ranking metrics."""
        predictor, ranker = self.speaks(PREDICTION[0]), self.speaks(RANKING[0])
        made = part(predictor or ranker or self.learners[0])
        if ranker:
            values = {metric: part(ranker).value(metric) for metric in RANKING}
            made = made.with_values(values, part(ranker).ranked)
        if predictor is None:
            made = made.with_values(dict.fromkeys(PREDICTION), made.ranked)
        return made

    def best_floor(self, metric: str) -> Judged | None:
        """The floor that is hardest to beat by this metric on the scored part."""
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        values = [(learner, learner.scored.value(metric)) for learner in self.learners if learner.floor]
        known = [(learner, sign * value) for learner, value in values if value is not None]
        return max(known, key=lambda pair: pair[1])[0] if known else None
