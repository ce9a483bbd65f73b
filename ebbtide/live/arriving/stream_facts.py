"""What a live stream is like: said in the settings, or found in its first examples, once and for all."""

from typing import Any

import msgspec
import numpy as np

from ebbtide.config import RunConfig
from ebbtide.live.arriving.side_tables import SideTables
from ebbtide.running.plan import Subject, all_roles
from state.errors import InputError
from state.examples import USER_RATES, ExampleBatch
from state.keys import NO_KEY
from state.memory.mask import Selection
from streams.engines.engine_config import EngineConfig, config_of
from streams.schema import OPTIONAL_ROLES, REQUIRED_ROLES

RANK_SHARE = 0.1
"""Of the events, whose whole catalogue is ranked unless the settings say otherwise."""
_FEWEST = 64
"""Of the first examples must have a past, to tell whether users come back to an item."""
_KEYS = ("action", "category", "session", "scene", "source")


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Kept in every checkpoint, so that it never changes."""

    name: str
    labelled: bool
    roles: tuple[str, ...]
    user_item_repeat: float | None
    """None where too few of the first examples tell."""
    session_item_repeat: float | None
    made_by: dict[str, Any]

    @property
    def made(self) -> EngineConfig:
        return settings_of(self.made_by)

    def subject(self, sides: SideTables, expire_ms: int | None = None) -> Subject:
        """The stream, as learning sees it. It forgets after `expire_ms`, or as the first workers did."""
        operator = self.made.operator
        if expire_ms is not None:
            memory = msgspec.structs.replace(operator.memory, expire_ms=expire_ms)
            operator = msgspec.structs.replace(operator, memory=memory)
        return Subject(
            name=self.name,
            labelled=self.labelled,
            roles=all_roles(frozenset(self.roles), operator),
            names=sides.names,
            items=sides.items,
            users=sides.users,
            operator=operator,
            user_item_repeat=_or_nan(self.user_item_repeat),
            session_item_repeat=_or_nan(self.session_item_repeat),
            rank_share=RANK_SHARE,
        )

    @property
    def waited_ms(self) -> int:
        """How far an event may lie behind the newest when it is learned."""
        made = self.made
        return made.operator.lateness_ms + made.operator.label_delay_ms + made.join.window_ms

    def check(self, needed: Selection, made_by: dict[str, Any] | None = None) -> None:
        """Raises InputError where examples, by default the first, hold less than the learners need."""
        made = self.made if made_by is None else settings_of(made_by)
        if not made.holds(needed):
            raise InputError(
                f"examples: the learners need windows of {needed.width}, {needed.newest} of them newest, "
                f"and `ebbtide ingest` sends {made.window} with {made.newest}; start it with "
                f"--window {needed.width} --newest {needed.newest}, or take a learner that needs less"
            )


def settings_of(made_by: dict[str, Any]) -> EngineConfig:
    """Raises InputError where another version of the workers made the examples."""
    try:
        return config_of(made_by)
    except msgspec.ValidationError as error:
        raise InputError(
            f"examples: made by settings that are not known here ({error}); "
            "run `ebbtide ingest` and `ebbtide train` of one version"
        ) from error


def look(first: ExampleBatch, config: RunConfig, made_by: dict[str, Any]) -> Stream:
    """The stream that begins with these examples."""
    given = config.stream
    solar = settings_of(made_by).operator.solar_time
    labelled = bool(np.mean(~np.isnan(first.label_B)) >= 0.5) if given.labelled is None else given.labelled
    roles = _found(first, solar=solar) if given.roles is None else set(given.roles)
    unknown = roles - set(OPTIONAL_ROLES)
    if unknown:
        raise InputError(
            f"--config [stream] roles: expected some of {', '.join(OPTIONAL_ROLES)}, got {min(unknown)!r}"
        )
    user, session = _repeats(first)
    return Stream(
        name=given.name,
        labelled=labelled,
        roles=tuple(sorted({*roles, *REQUIRED_ROLES, *(["label"] if labelled else [])})),
        user_item_repeat=user,
        session_item_repeat=session,
        made_by=made_by,
    )


def _found(first: ExampleBatch, *, solar: bool) -> set[str]:
    """Optional roles that some example has."""
    roles = {role for role in _KEYS if (getattr(first, f"{role}_B") != NO_KEY).any()}
    roles |= {role for role in ("rating", "propensity") if not np.isnan(getattr(first, f"{role}_B")).all()}
    if not np.isnan(first.lat_B).all():
        roles |= {"lat", "lon"}
    elif (first.cell_B != NO_KEY).any():
        roles.add("place")
    if not solar and first.tz_min_B.any():
        roles.add("tz")
    return roles


def _repeats(first: ExampleBatch) -> tuple[float | None, float | None]:
    """Shares of rows whose item the user has had, and whose item the session has had."""
    had_B = first.user_rates_BR[:, USER_RATES.index("count")] > 0
    again_B = first.user_rates_BR[:, USER_RATES.index("item_count")] > 0
    user = float(again_B[had_B].mean()) if had_B.sum() >= _FEWEST else None
    in_session = first.session_B != NO_KEY
    if in_session.sum() < _FEWEST:
        return user, None
    pairs = np.column_stack([first.session_B, first.item_B])[in_session]
    return user, 1.0 - len(np.unique(pairs, axis=0)) / len(pairs)


def _or_nan(share: float | None) -> float:
    return np.nan if share is None else share
