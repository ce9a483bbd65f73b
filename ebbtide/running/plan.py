"""What a run is made of, decided once from the settings and from what the log or the stream is like."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ebbtide.config import RunConfig, told
from learners.contract import Context, Learner, Settings
from learners.registry import able, floors, learner
from learners.tables.catalogue import Catalogue
from learners.tables.expiry import Expiry
from learners.tables.leaveout import Had, Rule
from learners.training.trainer import Trainer
from replay.log import Log
from state.errors import InputError
from state.keys import Names
from state.memory.mask import Selection, joint
from state.side import SideTable
from streams.operator import Operator, OperatorConfig

FEW_REPEATS = 0.02
"""Below this share of repeats a ranking leaves out what was had before."""
RANKED_EVENTS = 25_000
"""Events whose catalogue is ranked, about, unless --rank-share says otherwise: recall within a hundredth."""
RANKING_BUDGET = 1.5e9
"""Scores that may be computed to rank the whole catalogue, over the run and for each ranker."""

_OFF_POLICY, LIKE = "--off-policy", "like:"
NOT_ACTING = "no actions"
"""The variant that does not follow the rules of `act`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is learned from, as far as learning asks: a log, or a live stream."""

    name: str
    labelled: bool
    roles: frozenset[str]
    """With `here` where places are the requests' own, and `clock` where times have an hour."""
    names: Names
    operator: OperatorConfig
    """What its examples are made with."""
    user_item_repeat: float
    """Share of the events whose item the user has had."""
    session_item_repeat: float
    """Share of the events whose item the session has had; NaN without sessions."""
    rank_share: float
    """Of the events, unless the settings say otherwise."""
    label_rule: str | None = None
    items: SideTable | None = None
    users: SideTable | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Which learners run, and how rankings are made."""

    model: str
    """What was asked for, or what suits the log."""
    embedder: str
    """The learner whose vectors are published: the model, or the two-tower beside it."""
    learners: tuple[str, ...]
    leave_out: Rule
    leave_out_reason: str
    rank_share: float


def subject(config: RunConfig, log: Log) -> Subject:
    """A log, as learning sees it."""
    survey, memory, roles = log.survey, config.operator.memory, log.roles
    own_place = config.operator.own_place and not log.place_of_item
    operator = msgspec.structs.replace(
        config.operator,
        label_delay_ms=config.label_delay_ms,
        solar_time=config.operator.solar_time or ("lon" in roles and "tz" not in roles),
        own_place=own_place,
        memory=msgspec.structs.replace(memory, periodic=memory.periodic and survey.unit != "tick"),
    )
    return Subject(
        name=log.name,
        labelled=log.labelled,
        roles=all_roles(roles, operator),
        names=log.names,
        operator=operator,
        user_item_repeat=survey.user_item_repeat,
        session_item_repeat=survey.session_item_repeat,
        rank_share=min(1.0, RANKED_EVENTS / log.rows, RANKING_BUDGET / (log.rows * max(survey.items, 1))),
        label_rule=log.label_rule,
        items=log.items,
        users=log.users,
    )


def all_roles(roles: frozenset[str], operator: OperatorConfig) -> frozenset[str]:
    """Roles with `here` where places are the requests' own, and `clock` where times have an hour."""
    here = operator.own_place and {"lat", "place"} & roles
    return roles | ({"here"} if here else set()) | ({"clock"} if operator.memory.periodic else set())


def plan(config: RunConfig, subject: Subject) -> Plan:
    """The plan for a log or a stream. Raises InputError where the learner cannot work on it."""
    model = config.learner if config.learner != "auto" else "stim"
    for name in (model, *config.learners):
        learner(name)
    cls = learner(model)
    if not subject.labelled and not cls.ranks:
        raise InputError(
            f"--learner {model}: predicts labels and {subject.name} has none; "
            "give --label RULE or take one of " + ", ".join(able(lambda one: one.ranks))
        )
    embedder = model if embeds(cls) else "twotower"
    simple = [name for name in floors() if learner(name).ranks or subject.labelled]
    leave_out, reason = left_out(config, subject)
    judged = _judged_learner(config, labelled=subject.labelled, roles=subject.roles)
    return Plan(
        model=model,
        embedder=embedder,
        learners=tuple(dict.fromkeys([model, embedder, *(simple if config.floors else []), *judged])),
        leave_out=leave_out,
        leave_out_reason=reason,
        rank_share=subject.rank_share if config.rank_share is None else config.rank_share,
    )


def _judged_learner(config: RunConfig, *, labelled: bool, roles: Collection[str]) -> list[str]:
    """The learner whose policy is to be judged, if there is one.

    Raises InputError where it cannot be, or the log does not say what was shown with which chance.
    """
    if config.off_policy is None:
        return []
    if "propensity" not in roles:
        raise InputError(
            f"{_OFF_POLICY}: the log has no propensity, the chance with which an item was shown; without it "
            "nothing can be said of another policy. Map one with --map propensity=COLUMN"
        )
    if not labelled:
        raise InputError(f"{_OFF_POLICY}: the log has no label, so no reward; give --label RULE")
    if config.off_policy.startswith(LIKE):
        return []
    name, _ = policy_asked(config.off_policy)
    if not learner(name).ranks:
        raise InputError(
            f"{_OFF_POLICY} {name}: a policy has to rank, and it predicts only; take one of "
            + ", ".join(able(lambda one: one.ranks))
        )
    return [name]


def policy_asked(text: str) -> tuple[str, int]:
    """The learner of a policy, and of how many of its best it shows one."""
    name, colon, best = text.partition(":")
    if colon and not (best.isdecimal() and int(best) > 0):
        raise InputError(
            f"{_OFF_POLICY} {text}: expected LEARNER or LEARNER:K with K at least 1, such as stim:10"
        )
    return name, int(best) if colon else 1


def embeds(cls: type[Learner]) -> bool:
    """Whether a learner has vectors to publish."""
    return cls.item_vectors is not Learner.item_vectors


def left_out(config: RunConfig, subject: Subject) -> tuple[Rule, str]:
    """What rankings leave out, and why."""
    if config.leave_out != "auto":
        if config.leave_out == "session" and "session" not in subject.roles:
            raise InputError("--leave-out session: the log has no session; map one with --map session=COLUMN")
        return config.leave_out, "as was said"
    user, session = subject.user_item_repeat, subject.session_item_repeat
    if math.isnan(user):
        return "none", "too few events have a past to tell whether users come back to an item"
    if user < FEW_REPEATS:
        return "user", f"{user:.1%} of the events repeat an item that the user has had"
    if session < FEW_REPEATS:
        return (
            "session",
            f"{session:.1%} of the events repeat an item of the session, {user:.0%} one of the user",
        )
    return "none", f"{user:.0%} of the events repeat an item that the user has had"


def batch_size(config: RunConfig, log: Log) -> int:
    """Events a micro-batch: a network learns between two, so a short log must have many."""
    return config.batch or min(1024, max(16, log.rows // 64))


def trainer_of(plan: Plan, config: RunConfig, subject: Subject) -> Trainer:
    """The trainer of a run, at its beginning."""
    catalogue = Catalogue()
    learners = learners_of(plan.learners, config, subject, catalogue)
    if config.ablate:
        learners |= _variants(learners[plan.model], config)
    had, expire_ms = Had(plan.leave_out), subject.operator.memory.expire_ms
    expiry = None if expire_ms is None else Expiry(expire_ms)
    return Trainer(learners, catalogue, had, rank_share=plan.rank_share, seed=config.seed, expiry=expiry)


def selection_of(trainer: Trainer) -> Selection:
    """What the examples must hold of a memory, for all of a trainer's learners."""
    return joint(made.needs.selection for made in trainer.learners.values())


def operator_of(trainer: Trainer, subject: Subject) -> Operator:
    """The operator that makes a trainer's examples, at its beginning."""
    selection = selection_of(trainer)
    return Operator(subject.operator, selection.width, selection.newest)


def learners_of(
    names: tuple[str, ...], config: RunConfig, subject: Subject, catalogue: Catalogue
) -> dict[str, Learner]:
    """Learners at their beginning, on a catalogue."""
    context = Context(
        labelled=subject.labelled,
        roles=subject.roles,
        catalogue=catalogue,
        items=subject.items,
        users=subject.users,
        seed=config.seed,
    )
    return {name: learner(name)(_settings(name, config), context) for name in names}


def _settings(name: str, config: RunConfig, differ: Mapping[str, Any] | None = None) -> Settings:
    given = _merged(config.learners.get(name, {}), differ or {})
    try:
        return msgspec.convert(given, learner(name).Config)
    except msgspec.ValidationError as error:
        raise InputError(f"--config [learners.{name}]: {told(error, given)}") from error


def _merged(settings: Mapping[str, Any], differ: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with what differs on top; tables within tables are merged too."""
    merged = dict(settings)
    for name, value in differ.items():
        inner = merged.get(name)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            value = _merged(inner, value)
        merged[name] = value
    return merged


def variant_name(model: str, variant: str) -> str:
    """Of a model with a part switched off."""
    return f"{model}: {variant}"


def acting(config: RunConfig, model: Learner) -> bool:
    """Whether rules about drift are followed: those given, or the usual ones where the model can."""
    return bool(config.act) or (config.act is None and config.drift and model.doubts)


def _variants(model: Learner, config: RunConfig) -> dict[str, Learner]:
    """The model with each of its parts switched off in turn, by "MODEL: VARIANT".

    A part that is off already makes no variant, nor one that another has the place of. Raises InputError
    where none is left.
    """
    variants: dict[str, Learner] = {}
    given = config.learners.get(model.name, {})
    for variant, differ in model.ablations_for(model.context).items():
        if any(
            isinstance(value, Mapping) and value and not isinstance(given.get(name, {}), Mapping)
            for name, value in differ.items()
        ):
            continue
        settings = _settings(model.name, config, differ)
        if settings != model.config:
            variants[variant_name(model.name, variant)] = type(model)(settings, model.context)
    if acting(config, model):
        variants[variant_name(model.name, NOT_ACTING)] = type(model)(model.config, model.context)
    if not variants:
        raise InputError(
            f"--ablate: {model.name} has no part that could be switched off on this log; give --learner with"
            f" one of: {', '.join(able(lambda one: bool(one.ablations))) or 'none yet'}"
        )
    return variants
