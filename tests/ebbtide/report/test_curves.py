"""The plotted curves are those of the memory."""

import math

import pytest

from ebbtide.report.curves import Curve, memory_curves
from state.memory.memory_config import MemoryConfig


def by_name(config: MemoryConfig) -> dict[str, Curve]:
    return {f"{curve.group}: {curve.name}": curve for curve in memory_curves(config)}


def test_spaced_repeats_last_longest_and_once_fades_by_its_strength() -> None:
    curves = by_name(MemoryConfig(strength_s=2 * 86400.0))
    spaced, crammed, once = (
        curves[f"forgetting: {name}"]
        for name in ("met 5 times, every 2 days", "met 5 times within an hour", "met once")
    )
    assert spaced.y[-1] > crammed.y[-1] > once.y[-1]
    assert all(y == pytest.approx(math.exp(-x / 2)) for x, y in zip(once.x, once.y, strict=True))
    assert {spaced.x[-1], crammed.x[-1], once.x[-1]} == {20.0}


def test_kernels_come_back_after_a_day_and_a_week() -> None:
    curves = by_name(MemoryConfig())
    hour = dict(zip(curves["hour: same hour of day"].x, curves["hour: same hour of day"].y, strict=True))
    week = dict(zip(curves["week: same hour of week"].x, curves["week: same hour of week"].y, strict=True))
    assert hour[0] == hour[24] == week[0] == week[7] == 1
    assert hour[12] < 1e-6
    assert week[1] < 1e-6
    assert hour[1] == pytest.approx(math.exp(-0.5), rel=0.02)


def test_a_log_without_a_clock_has_no_kernels() -> None:
    assert {curve.group for curve in memory_curves(MemoryConfig(periodic=False))} == {"forgetting"}
