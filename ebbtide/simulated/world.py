"""A planted world: users in groups, with interests in clusters that come and go, and tire of what they see.

It is a simulator. What is measured in it says what exploring is worth where users are as it assumes, and
nothing of real users. Its constants are fixed; nothing in it depends on what is shown, so that policies are
compared on the same users, days and chances.

Shape suffixes: U users, C clusters, G groups, A active users.
"""

from dataclasses import dataclass

import numpy as np

from state.arrays import Bools, Doubles, Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldOptions:
    users: int = 400
    groups: int = 6
    clusters: int = 60
    seed: int = 0


CORE = 10
"""Clusters of a group."""
INTERESTS, KNOWN = 8, 3
"""Of a user, and those that the log knows of from the beginning."""
FROM_CORE = 0.8
ACTIVE = 0.6
"""Mean chance of a user to come on a day."""
OFF_DAYS, ON_DAYS, REPLACED_DAYS = 45.0, 25.0, 60.0
ON_SHARE = OFF_DAYS / (OFF_DAYS + ON_DAYS)
"""Of the interests that are on at any time."""
TREND_DAYS, TREND_CLUSTERS, TREND_FOLLOWERS = 12, 2, 0.4
BEFORE_DAYS, REJECTED = 30, 8
"""Days before the first in which what is known was accepted."""


class World:
    """Its state as of a day; `next_day` goes on."""

    def __init__(self, options: WorldOptions) -> None:
        self.options = o = options
        self.rng = rng = np.random.default_rng((o.seed, 1))
        self.day = 0
        popular_C = rng.permutation(np.arange(1, o.clusters + 1) ** -0.5)
        self.base_C: Doubles = 0.01 + 0.04 * popular_C
        """Chance that somebody without an interest accepts."""
        self.popular_C: Doubles = popular_C / popular_C.sum()
        self.group_U: Int64s = rng.integers(o.groups, size=o.users)
        self.core_GC = np.zeros((o.groups, o.clusters), np.bool_)
        for group in range(o.groups):
            self.core_GC[group, rng.permutation(o.clusters)[:CORE]] = True
        self.strength_UC: Doubles = np.zeros((o.users, o.clusters))
        """Of an interest; 0 where there is none."""
        for user in range(o.users):
            for _ in range(INTERESTS):
                self._take_up(user)
        self.on_UC: Bools = rng.random((o.users, o.clusters)) < ON_SHARE
        self.known_UC: Bools = np.zeros((o.users, o.clusters), np.bool_)
        for user in range(o.users):
            known = rng.permutation(np.flatnonzero(self.strength_UC[user]))[:KNOWN]
            self.known_UC[user, known] = self.on_UC[user, known] = True
        self.active_U: Doubles = ACTIVE * rng.uniform(0.6, 1.4, o.users)

    def before(self) -> tuple[Int64s, Int64s, Bools, Int64s]:
        """Users, clusters, whether it was accepted, and days (below 0) of what was shown before the first
        day, by day: what is known, and `REJECTED` times as much that is not, interests to come among it: else
        what was never shown would betray them."""
        rng = np.random.default_rng((self.options.seed, 2))
        user_K, cluster_K = np.nonzero(self.known_UC)
        times_K = rng.integers(3, 8, len(user_K))
        user_A, cluster_A = np.repeat(user_K, times_K), np.repeat(cluster_K, times_K)
        user_R = np.repeat(user_A, REJECTED)
        cluster_R = (rng.random((len(user_R), self.options.clusters)) * ~self.known_UC[user_R]).argmax(1)
        day = -1 - rng.integers(BEFORE_DAYS, size=len(user_A) + len(user_R))
        order = np.argsort(day, kind="stable")
        user, cluster = np.concatenate([user_A, user_R])[order], np.concatenate([cluster_A, cluster_R])[order]
        return user, cluster, order < len(user_A), day[order]

    @property
    def appeal_UC(self) -> Doubles:
        """Chance of acceptance by who has not seen it lately."""
        return np.asarray(np.where(self.on_UC & (self.strength_UC > 0.0), self.strength_UC, self.base_C))

    def visitors(self) -> Int64s:
        """Who comes today."""
        rng = np.random.default_rng((self.options.seed, 3, self.day))
        return np.flatnonzero(rng.random(self.options.users) < self.active_U)

    def luck(self) -> Doubles:
        """Today's chances (U, C, 2), for the first and the second item of a cluster: below the probability is
        accepted."""
        o = self.options
        return np.random.default_rng((o.seed, 4, self.day)).random((o.users, o.clusters, 2))

    def next_day(self) -> None:
        rng, o = self.rng, self.options
        self.day += 1
        flips_UC = rng.random((o.users, o.clusters))
        self.on_UC = np.where(self.on_UC, flips_UC >= 1.0 / OFF_DAYS, flips_UC < 1.0 / ON_DAYS)
        for user in np.flatnonzero(rng.random(o.users) < 1.0 / REPLACED_DAYS).tolist():
            self._give_up(user, rng.choice(np.flatnonzero(self.strength_UC[user])))
            self._take_up(user)
        if self.day % TREND_DAYS == 0:
            for group in range(o.groups):
                self._trend(group)

    def _trend(self, group: int) -> None:
        """Clusters of the group's core give way to others; of the members who like them some follow."""
        rng, core_C = self.rng, self.core_GC[group]
        old = rng.permutation(np.flatnonzero(core_C))[:TREND_CLUSTERS]
        new = rng.permutation(np.flatnonzero(~core_C))[:TREND_CLUSTERS]
        core_C[old], core_C[new] = False, True
        members = np.flatnonzero(self.group_U == group)
        for user in members[rng.random(len(members)) < TREND_FOLLOWERS]:
            for gone, come in zip(old, new, strict=True):
                if self.strength_UC[user, gone] > 0.0:
                    self._give_up(user, gone)
                    self._like(user, come)

    def _give_up(self, user: int, cluster: int) -> None:
        self.strength_UC[user, cluster] = 0.0

    def _take_up(self, user: int) -> None:
        """One more interest: out of the group's core, or by popularity."""
        rng, o = self.rng, self.options
        free_C = self.strength_UC[user] == 0.0
        chance_C = self.popular_C * free_C
        if rng.random() < FROM_CORE and (self.core_GC[self.group_U[user]] & free_C).any():
            chance_C = (self.core_GC[self.group_U[user]] & free_C).astype(np.float64)
        self._like(user, rng.choice(o.clusters, p=chance_C / chance_C.sum()))

    def _like(self, user: int, cluster: int) -> None:
        self.strength_UC[user, cluster] = self.rng.uniform(0.35, 0.75)
        if self.day:
            self.on_UC[user, cluster] = True
