"""How a user's memory fades, and how much it holds."""

import msgspec

from state.errors import InputError


class MemoryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a user's memory fades, and how much it holds."""

    capacity: int = 1024
    """Entries a user; when full the oldest goes."""
    strength_s: float = 3 * 86400.0
    """Time in which a single event fades to 1/e."""
    gain: float = 0.7
    """How much a repeat strengthens at most."""
    strength_cap_s: float = 60 * 86400.0
    hour_width_h: float = 1.0
    """Standard deviation of the hour-of-day kernel."""
    week_width_h: float = 1.5
    """Standard deviation of the hour-of-week kernel."""
    periodic: bool = True
    """Off for logs whose times are mere ticks: then no hour and no week view."""
    horizon_s: float | None = None
    """Windows leave out what is older than this; None for no limit."""
    expire_ms: int | None = None
    """Whoever's last event has been known for longer, by the stream's clock, is forgotten; None for never."""
    most_users: int | None = None
    """Of more users those are forgotten who have been silent for longest; None for no limit."""

    def __post_init__(self) -> None:
        for name in ("capacity", "strength_s", "strength_cap_s", "hour_width_h", "week_width_h"):
            if not getattr(self, name) > 0:
                raise InputError(f"memory.{name}: expected more than 0, got {getattr(self, name)}")
        if self.strength_cap_s < self.strength_s:
            raise InputError(
                f"memory.strength_cap_s: expected at least strength_s ({self.strength_s:g}), "
                f"got {self.strength_cap_s:g}"
            )
        if self.gain < 0:
            raise InputError(f"memory.gain: expected at least 0, got {self.gain}")
        for name in ("expire_ms", "most_users"):
            most = getattr(self, name)
            if most is not None and most < 1:
                raise InputError(f"memory.{name}: expected at least 1, got {most}")
