"""Settings of learners are refused where they are read, in one line: every number has a range."""

import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ebbtide.api import open_log
from ebbtide.config import RunConfig
from ebbtide.running.plan import plan, subject, trainer_of
from learners.contract import Settings
from learners.registry import learner, names
from state.errors import InputError

FREE = {
    "TwoTowerSettings.cold_bias": "a logit may be any number",
    "InterestSettings.cold_bias": "the same",
    "MixtureSettings": "the mixture says itself what is out of range",
}


def without_range(settings: type[Any]) -> Iterator[str]:
    """Numbers of these settings, and of those within, for which every value is taken."""
    if settings.__name__ in FREE:
        return
    for name, kind in typing.get_type_hints(settings, include_extras=True).items():
        if name in settings.__struct_fields__ and f"{settings.__name__}.{name}" not in FREE:
            yield from (f"{settings.__name__}.{name}{what}" for what in unranged(kind))


def unranged(kind: Any) -> Iterator[str]:
    if kind in (int, float):
        yield ""
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from (f" > {inside}" for inside in without_range(kind))
    elif typing.get_origin(kind) in (tuple, list, typing.Union, types.UnionType):
        for part in typing.get_args(kind):
            yield from unranged(part)
    elif typing.get_origin(kind) is typing.Annotated and typing.get_origin(kind.__origin__) is tuple:
        yield from unranged(kind.__origin__)


@pytest.mark.parametrize("name", names())
def test_every_number_of_a_learner_has_a_range(name: str) -> None:
    assert list(without_range(learner(name).Config)) == []


def taking_anything(settings: type[msgspec.Struct]) -> Iterator[str]:
    """These settings, and those within, where a field that does not exist is not refused."""
    if not settings.__struct_config__.forbid_unknown_fields:
        yield settings.__name__
    for kind in typing.get_type_hints(settings).values():
        for part in (kind, *typing.get_args(kind)):
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                yield from taking_anything(part)


@pytest.mark.parametrize("settings", [RunConfig, *(learner(name).Config for name in names())])
def test_what_does_not_exist_is_refused_at_any_depth(settings: type[msgspec.Struct]) -> None:
    assert list(taking_anything(settings)) == []


def test_what_has_no_range_is_found() -> None:
    class Inside(Settings, frozen=True):
        share: float = 0.5

    class Outside(Settings, frozen=True):
        inside: Inside = Inside()
        some: tuple[int, ...] = (1,)

    assert list(without_range(Outside)) == ["Outside.inside > Inside.share", "Outside.some"]


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("twotower", {"width": 0}, r"\[learners.twotower\]: width: expected int >= 1, got 0"),
        (
            "habits",
            {"variants": []},
            r"\[learners.habits\]: variants: expected array of length >= 1, got \[\]",
        ),
        (
            "coea",
            {"cycle": {"by": "sft"}},
            r"\[learners.coea\]: Object contains unknown field `by` - at `\$.cycle`",
        ),
        ("sine", {"interests": 51}, r"\[learners.sine\]: interests: expected at most 50 prototypes, got 51"),
    ],
)
def test_what_lies_outside_is_refused_with_its_place(name: str, settings: dict[str, Any], said: str) -> None:
    config = RunConfig(learner=name, floors=False, learners={name: settings})
    of = subject(config, open_log("planted:users=5,items=5,events=60,labels=0"))
    with pytest.raises(InputError, match=said):
        trainer_of(plan(config, of), config, of)
