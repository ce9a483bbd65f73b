"""One cycle: verify, recode, pair, tune, re-evaluate, gate.

Slates are learned from and judged by as they were scored, codes of users too: a code made now would know what
its user has accepted since.

A cycle reads what serves and changes nothing of it. What it draws is seeded by its number, so a cycle that
was cut off anywhere, and is begun anew on the same state, ends the same. Who runs it adopts what it made, or
does not.

The steps of CoEA (arXiv:2508.00450), periodic and closed, are: Relevance verifies preference on incremental
data; that guides the fine-tuning of Novelty; its output goes back to Relevance to be evaluated again. How
each is done, the group identity in a version, and the gate are ours.

Shape suffixes: B slates, M levels.
"""

from collections.abc import Generator
from typing import NamedTuple

import msgspec
import numpy as np

from learners.coevolution.gate import LEAST_EVENTS, Verdict, chances, judge, too_few
from learners.coevolution.group_identity import Book, encode, fitted
from learners.coevolution.history import History
from learners.coevolution.novelty import Novelty, Tuning
from learners.coevolution.pairs import pairs
from learners.coevolution.slates import Slates
from learners.coevolution.slot import BestOf, Policy
from state.arrays import Doubles

_CLIP = 1e-6


class CycleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How cycles go."""

    every: int = 2400
    """Slates from one to the next."""
    draws: int = 3
    """Of Novelty for the explore slot: the best by Relevance is shown."""
    wide: float = 0.1
    """Share of the explore slot that is uniform."""
    hold_back: float = 0.25
    """Share of the users whom Novelty never learns from, to judge by."""
    least_events: int = LEAST_EVENTS
    """Of theirs, explored, that the gate needs."""
    keep_slates: int = 4800
    keep_held: int = 2400
    """Of held-back users, to judge by; older ones are dropped."""
    sizes: tuple[int, ...] = (8, 3)
    """Codes of each level of the group identity; () for none."""
    tuning: Tuning = Tuning()


class Version(NamedTuple):
    """What serves together, and is promoted together."""

    number: int
    book: Book
    novelty: Novelty

    def policy(self, settings: CycleSettings) -> Policy:
        """What fills the explore slot."""
        return BestOf(self.novelty, settings.draws, settings.wide)


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Relevance on what the explore slot has shown since the serving version was made, as it was scored."""

    slates: int
    accepted: float
    expected: float
    """Mean P(accept)."""
    log_loss: float

    @property
    def gap(self) -> float:
        """How far Relevance believes in its own choices."""
        return self.expected - self.accepted


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a cycle leaves behind."""

    number: int
    time_ms: int
    from_version: int
    to_version: int
    """The same, if it was refused."""
    verified: Verified
    lessons: int
    codes_changed: float
    """Share of the users whose first code is another."""
    divergence: float
    """Mean Kullback-Leibler divergence of the new Novelty from the old, on the newest slates, nats."""
    expected_before: float
    """What Relevance expects the slot of the version to be accepted, on the same slates."""
    expected_after: float
    verdict: Verdict


class Seen(NamedTuple):
    """What a cycle looks at; nothing of it is changed."""

    serving: Version
    history: History
    slates: Slates
    """The newest, of users that are not held back."""
    held: Slates | None
    """The newest of those who are."""
    since_ms: int
    """When what serves was made."""
    now_ms: int


class Cycle:
    """`steps` goes through it, saying what is done; then `version` and `record` are there."""

    version: Version
    record: Record

    def __init__(self, number: int, seen: Seen, settings: CycleSettings, seed: int) -> None:
        self.number, self.seen, self.settings, self.seed = number, seen, settings, seed

    def run(self) -> "Cycle":
        for _ in self.steps():
            pass
        return self

    def steps(self) -> Generator[str, None, None]:
        seen, settings, serving = self.seen, self.settings, self.seen.serving
        rng = np.random.default_rng((self.seed, self.number))
        new = seen.slates.take(seen.slates.time_ms_B >= seen.since_ms)
        verified = _verified(new)
        yield "verified"
        book = serving.book
        if settings.sizes:
            book = fitted(seen.history.tastes(seen.now_ms), settings.sizes, rng, serving.book)
        yield "recoded"
        lessons = pairs(seen.slates, seen.since_ms, serving.novelty, rng)
        yield "paired"
        novelty = serving.novelty.tuned(lessons, settings.tuning, int(rng.integers(2**31)))
        candidate = Version(serving.number + 1, book, novelty)
        yield "tuned"
        before_BC, after_BC = (
            version.policy(settings).propensities(new.asked) for version in (serving, candidate)
        )
        yield "re-evaluated"
        verdict = self._judged(candidate)
        self.version = candidate if verdict.promoted else serving
        self.record = Record(
            number=self.number,
            time_ms=seen.now_ms,
            from_version=serving.number,
            to_version=self.version.number,
            verified=verified,
            lessons=lessons.size,
            codes_changed=self._changed(book),
            divergence=_divergence(novelty, serving.novelty, new),
            expected_before=_expected(before_BC, new),
            expected_after=_expected(after_BC, new),
            verdict=verdict,
        )
        yield "judged"

    def _judged(self, candidate: Version) -> Verdict:
        events, least = self.seen.held, self.settings.least_events
        if events is None:
            return too_few(0, least)
        before_E = chances(self.seen.serving.policy(self.settings), events)
        after_E = chances(candidate.policy(self.settings), events)
        return judge(before_E, after_E, events, least)

    def _changed(self, book: Book) -> float:
        if not book:
            return 0.0
        tastes_UC = self.seen.history.tastes(self.seen.now_ms)
        code_NU = [encode(one, tastes_UC)[:, 0] for one in (self.seen.serving.book, book)]
        return float((code_NU[0] != code_NU[1]).mean())


def _verified(slates: Slates) -> Verified:
    place_B = np.arange(slates.size)
    p_B = slates.relevance_BC[place_B, slates.cluster_BS[:, -1]].astype(np.float64)
    accepted_B = slates.accepted_BS[:, -1]
    safe_B = np.clip(np.where(accepted_B, p_B, 1.0 - p_B), _CLIP, 1.0)
    return Verified(
        slates=slates.size,
        accepted=float(accepted_B.mean()),
        expected=float(p_B.mean()),
        log_loss=float(-np.log(safe_B).mean()),
    )


def _expected(p_BC: Doubles, slates: Slates) -> float:
    return float((p_BC * slates.relevance_BC).sum(1).mean())


def _divergence(new: Novelty, old: Novelty, slates: Slates) -> float:
    open_BC = slates.open_BC
    new_BC, old_BC = (novelty.log_p(slates.inputs, open_BC) for novelty in (new, old))
    difference_BC = np.where(open_BC, new_BC, 0.0) - np.where(open_BC, old_BC, 0.0)
    return float((np.exp(new_BC) * difference_BC).sum(1).mean())
