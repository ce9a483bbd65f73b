"""Figures as people read them; shared by the page and the terminal."""

from ebbtide.report.report import Report
from learners.judging.evaluation import Interval
from learners.judging.metrics import LOWER_IS_BETTER, METRICS

_WORDS = {
    "auc": ("AUC", "chance that a positive is scored above a negative"),
    "user_auc": ("AUC by user", "mean of each user's AUC, weighted by events"),
    "log_loss": ("log loss", "mean of -log of the probability given to what happened; lower is better"),
    "normalized_entropy": (
        "norm. entropy",
        "log loss over that of knowing only the base rate; lower is better",
    ),
    "calibration_error": ("calib. error", "mean distance of probability and frequency; lower is better"),
    "recall@1": ("recall@1", "share of true items ranked first"),
    "recall@10": ("recall@10", "share of true items among the first 10"),
    "recall@50": ("recall@50", "share of true items among the first 50"),
    "ndcg@10": ("NDCG@10", "1 / log2(1 + rank) of the true item within the first 10"),
    "mrr": ("MRR", "mean of 1 / rank of the true item"),
}
_HEADLINE = ("auc", "log_loss", "recall@10", "ndcg@10", "recall@1", "user_auc", "mrr", "calibration_error")
METRIC_WORDS = {metric: (*_WORDS[metric], -1.0 if metric in LOWER_IS_BETTER else 1.0) for metric in METRICS}
"""Metric -> (its name for people, what it is, +1 where more is better or -1)."""


def measure(value: float | None, digits: int = 3) -> str:
    """A metric.

    >>> measure(0.77904), measure(None)
    ('0.779', 'n/a')
    """
    return "n/a" if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """A count or a rate, in full up to a million.

    >>> count(99999), count(1469307), count(None)
    ('99,999', '1.47M', 'n/a')
    """
    if value is None:
        return "n/a"
    return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:.3g}M"


def times(number: int) -> str:
    """'once', or '1,234 times'."""
    return "once" if number == 1 else f"{count(number)} times"


def duration(seconds: float) -> str:
    """A duration in the unit that fits.

    >>> duration(0), duration(0.25), duration(75), duration(86400 * 215)
    ('0 s', '250 ms', '75.0 s', '215 days')
    """
    if seconds == 0:
        return "0 s"
    for unit_s, unit, most in ((0.001, "ms", 1.0), (1, "s", 120), (60, "min", 7200), (3600, "h", 172_800)):
        if seconds < most:
            value = seconds / unit_s
            return (
                f"{value:.0f} {unit}"
                if (value == round(value) and unit != "s") or value >= 100
                else f"{value:.1f} {unit}"
            )
    return f"{seconds / 86400:,.0f} days"


def difference(interval: Interval) -> str:
    """A difference with its interval."""
    return f"{interval.difference:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def verdict(interval: Interval) -> tuple[str, str]:
    """In words, and as a style class: better, worse, or within what chance gives."""
    sign = METRIC_WORDS[interval.metric][2]
    if min(sign * interval.low, sign * interval.high) > 0:
        return "better", "good"
    if max(sign * interval.low, sign * interval.high) < 0:
        return "worse", "bad"
    return "no clear difference", "even"


def protocol(report: Report) -> str:
    """How the figures came about, in a sentence or two."""
    log = report.log
    known = "everything before it in order"
    if log.label_delay_ms:
        known = f"only what is {duration(log.label_delay_ms / 1000)} old or older"
    text = f"Every event was scored before it was learned from, knowing {known}."
    if report.metrics.all.ranked:
        share = "" if report.ranking.share >= 1 else f" in a seeded sample of {report.ranking.share:.1%}"
        which = "positive" if log.labelled else "event"
        left = "" if log.leave_out == "none" else f", without what the {log.leave_out} has had"
        text += f" The whole catalogue was ranked at every {which}{share}{left}."
    return text


def headline(report: Report) -> list[str]:
    """The (up to four) metrics that say most about this log."""
    return [metric for metric in _HEADLINE if report.metrics.scored.value(metric) is not None][:4]
