"""`ebbtide bench cycles`, in a world small enough for a test; and the world itself."""

import json
from functools import partial

import numpy as np
import pytest
from typer.testing import CliRunner

from ebbtide.commands.app import app
from ebbtide.simulated import cycles
from ebbtide.simulated.cycles import Scale
from ebbtide.simulated.over_seeds import figure
from ebbtide.simulated.simulation import EXPLOITED, Simulation, exploited
from ebbtide.simulated.world import INTERESTS, World, WorldOptions
from learners.coevolution.cycle import CycleSettings
from state.tree import digest

SETTINGS = CycleSettings(every=90, least_events=20, keep_slates=500, keep_held=200, sizes=(4, 2))
QUICK = Scale(users=40, warm_up_days=3, days=5, gate_days=5, gate_draws=4, gate_events=30, settings=SETTINGS)
WORLD = WorldOptions(users=60, clusters=30, seed=1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark's own world takes a minute a seed."""
    monkeypatch.setattr(cycles, "bench", partial(cycles.bench, scale=QUICK))


@pytest.mark.usefixtures("small")
def test_the_printed_object_has_the_fields_that_scripts_read() -> None:
    ended = CliRunner().invoke(app, ["bench", "cycles", "--seeds", "2", "--json"])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    figures = [
        *("slot_vs_epsilon", "slot_vs_thompson", "slot_vs_trained_once", "slate_vs_epsilon"),
        *("group_identity", "accuracy_change_percent", "gap"),
    ]
    assert list(found) == ["seeds", *figures, "control", "gate", "cycle_cpu_seconds"]
    assert found["seeds"] == 2
    for name in figures:
        assert list(found[name]) == ["mean", "low", "high"]
        assert found[name]["low"] <= found[name]["mean"] <= found[name]["high"]
    assert list(found["control"]) == ["replace_gap", "replace_accuracy_ratio", "add_gap"]
    assert list(found["gate"]) == [
        *("swapped_refused", "reset_refused", "good_promoted", "unchanged_promoted")
    ]
    assert found["gate"]["unchanged_promoted"] == 1.0
    assert found["cycle_cpu_seconds"] > 0.0
    assert "seed 2 of 2: gate" in ended.stderr


def test_own_labels_confirm_themselves_and_real_feedback_does_not() -> None:
    begun = cycles.warmed(0, QUICK)
    real, own = begun.copy().run(8, "cycles"), begun.copy().run(8, "cycles", "replaced")
    assert own.gap > real.gap + 0.05
    assert own.accuracy < real.accuracy


def test_a_copy_goes_on_like_the_original() -> None:
    one = Simulation(WORLD, SETTINGS)
    one.run(3)
    one.system.start(one.now_ms)
    other = one.copy()
    first, second = one.run(5, "cycles"), other.run(5, "cycles")
    assert first.records
    assert first.records == second.records
    assert digest(one.tree()) == digest(other.tree())


def test_the_world_does_not_depend_on_what_is_shown() -> None:
    shown, unseen = Simulation(WORLD, SETTINGS), World(WORLD)
    shown.run(3)
    for _ in range(3):
        unseen.next_day()
    for name in ("strength_UC", "on_UC", "core_GC"):
        assert np.array_equal(getattr(shown.world, name), getattr(unseen, name))
    assert np.array_equal(shown.world.luck(), unseen.luck())
    assert np.array_equal(shown.world.visitors(), unseen.visitors())


def test_interests_come_mostly_out_of_the_group_s_core() -> None:
    world = World(WorldOptions(seed=2))
    liked_UC = world.strength_UC > 0.0
    assert (liked_UC.sum(1) == INTERESTS).all()
    assert (liked_UC & world.core_GC[world.group_U]).sum() / liked_UC.sum() > 0.75
    assert not (world.known_UC & ~liked_UC).any()


def test_a_slate_has_a_cluster_twice_at_most_and_the_best_first() -> None:
    score = np.random.default_rng(0).random((40, 12))
    place = exploited(score)
    assert place.shape == (40, EXPLOITED)
    assert (place[:, 0] == score.argmax(1)).all()
    assert max(np.bincount(row).max() for row in place) == 2


def test_a_figure_s_interval_is_student_s() -> None:
    found = figure([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, 1.0368, 4.9632), abs=1e-3)
    assert figure([2.0]).low is None
