"""What decides the examples of an engine, and which of it may change while a state lives on."""

from collections.abc import Mapping
from typing import Any

import msgspec

from state import example_wire
from state.errors import InputError
from state.memory.mask import NEWEST, Selection, select
from state.memory.memory_config import MemoryConfig
from state.tree import differing, filled
from streams.join.impressions import JoinConfig
from streams.operator import OperatorConfig

_MAY_CHANGE = ("operator.memory.expire_ms", "operator.memory.most_users", "window", "newest")
"""From one start to the next: memory without a bound goes on with one, and more or less of it is sent."""


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides the examples; the same for every partition, and for every worker of a group."""

    operator: OperatorConfig = OperatorConfig()
    join: JoinConfig = JoinConfig()
    window: int = 64
    """Entries of a user's memory that go with an example, at most; the mask selects them."""
    newest: int = NEWEST
    """How many of them are just the newest."""
    ahead_ms: int = 3_600_000
    """How far an event may lie ahead of its message's time, by the broker."""

    def __post_init__(self) -> None:
        if not 1 <= self.window <= example_wire.MOST_WINDOW:
            raise InputError(f"window: expected 1 to {example_wire.MOST_WINDOW:,} entries, got {self.window}")
        if self.newest < 0:
            raise InputError(f"newest: expected at least 0 entries, got {self.newest}")
        if self.ahead_ms < 0:
            raise InputError(f"ahead_ms: expected at least 0, got {self.ahead_ms}")

    @property
    def selection(self) -> Selection:
        return select(self.window, self.newest)

    def holds(self, selection: Selection) -> bool:
        """Whether what is selected can be found in the examples."""
        newest, masked = self.selection
        everything = newest >= self.operator.memory.capacity
        return everything or (newest >= selection.newest and masked >= selection.masked)


def config_of(made_by: Mapping[str, Any]) -> EngineConfig:
    """Settings that were written down, also by an earlier version. Raises msgspec.ValidationError."""
    return msgspec.convert(_of_today(made_by), EngineConfig)


def _of_today(made_by: Mapping[str, Any]) -> dict[str, Any]:
    """Windows were once the newest entries; or by views, and of what they left out nothing can be said."""
    said = dict(made_by)
    views = said.pop("views", None)
    if views is not None:
        capacity = said.get("operator", {}).get("memory", {}).get("capacity", MemoryConfig().capacity)
        said["newest"] = 0 if views and said["window"] < capacity else said["window"]
    return said


def altered(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Settings (path, before, now) that differ and may not, for states and examples of one stream."""
    differ = differing(filled(_of_today(before), now), now)
    return [(path, was, is_) for path, was, is_ in differ if path not in _MAY_CHANGE]
