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

import time
from collections.abc import Generator
from typing import NamedTuple

import msgspec
import numpy as np

from learners.coevolution.contracts import START, Novelty, Policy, Tuning, tuning
from learners.coevolution.gate import LEAST_EVENTS, chances, judge, too_few
from learners.coevolution.group_identity import Book, encode, fitted
from learners.coevolution.pairs import accepted, pairs
from learners.coevolution.record import Record, Verdict, Verified
from learners.coevolution.slates import Slates
from learners.coevolution.slot import BestOf
from learners.ranges import Share, Some, Whole
from state.arrays import Doubles

_CLIP = 1e-6
_DIVERGE = 1000
"""Slates on which it is looked how far Novelty has moved."""


class CycleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How cycles go."""

    every: Whole = 2400
    """Slates, or events, that are learned from one to the next."""
    draws: Some = 3
    """Of Novelty for the explore slot: the best by Relevance is shown."""
    wide: Share = 0.1
    """Share of the explore slot that is uniform."""
    hold_back: Share = 0.25
    """Share of the users whom Novelty never learns from, to judge by."""
    least_events: Whole = LEAST_EVENTS
    """Of theirs, explored, that the gate needs."""
    keep_slates: Some = 4800
    keep_held: Some = 2400
    """Of held-back users, to judge by; older ones are dropped."""
    sizes: tuple[Some, ...] = (8, 3)
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


class Seen(NamedTuple):
    """What a cycle looks at; nothing of it is changed."""

    serving: Version
    tastes_NC: Doubles
    """Of the users whom groups are made of."""
    slates: Slates
    """The newest, of users that are not held back."""
    held: Slates | None
    """The newest of those who are, explored."""
    guided: bool
    """Whether there are outcomes that Relevance learns from."""
    since_ms: int
    """When what serves was made."""
    now_ms: int
    made: int
    """The highest number that a version was given."""


class Cycle:
    """`steps` goes through it, saying what is done; then `version` and `record` are there."""

    version: Version
    record: Record

    def __init__(self, number: int, seen: Seen, settings: CycleSettings, seed: int) -> None:
        self.number, self.seen, self.settings, self.seed = number, seen, settings, seed
        self._course: Generator[str, None, None] | None = None
        self.cpu_seconds = 0.0

    def run(self) -> "Cycle":
        while self.advance():
            pass
        return self

    def advance(self) -> bool:
        """Go a step further; whether there was one."""
        begun = time.process_time()
        self._course = self._course or self.steps()
        went_on = next(self._course, None) is not None
        self.cpu_seconds += time.process_time() - begun
        return went_on

    def steps(self) -> Generator[str, None, None]:
        """What is done, step by step: of the first cycle, or of one that there is something to judge by."""
        return self._first() if self.seen.serving.number == 0 else self._next()

    def _first(self) -> Generator[str, None, None]:
        """Nothing serves that the first Novelty could be judged against."""
        seen, settings = self.seen, self.settings
        rng, book = np.random.default_rng((self.seed, 1)), seen.serving.book
        if settings.sizes:
            book = fitted(seen.tastes_NC, settings.sizes, rng, book)
        yield "recoded"
        novelty = yield from tuning(seen.serving.novelty, accepted(seen.slates), START, self.seed)
        lessons = pairs(seen.slates, 0, novelty, rng, guided=seen.guided)
        yield "paired"
        novelty = yield from tuning(novelty, lessons, settings.tuning, self.seed)
        self.version = Version(seen.made + 1, book, novelty)
        self.record = Record(
            number=0,
            time_ms=seen.now_ms,
            from_version=0,
            to_version=self.version.number,
            verified=_verified(seen.slates.take(seen.slates.explored_B)),
            lessons=lessons.size,
            codes_changed=self._changed(book),
            divergence=0.0,
            expected_before=None,
            expected_after=None,
            verdict=Verdict(promoted=True, reason="the first: none served to be judged against", events=0),
        )
        yield "made"

    def _next(self) -> Generator[str, None, None]:
        seen, settings, serving = self.seen, self.settings, self.seen.serving
        rng = np.random.default_rng((self.seed, self.number))
        new = seen.slates.take((seen.slates.time_ms_B >= seen.since_ms) & seen.slates.explored_B)
        verified = _verified(new)
        yield "verified"
        book = serving.book
        if settings.sizes:
            book = fitted(seen.tastes_NC, settings.sizes, rng, serving.book)
        yield "recoded"
        lessons = pairs(seen.slates, seen.since_ms, serving.novelty, rng, guided=seen.guided)
        yield "paired"
        novelty = yield from tuning(serving.novelty, lessons, settings.tuning, int(rng.integers(2**31)))
        candidate = Version(seen.made + 1, book, novelty)
        yield "tuned"
        expected = [_expected(version.policy(settings), new) for version in (serving, candidate)]
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
            divergence=_divergence(novelty, serving.novelty, seen.slates),
            expected_before=expected[0],
            expected_after=expected[1],
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
        code_NU = [encode(either, self.seen.tastes_NC)[:, 0] for either in (self.seen.serving.book, book)]
        return float((code_NU[0] != code_NU[1]).mean())


def _verified(slates: Slates) -> Verified:
    if not slates.size:
        return Verified(slates=0, accepted=None, expected=None, log_loss=None)
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


def _expected(policy: Policy, slates: Slates) -> float | None:
    if not slates.size:
        return None
    return float((policy.propensities(slates.asked) * slates.relevance_BC).sum(1).mean())


def _divergence(new: Novelty, old: Novelty, slates: Slates) -> float:
    slates = slates.take(slice(-_DIVERGE, None))
    open_BC = slates.open_BC
    new_BC, old_BC = (novelty.log_p(slates.inputs, open_BC) for novelty in (new, old))
    difference_BC = np.where(open_BC, new_BC, 0.0) - np.where(open_BC, old_BC, 0.0)
    return float((np.exp(new_BC) * difference_BC).sum(1).mean())
