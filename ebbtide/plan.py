"""What a run is made of, decided once from the settings and from what the log is like."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ebbtide.config import RunConfig
from learners.catalogue import Catalogue
from learners.contract import Context, Learner, Settings
from learners.leaveout import Had, Rule
from learners.registry import discover, learner
from learners.trainer import Trainer
from replay.source import Log
from state.errors import InputError
from streams.operator import Operator

FEW_REPEATS = 0.02
"""Below this share of repeats a ranking leaves out what was had before."""
RANKED_EVENTS = 25_000
"""Events whose catalogue is ranked, about, unless --rank-share says otherwise: recall within a hundredth."""
RANKING_BUDGET = 1.5e9
"""Scores that may be computed to rank the whole catalogue, over the run and for each ranker."""


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


def plan(config: RunConfig, log: Log) -> Plan:
    """The plan for a log. Raises InputError where the learner cannot work on it."""
    model = config.learner if config.learner != "auto" else "stim"
    known = discover()
    for name in (model, *config.learners):
        learner(name)
    if not log.labelled and not known[model].ranks:
        raise InputError(
            f"--learner {model}: predicts labels and {log.name} has none; give --label RULE or take one of "
            + ", ".join(name for name, cls in known.items() if cls.ranks)
        )
    embedder = model if embeds(known[model]) else "twotower"
    floors = (
        [n for n, cls in known.items() if cls.floor and (cls.ranks or log.labelled)] if config.floors else []
    )
    leave_out, reason = left_out(config, log)
    return Plan(
        model=model,
        embedder=embedder,
        learners=tuple(dict.fromkeys([model, embedder, *floors])),
        leave_out=leave_out,
        leave_out_reason=reason,
        rank_share=ranked_share(config, log),
    )


def embeds(cls: type[Learner]) -> bool:
    """Whether a learner has vectors to publish."""
    return cls.item_vectors is not Learner.item_vectors


def left_out(config: RunConfig, log: Log) -> tuple[Rule, str]:
    """What rankings leave out, and why."""
    if config.leave_out != "auto":
        if config.leave_out == "session" and "session" not in log.roles:
            raise InputError("--leave-out session: the log has no session; map one with --map session=COLUMN")
        return config.leave_out, "as was said"
    user, session = log.survey.user_item_repeat, log.survey.session_item_repeat
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


def ranked_share(config: RunConfig, log: Log) -> float:
    """The share of events whose whole catalogue is ranked."""
    if config.rank_share is not None:
        return config.rank_share
    return min(1.0, RANKED_EVENTS / log.rows, RANKING_BUDGET / (log.rows * max(log.survey.items, 1)))


def own_place(config: RunConfig, log: Log) -> bool:
    """Whether a place in the log is the request's own, rather than its item's."""
    return config.operator.own_place and not log.place_of_item


def known_roles(config: RunConfig, log: Log) -> frozenset[str]:
    """The log's roles; `here` where its places are the requests' own, `clock` where times have an hour."""
    here = own_place(config, log) and {"lat", "place"} & log.roles
    clock = config.operator.memory.periodic and log.survey.unit != "tick"
    return log.roles | ({"here"} if here else set()) | ({"clock"} if clock else set())


def build(plan: Plan, config: RunConfig, log: Log) -> tuple[Operator, Trainer]:
    """The operator and the trainer of a run, at its beginning."""
    catalogue = Catalogue()
    learners = learners_of(plan.learners, config, log, catalogue)
    if config.ablate:
        learners |= _variants(learners[plan.model], config)
    needs = [made.needs for made in learners.values()]
    memory = config.operator.memory
    operator = Operator(
        msgspec.structs.replace(
            config.operator,
            label_delay_ms=config.label_delay_ms,
            solar_time=config.operator.solar_time or ("lon" in log.roles and "tz" not in log.roles),
            own_place=own_place(config, log),
            memory=msgspec.structs.replace(memory, periodic=memory.periodic and log.survey.unit != "tick"),
        ),
        window=max(need.window for need in needs),
        views=any(need.views for need in needs),
    )
    had = Had(plan.leave_out)
    return operator, Trainer(learners, catalogue, had, rank_share=plan.rank_share, seed=config.seed)


def learners_of(
    names: tuple[str, ...], config: RunConfig, log: Log, catalogue: Catalogue
) -> dict[str, Learner]:
    """Learners at their beginning, on a catalogue."""
    context = Context(
        labelled=log.labelled,
        roles=known_roles(config, log),
        catalogue=catalogue,
        items=log.items,
        users=log.users,
        seed=config.seed,
    )
    return {name: learner(name)(_settings(name, config), context) for name in names}


def _settings(name: str, config: RunConfig, differ: Mapping[str, Any] | None = None) -> Settings:
    given = _merged(config.learners.get(name, {}), differ or {})
    try:
        return msgspec.convert(given, learner(name).Config)
    except msgspec.ValidationError as error:
        raise InputError(f"--config [learners.{name}]: {error}") from error


def _merged(settings: Mapping[str, Any], differ: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with what differs on top; tables within tables are merged too."""
    merged = dict(settings)
    for name, value in differ.items():
        inner = merged.get(name)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            value = _merged(inner, value)
        merged[name] = value
    return merged


def _variants(model: Learner, config: RunConfig) -> dict[str, Learner]:
    """The model with each of its parts switched off in turn, by "MODEL: VARIANT".

    A part that is off already makes no variant. Raises InputError where none is left.
    """
    found: dict[str, Learner] = {}
    for variant, differ in model.ablations_for(model.context).items():
        settings = _settings(model.name, config, differ)
        if settings != model.config:
            found[f"{model.name}: {variant}"] = type(model)(settings, model.context)
    if not found:
        able = [name for name, cls in discover().items() if cls.ablations]
        raise InputError(
            f"--ablate: {model.name} has no part that could be switched off on this log; give --learner with"
            f" one of: {', '.join(able) or 'none yet'}"
        )
    return found
