"""Figures and alarms as people read them; shared by the page and the terminal."""

from ebbtide.report.report import Report
from ebbtide.report.svg import time_text
from learners.judging.evaluation import Interval
from learners.judging.metrics import LOWER_IS_BETTER, METRICS
from state.difference import Difference
from state.drift_alarm import DriftAction, DriftAlarm, Worth

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
_SIGNALS = {
    "log_loss": "log loss",
    "calibration": "P(action) less the label",
    "recall@10": "recall@10",
    "positive": "the share of positives",
    "expected_log_loss": "the log loss to be expected, before labels,",
    "new_user": "the share of users met for the first time",
    "new_item": "the share of items met for the first time",
    "late": "the share of late events",
    "gap": "seconds without an event",
    "effective_rank": "the effective rank of item vectors",
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


def signal_words(signal: str) -> str:
    """A signal for people.

    >>> signal_words("log_loss"), signal_words("shift of category")
    ('log loss', 'surprise at category')
    """
    column = signal.removeprefix("shift of ")
    return _SIGNALS.get(signal, signal if column == signal else f"surprise at {column}")


def sentence(alarm: DriftAlarm) -> str:
    """The alarm in a sentence.

    >>> sentence(DriftAlarm(signal="log_loss", learner="stim", detector="adwin", event=9000, time_ms=0,
    ...     since_event=8000, since_ms=0, before=0.5, after=0.56, worse=True, open=True))
    'log loss of stim grew worse, from 0.500 to 0.560, after event 8,000 (1 Jan 00:00); open'
    """
    whose = f" of {alarm.learner}" if alarm.learner else ""
    where = {None: "", "users": f" for {alarm.name} users"}.get(
        alarm.segment, f" in {alarm.segment} {alarm.name}"
    )
    moved = {True: "grew worse", False: "grew better", None: "changed"}[alarm.worse]
    since = alarm.since_event if alarm.since_event is not None else alarm.event
    text = (
        f"{signal_words(alarm.signal)}{whose}{where} {moved}, from {measure(alarm.before)} to "
        f"{measure(alarm.after)}, after event {count(since)} ({_when(alarm.since_ms or alarm.time_ms)})"
    )
    if alarm.psi is not None:
        text += f", PSI {measure(alarm.psi, 2)}"
    if alarm.open:
        return f"{text}; open"
    if alarm.worse and alarm.closed_ms is not None and alarm.closed_event is not None:
        return f"{text}; over at event {count(alarm.closed_event)} ({_when(alarm.closed_ms)})"
    return text


def action_sentence(action: DriftAction) -> str:
    """An action and its cause in a sentence.

    >>> action_sentence(DriftAction(do="doubt", share=0.5, event=9216, time_ms=0, on="late",
    ...     alarm_event=9000, before=0.0, after=0.5)).split(", since ")[0]
    'learners gave back 50% of their certainty after event 9,216 (1 Jan 00:00)'
    """
    done = {
        "doubt": f"learners gave back {action.share or 0.0:.0%} of their certainty",
        "calibrate": "what P(action) means was learned anew",
        "cycle": "a cycle of co-evolution was asked for",
        "rollback": "readers were to be served what was kept before",
        "webhook": "a webhook was called",
    }[action.do]
    return (
        f"{done} after event {count(action.event)} ({_when(action.time_ms)}), since "
        f"{signal_words(action.on)} went from {measure(action.before)} to {measure(action.after)}"
        + ("" if action.worth is None else f"; {_worth(action.worth)}")
    )


def by_how_much(difference: Difference) -> str:
    """A difference and its interval, if it has one.

    >>> by_how_much(Difference(metric="auc", value=0.7, difference=0.01, low=-0.02, high=0.04))
    '+0.0100 (-0.0200 to +0.0400)'
    """
    interval = "" if difference.low is None else f" ({difference.low:+.4f} to {difference.high:+.4f})"
    return f"{difference.difference:+.4f}{interval}"


def _worth(worth: Worth) -> str:
    told = [
        f"{METRIC_WORDS[one.metric][0]} {by_how_much(one)}"
        for one in worth.differences
        if one.metric in ("log_loss", "recall@10")
    ]
    return f"without that, over {count(worth.events)} events: {', '.join([*told, worth.verdict])}"


def _when(time_ms: int) -> str:
    return time_text(time_ms, 2 * 86_400_000)
