"""Options that name a group of workers, whose state a command looks at."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ebbtide.commands import addresses
from ebbtide.commands.live_options import Brokers, DeadLetters, Events, Examples, Group

if TYPE_CHECKING:
    from streams.engines.mending import Place
    from streams.kafka.topics import Topics


@dataclass(frozen=True, slots=True)
class NamedGroup:
    """A group, its topics, and the brokers as they were given."""

    given: str | None
    topics: "Topics"
    name: str

    @property
    def brokers(self) -> str:
        """Raises InputError where nobody says any."""
        return addresses.brokers(self.given)

    def place(self) -> "Place":
        """Where its state is. Raises InputError where a worker of it is there."""
        from streams.engines.mending import Place
        from streams.kafka.security import from_environment

        place = addresses.without_workers(self.brokers, self.name)
        return Place(brokers=place, topics=self.topics, group=self.name, security=from_environment())


def named_group(
    *,
    brokers: Brokers = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = "ebbtide",
) -> NamedGroup:
    """What the options name."""
    from streams.kafka.topics import Topics

    return NamedGroup(brokers, Topics.of_group(group, events, examples, dead_letters), group)
