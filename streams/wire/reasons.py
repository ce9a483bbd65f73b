"""Why a row of a file, or a message, is no event: one vocabulary for both.

A reason is a short phrase to count by. What exactly is wrong stands beside it, as the detail.

    >>> missing("user"), bad("lat"), looks_like("seconds")
    ('no user', 'bad lat', 'bad time: looks like seconds')
"""

TOMBSTONE, NO_MESSAGE_KEY, OVERSIZED = "tombstone", "no key", "oversized"
"""Of a message: no value; no key, so that order would be lost; too many bytes or events."""
UNKNOWN_SCHEMA = "unknown schema"
MALFORMED_JSON, MALFORMED_ARROW, COMPRESSED_ARROW = "malformed json", "malformed arrow", "compressed arrow"
NOT_JSON = "not json"
"""Confluent's framing, and then Avro or Protobuf."""
NOT_AN_EVENT, NOT_AN_ITEM = "not an event", "not an item"
"""JSON, and no object of roles or columns."""
WRONG_FIELDS = "wrong number of fields"
"""Of a line of a text file."""
WRONG_TYPE = "wrong type"
"""A cell holds what no role can be, such as an object."""

OUT_OF_BOUNDS = "bad time: out of bounds"
"""Outside of the years that a time is believed."""
FAR_OFF = "bad time: far from all others"
"""Alone, years before or after the rest of its log."""
AHEAD = "bad time: ahead of the broker"
"""Further ahead of its message's own time than a clock may be wrong."""

LATE = "late"
"""An event that is older than the stream's clock by more than is waited for."""
NOT_EXAMPLES, NOT_LEARNED = "not examples", "not learned"
"""Of a message to the trainer: it cannot be read; what it holds ended in an error of the learners."""
LATE_LABEL, SECOND_LABEL = "late label", "second label"
"""Feedback to an impression that has gone on unanswered, or that has its label."""


def missing(role: str) -> str:
    """A required role holds nothing."""
    return f"no {role}"


def bad(role: str) -> str:
    """What a role holds is of the wrong type, or out of bounds."""
    return f"bad {role}"


def looks_like(unit: str) -> str:
    """A number is no time in the unit of the others, and would be one in `unit`."""
    return f"bad time: looks like {unit}"
