"""Slates in the planted world, day by day, by the product's own models and policies.

A slate has nine places by Relevance (at most two items of a cluster, the second at `SECOND` of its score;
what is novel at the policy's `optimism`) and one explore slot, over clusters that are novel and not in the
slate. Novel is what its user has accepted nothing of for 30 days.

Shape suffixes: U users, C clusters, A users of today, S places.
"""

import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ebbtide.simulated.world import World, WorldOptions
from learners.coevolution.contracts import Policy
from learners.coevolution.cycle import CycleSettings
from learners.coevolution.history import DAY_MS, NOVEL_DAYS
from learners.coevolution.inputs import Asked, Feedback
from learners.coevolution.record import Record
from learners.coevolution.slates import Slates
from learners.coevolution.slot import Epsilon, Thompson, drawn
from learners.coevolution.system import CoEvolution
from state.arrays import Bools, Doubles, Int64s
from state.tree import Tree

START_MS = 1_704_067_200_000
"""1 January 2024."""
EXPLOITED = 9
SECOND = 0.8
TIRED, REST_DAYS = 0.12, 3.0
_NEVER = -(10**6)

Slot = Literal["cycles", "trained once", "epsilon", "thompson"]
Labels = Literal["real", "replaced", "added"]


@dataclass(slots=True)
class SlateTotals:
    """What is measured, summed over slates."""

    slates: int = 0
    accepted: int = 0
    """Of what was exploited."""
    novel: int = 0
    """Clusters accepted that were novel, each once a slate."""
    explored: int = 0
    """Accepted in the explore slot."""
    believed: float = 0.0
    """P(accept) of what the explore slot has shown, by Relevance."""
    records: list[Record] = field(default_factory=list)
    cycle_cpu_s: list[float] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        return self.accepted / (EXPLOITED * self.slates)

    @property
    def slate(self) -> float:
        """Serendipity of the slate: novel clusters accepted."""
        return self.novel / self.slates

    @property
    def slot(self) -> float:
        """The same of the explore slot."""
        return self.explored / self.slates

    @property
    def gap(self) -> float:
        """The confirmation gap: how far Relevance believes in what the explore slot has shown."""
        return (self.believed - self.explored) / self.slates


class Simulation:
    """One world and one system."""

    def __init__(self, options: WorldOptions, settings: CycleSettings) -> None:
        self.world = World(options)
        self.settings = settings
        self.system = CoEvolution(options.clusters, settings, options.seed)
        shape = (options.users, options.clusters)
        self.tired_UC: Doubles = np.zeros(shape)
        """Exposures, faded."""
        self.last_day_UC: Int64s = np.full(shape, _NEVER)
        """Of the last accept."""
        user, cluster, accepted, day = self.world.before()
        self.system.history.add(user, cluster, accepted, START_MS + day * DAY_MS)
        self.system.group(self.now_ms)
        np.maximum.at(self.last_day_UC, (user[accepted], cluster[accepted]), day[accepted])

    @property
    def now_ms(self) -> int:
        return START_MS + self.world.day * DAY_MS

    def run(self, days: int, slot: Slot = "epsilon", labels: Labels = "real") -> SlateTotals:
        """Go through so many days."""
        tally = SlateTotals()
        thompson = Thompson(np.random.default_rng((self.world.options.seed, 5)))
        for _ in range(days):
            if slot == "cycles" and self.system.due:
                begun = time.process_time()
                self.system.begin(self.now_ms)
                tally.records.append(self.system.end())
                tally.cycle_cpu_s.append(time.process_time() - begun)
            policies: dict[str, Policy] = {"epsilon": Epsilon(), "thompson": thompson}
            self._day(policies.get(slot, self.system.policy()), labels, tally)
            self.world.next_day()
        return tally

    def tree(self) -> Tree:
        """All but the world, which depends on nothing else."""
        return {
            "system": self.system.tree(),
            "tired_UC": self.tired_UC.copy(),
            "last_day_UC": self.last_day_UC.copy(),
        }

    def copy(self) -> "Simulation":
        """Another one in the same state."""
        other = Simulation(self.world.options, self.settings)
        tree = self.tree()
        while other.world.day < self.world.day:
            other.world.next_day()
        other.system.load(tree["system"])
        other.tired_UC, other.last_day_UC = tree["tired_UC"], tree["last_day_UC"]
        return other

    def _day(self, policy: Policy, labels: Labels, tally: SlateTotals) -> None:
        system, user_A = self.system, self.world.visitors()
        inputs = system.inputs(user_A, self.now_ms, system.personas(self.now_ms))
        relevance_AC = system.relevance.accepts(inputs)
        novel_AC = system.history.novel(user_A, self.now_ms)
        exploited_AS = exploited(np.where(novel_AC, policy.optimism * relevance_AC, relevance_AC))
        open_AC = novel_AC.copy()
        np.put_along_axis(open_AC, exploited_AS, False, 1)
        p_AC = policy.propensities(Asked(inputs, relevance_AC, open_AC))
        chance = np.random.default_rng((self.world.options.seed, 6, self.world.day))
        explored_A, propensity_A = drawn(p_AC, chance.random(self.world.options.users)[user_A])
        shown_AS = np.column_stack([exploited_AS, explored_A])
        slates = Slates(
            inputs=inputs,
            relevance_BC=relevance_AC.astype(np.float32),
            novel_BC=novel_AC,
            cluster_BS=shown_AS,
            accepted_BS=self._answered(user_A, shown_AS),
            propensity_B=propensity_A,
            explored_B=np.ones(len(user_A), np.bool_),
            user_B=user_A,
            time_ms_B=np.full(len(user_A), self.now_ms),
        )
        self._tell(slates, tally)
        self._learn(slates, p_AC, labels)

    def _answered(self, user_A: Int64s, cluster_AS: Int64s) -> Bools:
        """What the users do; they tire with every exposure."""
        appeal_AC, luck_AC2 = self.world.appeal_UC[user_A], self.world.luck()[user_A]
        self.tired_UC *= 0.5 ** (1.0 / REST_DAYS)
        row_A, seen_AC = np.arange(len(user_A)), np.zeros(appeal_AC.shape, np.int64)
        accepted_AS = np.zeros(cluster_AS.shape, np.bool_)
        for place in range(cluster_AS.shape[1]):
            cluster_A = cluster_AS[:, place]
            p_A = appeal_AC[row_A, cluster_A] * np.exp(-TIRED * self.tired_UC[user_A, cluster_A])
            accepted_AS[:, place] = luck_AC2[row_A, cluster_A, seen_AC[row_A, cluster_A]] < p_A
            self.tired_UC[user_A, cluster_A] += 1.0
            seen_AC[row_A, cluster_A] += 1
        return accepted_AS

    def _tell(self, slates: Slates, tally: SlateTotals) -> None:
        """Measured by what was really accepted, whatever the system believes."""
        user_A, day = slates.user_B, self.world.day
        novel_AC = self.last_day_UC[user_A] < day - NOVEL_DAYS
        taken_AC = np.zeros(novel_AC.shape, np.bool_)
        row_T, place_T = np.nonzero(slates.accepted_BS)
        taken_AC[row_T, slates.cluster_BS[row_T, place_T]] = True
        shown_A = slates.cluster_BS[:, -1:]
        tally.slates += slates.size
        tally.accepted += int(slates.accepted_BS[:, :-1].sum())
        tally.novel += int((taken_AC & novel_AC).sum())
        tally.explored += int(slates.accepted_BS[:, -1].sum())
        tally.believed += float(np.take_along_axis(slates.relevance_BC, shown_A, 1).sum(dtype=np.float64))
        row_T, cluster_T = np.nonzero(taken_AC)
        self.last_day_UC[user_A[row_T], cluster_T] = day

    def _learn(self, slates: Slates, p_AC: Doubles, labels: Labels) -> None:
        """With `real` labels as the product does. The two others are what it must not do: Relevance decides
        by itself whether what the explore slot shows, or would have shown, was accepted."""
        if labels == "replaced":
            accepted_AS = slates.accepted_BS.copy()
            accepted_AS[:, -1] = _own(slates, slates.cluster_BS[:, -1])
            slates = slates._replace(accepted_BS=accepted_AS)
        self.system.learn(slates)
        if labels == "added":
            chance = np.random.default_rng((self.world.options.seed, 7, self.world.day))
            cluster_A, propensity_A = drawn(p_AC, chance.random(slates.size))
            label_A = _own(slates, cluster_A)
            feedback = Feedback(slates.inputs, cluster_A[:, None], label_A[:, None], propensity_A[:, None])
            self.system.relevance.learn(feedback)
            self.system.history.add(slates.user_B, cluster_A, label_A, slates.time_ms_B)


def exploited(score_AC: Doubles) -> Int64s:
    """The clusters of the exploited places, best first."""
    clusters = score_AC.shape[1]
    score_AN = np.concatenate([score_AC, SECOND * score_AC], 1)
    return np.asarray(np.argsort(-score_AN, axis=1, kind="stable")[:, :EXPLOITED] % clusters)


def _own(slates: Slates, cluster_A: Int64s) -> Bools:
    """Relevance's own label: it finds the cluster likelier than what else is open, on average."""
    open_AC = slates.open_BC
    mean_A = (slates.relevance_BC * open_AC).sum(1) / np.maximum(open_AC.sum(1), 1)
    return np.asarray(slates.relevance_BC[np.arange(slates.size), cluster_A] >= mean_A)
