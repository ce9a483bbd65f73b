"""What the figures of an insight show, in a sentence or two made from the numbers; no more than they say."""

from collections.abc import Callable, Sequence

import numpy as np

from ebbtide.report.words import duration
from learners.insight import AgeCurve, Insight, Kernel, ReturnCurve, View
from state.examples import Doubles

Says = Callable[[Insight], str]

CLEAR = 0.02
"""Gates that differ by less are told as alike."""
ENOUGH = 100
"""Rows that a part of the day or of the week must have to be spoken of."""

_BINS, _APART = 6, 1.5
"""Bins that a curve of return must have, and times that its highest chance must be the lowest."""
_PEAK = 1.1
"""Times that a later peak must be the bins beside it."""

_PARTS = {
    "Nights": range(6),
    "Mornings": range(6, 12),
    "Afternoons": range(12, 18),
    "Evenings": range(18, 24),
}
_HOURS = {"Nights": "0 to 6 h", "Mornings": "6 to 12 h", "Afternoons": "12 to 18 h", "Evenings": "18 to 24 h"}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAYS = {**{f"{day}s": (d,) for d, day in enumerate(WEEKDAYS)}, "Weekends": (5, 6)}


def of_curves(curves: Sequence[AgeCurve], fixed_half_s: float | None) -> str:
    """After how long half of an event's weight is gone, by curve; where it counts most, or against."""
    sentence = f"An event has lost half of its weight: {', '.join(map(_half, curves))}"
    if fixed_half_s is not None:
        sentence += f"; by the memory's fixed curve after {age(fixed_half_s)}"
    more = [text for curve in curves if (text := _turn(curve))]
    return ". ".join([sentence, *more]) + "."


def tells(curve: ReturnCurve) -> bool:
    """Whether enough is known of a curve of return to be looked at."""
    known = [chance for chance in curve.chance if chance is not None]
    return curve.hits >= ENOUGH and len(known) >= _BINS and max(known) > _APART * min(known)


def of_returns(curves: Sequence[ReturnCurve]) -> str:
    """When one comes back to an item, and when hardly, by the curve with the most returns."""
    curve = max(curves, key=lambda one: one.hits)
    known = [(s, c) for s, c in zip(curve.gap_s, curve.chance, strict=True) if c is not None]
    (low_s, low), (high_s, high) = (edge(known, key=lambda point: point[1]) for edge in (min, max))
    sentences = [
        f"What was {curve.name} is come back to most often {age(high_s)} after the last time, with a chance "
        f"of {share(high)}, and most seldom {age(low_s)} after it ({share(low)})"
    ]
    again = [
        age(known[i][0])
        for i in range(1, len(known) - 1)
        if known[i][0] > high_s and known[i][1] > _PEAK * max(known[i - 1][1], known[i + 1][1])
    ]
    if again:
        sentences.append(f"It is likelier again after {', '.join(again[:3])}")
    return f"{'. '.join(sentences)}."


def of_kernels(kernels: Sequence[Kernel]) -> str:
    """How far from the same hour an event has lost half of its weight."""
    return f"Half of the weight is lost, away from the same hour: {', '.join(map(_reach, kernels))}."


def of_hours(insight: Insight) -> str:
    """Which expert counts most, and which part of the day leans elsewhere."""
    named = {f"{part} ({_HOURS[part]})": hours for part, hours in _PARTS.items()}
    return _leaning(insight.experts, insight.gate_by_hour, insight.rows_by_hour, named, "part of the day")


def of_weekdays(insight: Insight) -> str:
    """The same by weekday."""
    return _leaning(insight.experts, insight.gate_by_weekday, insight.rows_by_weekday, _DAYS, "weekday")


def of_views(views: Sequence[View]) -> str:
    """Which view is empty most often, and which holds most."""
    empty = [(view.empty, view.name) for view in views if view.empty]
    held = [(view.entries, view.name) for view in views if view.entries]
    sentences = []
    if empty:
        share, name = max(empty)
        sentences.append(f"The {name} view was empty most often, for {share:.0%} of the rows")
    elif held:
        sentences.append("No view was ever empty")
    if held:
        entries, name = max(held)
        sentences.append(f"the {name} view held most, {entries:.1f} entries on average")
    return f"{'; '.join(sentences)}." if sentences else "No view has held anything yet."


def _half(curve: AgeCurve) -> str:
    weight_A = np.array(curve.weight, np.float64)
    if not np.nanmax(weight_A, initial=-1.0) > 0.0:
        return f"{curve.name} had none to lose"
    most = int(np.nanargmax(weight_A))
    below = np.flatnonzero(weight_A[most:] <= weight_A[most] / 2)
    if not len(below):
        return f"{curve.name} not within {age(curve.age_s[-1])}"
    return f"{curve.name} after {age(curve.age_s[most + int(below[0])])}"


def _reach(kernel: Kernel) -> str:
    weight_A, apart_A = np.array(kernel.weight, np.float64), np.abs(np.array(kernel.apart_h))
    lost = apart_A[weight_A < 0.5]
    return f"{kernel.name} {'at ' + age(float(lost.min()) * 3600) if len(lost) else 'nowhere'}"


def _turn(curve: AgeCurve) -> str | None:
    """Said of a curve that starts low: there the event is news, or has just been dealt with."""
    weight_A = np.array(curve.weight, np.float64)
    if not np.isfinite(weight_A[0]) or not np.nanmax(weight_A) > 0.0:
        return None
    most = int(np.nanargmax(weight_A))
    if weight_A[0] < 0.0:
        until = int(np.flatnonzero(weight_A >= 0.0)[0])
        return f"Younger than {age(curve.age_s[until])} it speaks against its item ({curve.name})"
    if weight_A[0] < 0.9 * weight_A[most]:
        return f"It weighs most at an age of {age(curve.age_s[most])} ({curve.name})"
    return None


def _leaning(
    experts: Sequence[str],
    gates: Sequence[Sequence[float | None]],
    rows: Sequence[int],
    parts: dict[str, range] | dict[str, tuple[int, ...]],
    what: str,
) -> str:
    gate_XE, rows_X = np.array(gates, np.float64), np.array(rows, np.float64)
    if not rows_X.sum() >= ENOUGH:
        return f"{int(rows_X.sum())} rows are too few to tell one {what} from another."
    mean_E = _mean(gate_XE, rows_X)
    top = int(np.argmax(mean_E))
    text = f"{_upper(experts[top])} counts most, {mean_E[top]:.2f} on average"
    moved = [
        (float(gate_E[e] - mean_E[e]), part, e, float(gate_E[e]))
        for part, chosen in parts.items()
        if rows_X[list(chosen)].sum() >= ENOUGH
        for gate_E in [_mean(gate_XE[list(chosen)], rows_X[list(chosen)])]
        for e in range(len(experts))
    ]
    rise, part, e, gate = max(moved, default=(0.0, "", 0, 0.0), key=lambda one: one[0])
    if rise < CLEAR:
        return f"{text}; no {what} leans elsewhere by as much as {CLEAR}."
    return f"{text}. {part} lean more on {experts[e]}: {gate:.2f} against {mean_E[e]:.2f}."


def _mean(gate_XE: Doubles, rows_X: Doubles) -> Doubles:
    """Means (E,) over the rows; what could not be had counts as nothing."""
    return np.asarray(rows_X @ np.nan_to_num(gate_XE) / rows_X.sum())


def _upper(name: str) -> str:
    return name[:1].upper() + name[1:]


def share(chance: float) -> str:
    """A chance in percent, to two digits.

    >>> share(0.1431), share(0.00021)
    ('14%', '0.021%')
    """
    return f"{float(f'{100 * chance:.2g}'):g}%"


def age(seconds: float) -> str:
    """An age, to about two digits."""
    return "a year" if 360 <= seconds / 86400 < 370 else duration(_round(seconds))


def _round(seconds: float) -> float:
    """To two digits of the unit that `duration` takes."""
    for unit_s, most_s in ((1.0, 120.0), (60.0, 7200.0), (3600.0, 172_800.0)):
        if seconds < most_s:
            return float(f"{seconds / unit_s:.2g}") * unit_s
    return seconds
