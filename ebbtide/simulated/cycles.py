"""What cycles are worth in the planted world: `ebbtide bench cycles`.

Every policy goes on from the same warm-up (20 days, a uniform explore slot) for 50 days, on the same users
and chances. Ratios are paired by seed; intervals are 95%, Student's t over seeds.

The gate is asked about versions whose worth is known: tuned on pairs as the product does (good), on pairs
turned round (swapped), with first weights (reset), and the serving one itself (unchanged), each on so many
draws of a thousand explored events of held-back users.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import msgspec
import numpy as np
import torch

from ebbtide.simulated.over_seeds import MeanOverSeeds, figure
from ebbtide.simulated.simulation import Labels, Simulation, SlateTotals, Slot
from ebbtide.simulated.world import WorldOptions
from learners.coevolution.contracts import Novelty, Tuning
from learners.coevolution.cycle import CycleSettings
from learners.coevolution.gate import LEAST_EVENTS, chances, judge
from learners.coevolution.novelty import CompactNovelty
from learners.coevolution.pairs import pairs

BASELINES: tuple[Slot, ...] = ("epsilon", "thompson", "trained once")
OWN_LABELS: tuple[Labels, ...] = ("replaced", "added")
_GATE_HOLD_BACK = 0.5


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How long a seed goes on; the defaults are the benchmark."""

    users: int = 400
    warm_up_days: int = 20
    days: int = 50
    gate_days: int = 20
    gate_draws: int = 40
    gate_events: int = LEAST_EVENTS
    settings: CycleSettings = CycleSettings()


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of it where Relevance learns labels of its own."""

    replace_gap: float
    replace_accuracy_ratio: float
    add_gap: float


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Share of the draws in which the gate did what it should."""

    swapped_refused: float
    reset_refused: float
    good_promoted: float
    unchanged_promoted: float


class Cycles(msgspec.Struct, frozen=True, kw_only=True):
    """The figures; serendipity of the explore slot or the slate, as ratios."""

    seeds: int
    slot_vs_epsilon: MeanOverSeeds
    slot_vs_thompson: MeanOverSeeds
    slot_vs_trained_once: MeanOverSeeds
    slate_vs_epsilon: MeanOverSeeds
    """The other places of epsilon's go by Relevance alone, those of cycles with the policy's optimism."""
    group_identity: MeanOverSeeds
    """Of the slot, against the same without."""
    accuracy_change_percent: MeanOverSeeds
    """Against the baseline where it is worst."""
    gap: MeanOverSeeds
    """The confirmation gap, where Relevance learns from real feedback alone."""
    control: Control
    gate: Gate
    cycle_cpu_seconds: float


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """What one seed gave."""

    tallies: Mapping[str, SlateTotals]
    gate: Gate


Tell = Callable[[str], None]


def bench(seeds: int, tell: Tell, scale: Scale | None = None) -> Cycles:
    """Seeds 0 .. `seeds` - 1. `tell` is called before whatever takes longer."""
    torch.set_num_threads(1)

    def seeded(seed: int) -> Seed:
        return one_seed(seed, lambda what: tell(f"seed {seed + 1} of {seeds}: {what}"), scale or Scale())

    return figures([seeded(seed) for seed in range(seeds)])


def one_seed(seed: int, tell: Tell, scale: Scale) -> Seed:
    tell("warm-up")
    begun = warmed(seed, scale)
    tallies: dict[str, SlateTotals] = {}
    for slot in ("cycles", *BASELINES):
        tell(slot)
        tallies[slot] = begun.copy().run(scale.days, slot)
    tell("cycles without group identity")
    tallies["no groups"] = warmed(seed, scale, sizes=()).run(scale.days, "cycles")
    for labels in OWN_LABELS:
        tell(f"cycles, own labels {labels}")
        tallies[labels] = begun.copy().run(scale.days, "cycles", labels)
    tell("gate")
    return Seed(tallies=tallies, gate=gated(seed, scale))


def warmed(seed: int, scale: Scale, **differ: Any) -> Simulation:
    """A world at the end of its warm-up, with a first Novelty; by settings that differ in something."""
    settings = msgspec.structs.replace(scale.settings, **differ)
    simulation = Simulation(WorldOptions(users=scale.users, seed=seed), settings)
    simulation.run(scale.warm_up_days // 2)
    simulation.system.group(simulation.now_ms)
    simulation.run(scale.warm_up_days - scale.warm_up_days // 2)
    simulation.system.start(simulation.now_ms)
    return simulation


def gated(seed: int, scale: Scale) -> Gate:
    """The gate on versions whose worth is known."""
    simulation = warmed(seed, scale, hold_back=_GATE_HOLD_BACK)
    since_ms = simulation.now_ms
    simulation.run(scale.gate_days, "trained once")
    system, rng = simulation.system, np.random.default_rng((seed, 8))
    serving = system.version.novelty
    lessons = pairs(system.slates.all(), since_ms, serving, rng)
    turned = lessons._replace(better_P=lessons.worse_P, worse_P=lessons.better_P)
    versions: dict[str, Novelty] = {
        "good": serving.tuned(lessons, Tuning(), seed),
        "swapped": serving.tuned(turned, Tuning(anchor=0.0), seed),
        "reset": CompactNovelty(system.clusters, system.settings.sizes, seed + 1),
        "unchanged": serving,
    }
    held = system.held.all()
    events = held.take(held.time_ms_B >= since_ms)
    before_E = chances(system.policy(), events)
    parts = [rng.permutation(events.size)[: scale.gate_events] for _ in range(scale.gate_draws)]
    promoted = {}
    for name, novelty in versions.items():
        after_E = chances(system.version._replace(novelty=novelty).policy(system.settings), events)
        judged = (judge(before_E[e], after_E[e], events.take(e), scale.gate_events) for e in parts)
        promoted[name] = fmean(verdict.promoted for verdict in judged)
    return Gate(
        swapped_refused=1.0 - promoted["swapped"],
        reset_refused=1.0 - promoted["reset"],
        good_promoted=promoted["good"],
        unchanged_promoted=promoted["unchanged"],
    )


def figures(seeds: Sequence[Seed]) -> Cycles:
    """What the seeds give together."""

    def ratio(measure: Callable[[SlateTotals], float], to: str) -> MeanOverSeeds:
        return figure([measure(seed.tallies["cycles"]) / measure(seed.tallies[to]) for seed in seeds])

    def mean(of: Callable[[Seed], float]) -> float:
        return fmean(of(seed) for seed in seeds)

    changes = [ratio(lambda tally: tally.accuracy, to) for to in BASELINES]
    worst = min(changes, key=lambda change: change.mean)
    seconds = [second for seed in seeds for second in seed.tallies["cycles"].cycle_cpu_s]
    return Cycles(
        seeds=len(seeds),
        slot_vs_epsilon=ratio(lambda tally: tally.slot, "epsilon"),
        slot_vs_thompson=ratio(lambda tally: tally.slot, "thompson"),
        slot_vs_trained_once=ratio(lambda tally: tally.slot, "trained once"),
        slate_vs_epsilon=ratio(lambda tally: tally.slate, "epsilon"),
        group_identity=ratio(lambda tally: tally.slot, "no groups"),
        accuracy_change_percent=_percent(worst),
        gap=figure([seed.tallies["cycles"].gap for seed in seeds]),
        control=Control(
            replace_gap=mean(lambda seed: seed.tallies["replaced"].gap),
            replace_accuracy_ratio=mean(
                lambda seed: seed.tallies["replaced"].accuracy / seed.tallies["cycles"].accuracy
            ),
            add_gap=mean(lambda seed: seed.tallies["added"].gap),
        ),
        gate=Gate(
            swapped_refused=mean(lambda seed: seed.gate.swapped_refused),
            reset_refused=mean(lambda seed: seed.gate.reset_refused),
            good_promoted=mean(lambda seed: seed.gate.good_promoted),
            unchanged_promoted=mean(lambda seed: seed.gate.unchanged_promoted),
        ),
        cycle_cpu_seconds=fmean(seconds) if seconds else 0.0,
    )


def _percent(ratio: MeanOverSeeds) -> MeanOverSeeds:
    def change(value: float | None) -> float | None:
        return None if value is None else 100.0 * (value - 1.0)

    return MeanOverSeeds(mean=100.0 * (ratio.mean - 1.0), low=change(ratio.low), high=change(ratio.high))
