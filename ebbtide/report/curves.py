"""The curves that a memory fades and comes back by, as numbers to plot."""

import msgspec
import numpy as np

from state.forgetting import WEEK_MIN, periodic, retention, strengthened
from state.memory.memory_config import MemoryConfig

MEETINGS = 5
_SPAN, _POINTS, _PERIODS = 10, 160, 3
_HOUR_MS, _DAY_S = 3_600_000.0, 86400.0


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One line: y in [0, 1] over x in `unit`."""

    group: str
    name: str
    unit: str
    x: list[float]
    y: list[float]


def memory_curves(config: MemoryConfig) -> list[Curve]:
    """How something met once, crammed or spaced out fades; and the hour and week kernels, if in use."""
    strength_ms = config.strength_s * 1000.0
    last_ms = (MEETINGS - 1) * strength_ms
    days = f"every {config.strength_s / _DAY_S:g} days"
    spaced = [i * strength_ms for i in range(MEETINGS)]
    crammed = [last_ms - (MEETINGS - 1 - i) * _HOUR_MS / MEETINGS for i in range(MEETINGS)]
    fading = [
        _forgetting(f"met {MEETINGS} times, {days}", spaced, config),
        _forgetting(f"met {MEETINGS} times within an hour", crammed, config),
        _forgetting("met once", [0.0], config),
    ]
    returning = [
        _kernel("hour", "same hour of day", "hours later", config.hour_width_h, 24, 60.0, 20),
        _kernel("week", "same hour of week", "days later", config.week_width_h, 168, 1440.0, 60),
    ]
    return fading + returning if config.periodic else fading


def _forgetting(name: str, met_ms: list[float], config: MemoryConfig) -> Curve:
    """Retention from the first meeting on; each later one strengthens."""
    cap_ms, strength_ms = config.strength_cap_s * 1000.0, config.strength_s * 1000.0
    end_ms = _SPAN * strength_ms
    days, kept = [], []
    for i, start_ms in enumerate(met_ms):
        if i:
            left = retention(start_ms - met_ms[i - 1], strength_ms)
            strength_ms = strengthened(strength_ms, left, config.gain, cap_ms)
        stop_ms = met_ms[i + 1] if i + 1 < len(met_ms) else end_ms
        points = max(2, round(_POINTS * (stop_ms - start_ms) / end_ms))
        for time_ms in np.linspace(start_ms, stop_ms, points).tolist():
            days.append(time_ms / 1000.0 / _DAY_S)
            kept.append(retention(time_ms - start_ms, strength_ms))
    return Curve(group="forgetting", name=name, unit="days", x=days, y=kept)


def _kernel(
    group: str, name: str, unit: str, width_h: float, period_h: int, unit_min: float, step_min: int
) -> Curve:
    minutes = np.arange(0, _PERIODS * period_h * 60 + 1, step_min)
    weight = np.exp(periodic(width_h, period_h)[minutes % WEEK_MIN])
    return Curve(group=group, name=name, unit=unit, x=(minutes / unit_min).tolist(), y=weight.tolist())
