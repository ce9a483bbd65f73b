"""What an engine gives."""

from dataclasses import dataclass

from streams.wire.message import Message


@dataclass(frozen=True, slots=True)
class Output:
    """What a batch of messages came to."""

    examples: list[bytes]
    """As messages (`state.example_wire`), at least one, of no examples if there are none."""
    dead: list[Message]
    """With headers that say why (`streams.wire.letters`)."""


NOTHING = Output([], [])
