"""A small plot: axes with ticks, lines, dots, bars and marks, as inline SVG that follows the page's colours.

Series are told apart by class (`s0`, `s1`, ...): the page's style gives each a colour and a dash.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ebbtide.report.markup import Markup, el, join
from streams.wire.message import BOUNDS

Format = Callable[[float], str]
Domain = tuple[float, float]

_DAY_MS = 86_400_000
_STEPS_MS = [
    *(s * 1000 for s in (1, 5, 15, 30)),
    *(m * 60_000 for m in (1, 5, 15, 30)),
    *(h * 3_600_000 for h in (1, 3, 6, 12)),
    *(d * _DAY_MS for d in (1, 2, 7, 14)),
]
_STEPS_MONTHS = (1, 2, 3, 6, 12, 24, 60, *(12 * years for years in (10, 20, 50, 100, 250, 500, 1000, 2500)))


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers within [low, high].

    >>> nice_ticks(0.42, 0.58, 4)
    [0.45, 0.5, 0.55]
    """
    if not high > low:
        return [low]
    raw = (high - low) / count
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * m for m in (1.0, 2.0, 2.5, 5.0, 10.0) if scale * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def time_ticks(low_ms: float, high_ms: float, count: int = 5) -> list[float]:
    """Round times (UTC) within [low, high], at most about `count`; the first of a month in long spans."""
    for step in _STEPS_MS:
        if (high_ms - low_ms) / step <= count:
            first = math.ceil(low_ms / step)
            return [float(i * step) for i in range(first, int(high_ms // step) + 1)] or [low_ms]
    least_ms, most_ms = BOUNDS["time"]
    if low_ms < least_ms or high_ms > most_ms:  # ticks, which only give an order, may lie beyond the calendar
        return nice_ticks(low_ms, high_ms, count)
    months = (high_ms - low_ms) / (30.44 * _DAY_MS)
    step = next((m for m in _STEPS_MONTHS if months / m <= count), _STEPS_MONTHS[-1])
    begin, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (low_ms, high_ms))
    numbers = range(begin.year * 12 // step * step or step, end.year * 12 + end.month, step)
    firsts = (datetime(n // 12, n % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000 for n in numbers)
    return [at for at in firsts if low_ms <= at <= high_ms]


def time_text(time_ms: float, span_ms: float) -> str:
    """A time (UTC), as fine as the span asks for."""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms:.0f} ms"
    if span_ms > 3 * 365 * _DAY_MS:
        return f"{moment:%b %Y}"
    if span_ms > 5 * _DAY_MS:
        return f"{moment.day} {moment:%b %Y}" if span_ms > 300 * _DAY_MS else f"{moment.day} {moment:%b}"
    if span_ms > _DAY_MS:
        return f"{moment.day} {moment:%b %H:%M}"
    return f"{moment:%H:%M}" if span_ms > 600_000 else f"{moment:%H:%M:%S}"


def padded(values: Sequence[float], share: float = 0.08) -> Domain:
    """A domain around the values with a margin; some room even where all are equal."""
    low, high = min(values), max(values)
    margin = (high - low) * share or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


@dataclass(slots=True, kw_only=True)
class Plot:
    """Collects marks in data units; `render` gives the SVG. Marks outside the domain are cut off."""

    title: str
    x: Domain
    y: Domain
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    x_text: Format
    y_text: Format
    x_label: str
    y_label: str = ""
    width: int = 420
    height: int = 230
    _marks: list[Markup] = field(default_factory=list)

    LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 38

    def _x(self, value: float) -> float:
        share = (value - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        return self.LEFT + min(max(share, 0.0), 1.0) * (self.width - self.LEFT - self.RIGHT)

    def _y(self, value: float) -> float:
        share = (value - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        return self.height - self.BOTTOM - min(max(share, 0.0), 1.0) * (self.height - self.TOP - self.BOTTOM)

    def line(self, points: Sequence[tuple[float, float | None]], kind: str) -> None:
        """A line through the points; a missing y leaves a gap."""
        path, pen = [], "M"
        for x, y in points:
            if y is None:
                pen = "M"
                continue
            path.append(f"{pen}{self._x(x):.1f} {self._y(y):.1f}")
            pen = "L"
        self._marks.append(el("path", d="".join(path), class_=f"line {kind}"))

    def dots(self, points: Sequence[tuple[float, float, str]], kind: str, radius: float = 2.4) -> None:
        """Dots, each with what it says when pointed at; the place to point at is larger than the dot."""
        for x, y, says in points:
            at = {"cx": self._x(x), "cy": self._y(y)}
            self._marks.append(
                el(
                    "g",
                    el("title", says),
                    el("circle", r=8, class_="target", **at),
                    el("circle", r=radius, class_=f"dot {kind}", **at),
                    class_="point",
                )
            )

    def bars(self, bars: Sequence[tuple[float, float, float, str]], kind: str) -> None:
        """Bars (from x, to x, y, what it says) from the bottom."""
        base = self.height - self.BOTTOM
        for start, end, y, says in bars:
            left, right, top = self._x(start), self._x(end), self._y(y)
            box = {"x": left, "y": top, "width": max(right - left - 1, 1.0), "height": max(base - top, 0.0)}
            self._marks.append(el("rect", el("title", says), class_=f"bar {kind}", **box))

    def band(self, start: float, end: float, says: str) -> None:
        """A shaded stretch of the x axis."""
        box = {"x": self._x(start), "width": self._x(end) - self._x(start)}
        tall = {"y": float(self.TOP), "height": float(self.height - self.TOP - self.BOTTOM)}
        self._marks.append(el("rect", el("title", says), class_="band", **box, **tall))

    def mark(self, x: float, says: str) -> None:
        """A vertical line with a flag."""
        at, top = self._x(x), float(self.TOP)
        flag = f"M{at - 5:.1f} {top - 7:.1f}h10l-5 8z"
        line = el("line", x1=at, x2=at, y1=top, y2=float(self.height - self.BOTTOM), class_="alarm")
        self._marks.append(el("g", el("title", says), line, el("path", d=flag, class_="alarm flag")))

    def render(self) -> Markup:
        bottom, right = self.height - self.BOTTOM, self.width - self.RIGHT
        axes = []
        for tick in self.y_ticks:
            y = self._y(tick)
            axes.append(el("line", x1=self.LEFT, x2=right, y1=y, y2=y, class_="grid"))
            axes.append(el("text", self.y_text(tick), x=self.LEFT - 6, y=y + 3.5, class_="tick end"))
        for tick in self.x_ticks:
            x = self._x(tick)
            axes.append(el("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
            axes.append(el("text", self.x_text(tick), x=x, y=bottom + 15, class_="tick middle"))
        axes.append(el("line", x1=self.LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
        axes.append(el("text", self.x_label, x=right, y=self.height - 5, class_="label end"))
        if self.y_label:
            axes.append(el("text", self.y_label, x=2, y=10, class_="label"))
        return el(
            "svg",
            el("title", self.title),
            join(*axes),
            join(*self._marks),
            viewBox=f"0 0 {self.width} {self.height}",
            role="img",
        )
