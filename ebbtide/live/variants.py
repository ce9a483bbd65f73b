"""Which of the variants that `ebbtide serve --variant` compares wins: by what users did of what was shown.

A user's outcome is how many events came of recommendations of their own variant: those with its
`recommendation_id` whose label, if any, is above 0. Everybody of whom an event came is counted, whether or
not they were shown anything: users were split by a hash, so the difference of the variants' means is that
of what they were served (intention to treat).

Shape suffixes: U users, E events.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import NormalDist

import msgspec
import numpy as np

from ebbtide.live.posted import RECOMMENDATION
from learners.judging.metrics import standard_error
from state.arms import BASE, Arms, recommended_by
from state.arrays import Doubles
from state.ids import NO_KEY
from streams.kafka.observer import Observer
from streams.wire.decode import decode
from streams.wire.message import Message

_MESSAGES = 2000
FEWEST = 30
"""Users of a variant that it takes to tell anything."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One variant."""

    name: str
    users: int
    events: int
    taken: int
    """Events that came of its recommendations."""
    per_user: float | None
    """Of those, a user."""


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """A variant and another: the difference of events that came of recommendations, a user."""

    variant: str
    other: str
    difference: float
    low: float
    high: float
    """95% over users, unpaired; wider where more than two are compared (Bonferroni)."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Who wins, if that can be told."""

    arms: list[Arm]
    compared: list[Against]
    winner: str | None
    said: str


class VariantTally:
    """What came of it so far; `names` are those of `ebbtide serve`, without the base.

    It grows by a number for every user, and one for every event with an id: an event that comes twice counts
    once.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Raises InputError on names that are none."""
        self._arms = Arms(names)
        self._events: dict[str, dict[str, int]] = {name: {} for name in self._arms.names}
        self._taken: dict[str, dict[str, int]] = {name: {} for name in self._arms.names}
        self._met = set[int]()
        self.offsets: dict[int, int] = {}
        """Partition -> the next message to be taken."""

    def take(self, messages: Iterator[Message]) -> None:
        """Messages on the topic of events, each partition in its order."""
        while some := list(islice(messages, _MESSAGES)):
            for user, event_id, by in _events(some):
                if event_id != NO_KEY and event_id in self._met:
                    continue
                self._met.add(event_id)
                name = self._arms.of(user)
                events, taken = self._events[name], self._taken[name]
                events[user] = events.get(user, 0) + 1
                taken[user] = taken.get(user, 0) + (by == name)
            self.offsets |= {message.partition: message.offset + 1 for message in some}

    def verdict(self) -> Verdict:
        """Who wins by now."""
        values = {name: np.array(list(of.values()), np.float64) for name, of in self._taken.items()}
        arms = [
            Arm(
                name=name,
                users=len(value_U),
                events=sum(self._events[name].values()),
                taken=int(value_U.sum()),
                per_user=float(value_U.mean()) if len(value_U) else None,
            )
            for name, value_U in values.items()
        ]
        if len(values) < 2:
            return Verdict(arms=arms, compared=[], winner=None, said="nothing is compared: name a variant")
        if min(len(value_U) for value_U in values.values()) < FEWEST:
            sentence = f"too few users to tell: expected {FEWEST} of each variant"
            return Verdict(arms=arms, compared=[], winner=None, said=sentence)
        ranked = sorted(values, key=lambda name: (-values[name].mean(), name != BASE))
        pairs = [(ranked[0], other) for other in ranked[1:]]
        compared = [_against(values, best, other, len(pairs)) for best, other in pairs]
        wins = all(difference.low > 0 for difference in compared)
        sentence = f"{ranked[0]} wins" if wins else "no difference is shown that chance could not make"
        return Verdict(arms=arms, compared=compared, winner=ranked[0] if wins else None, said=sentence)


def verdict(messages: Iterator[Message], names: Sequence[str]) -> Verdict:
    """Of these messages on the topic of events."""
    tally = VariantTally(names)
    tally.take(messages)
    return tally.verdict()


def read(brokers: str, topic: str, tally: VariantTally) -> Verdict:
    """By what is on the topic by now; what was taken is not read again. Raises InputError."""
    with Observer(brokers) as observer:
        tally.take(observer.read(topic, tally.offsets))
    return tally.verdict()


def _events(messages: Sequence[Message]) -> Iterator[tuple[str, int, str | None]]:
    """User, key of the event's id, and the variant whose recommendation it came of, if it is a success."""
    shown = {
        (message.partition, message.offset): recommended_by(value.decode("utf-8", "replace"))
        for message in messages
        for name, value in message.headers
        if name == RECOMMENDATION and value is not None
    }
    decoded = decode(messages)
    of = decoded.events
    came = zip(of.partition_B.tolist(), of.offset_B.tolist(), strict=True)
    rows = zip(of.user_B.tolist(), of.event_id_B.tolist(), of.label_B.tolist(), came, strict=True)
    for user, event_id, label, where in rows:
        yield decoded.names.get(user, str(user)), event_id, None if label <= 0 else shown.get(where)


def _against(values: dict[str, Doubles], variant: str, other: str, pairs: int) -> Against:
    one_U, other_U = values[variant], values[other]
    influence_U = np.concatenate(
        [(one_U - one_U.mean()) / len(one_U), (other_U.mean() - other_U) / len(other_U)]
    )
    half = NormalDist().inv_cdf(1 - 0.025 / pairs) * standard_error(influence_U, len(influence_U))
    difference = float(one_U.mean() - other_U.mean())
    return Against(
        variant=variant, other=other, difference=difference, low=difference - half, high=difference + half
    )
