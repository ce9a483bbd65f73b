"""The files that make up a log, before anything is read from them."""

from dataclasses import dataclass, field

from replay.meaning.mapping import Mapping
from replay.reading.chunks import RowsFile


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFiles:
    """Event files in order, perhaps side tables, and what is known of their columns."""

    name: str
    events: tuple[RowsFile, ...]
    items: tuple[RowsFile, ...] = ()
    users: tuple[RowsFile, ...] = ()
    mapping: Mapping = field(default_factory=Mapping)
    label: str | None = None
    item_types: dict[str, str] = field(default_factory=dict)
    """What side columns are, where their values would mislead; see `replay.meaning.sides`."""
    user_types: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What was left out, and why."""
