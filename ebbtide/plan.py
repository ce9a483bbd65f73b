"""What a run is made of, decided once from the settings and from what the log is like."""

from dataclasses import dataclass

import msgspec

from ebbtide.config import RunConfig
from learners.catalogue import Catalogue
from learners.contract import Context, Learner
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
    model = config.learner if config.learner != "auto" else ("gaussian" if log.labelled else "twotower")
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


def build(plan: Plan, config: RunConfig, log: Log) -> tuple[Operator, Trainer]:
    """The operator and the trainer of a run, at its beginning."""
    catalogue = Catalogue()
    context = Context(
        labelled=log.labelled,
        roles=log.roles,
        catalogue=catalogue,
        items=log.items,
        users=log.users,
        seed=config.seed,
    )
    learners = {name: _configured(name, config, context) for name in plan.learners}
    needs = [made.needs for made in learners.values()]
    memory = config.operator.memory
    operator = Operator(
        msgspec.structs.replace(
            config.operator,
            label_delay_ms=config.label_delay_ms,
            solar_time=config.operator.solar_time or ("lon" in log.roles and "tz" not in log.roles),
            memory=msgspec.structs.replace(memory, periodic=memory.periodic and log.survey.unit != "tick"),
        ),
        window=max(need.window for need in needs),
        views=any(need.views for need in needs),
    )
    had = Had(plan.leave_out)
    return operator, Trainer(learners, catalogue, had, rank_share=plan.rank_share, seed=config.seed)


def _configured(name: str, config: RunConfig, context: Context) -> Learner:
    cls = learner(name)
    try:
        settings = msgspec.convert(config.learners.get(name, {}), cls.Config)
    except msgspec.ValidationError as error:
        raise InputError(f"--config [learners.{name}]: {error}") from error
    return cls(settings, context)
