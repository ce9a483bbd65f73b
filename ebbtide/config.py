"""A run's settings: defaults, then the file of `--config`, then the command line; frozen once built.

The file is TOML with the field names below; a learner's own settings stand under `[learners.NAME]`.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec

from ebbtide.units import duration_ms
from learners.ranges import Positive, Share, Some, Whole
from monitor.actions import Rule
from state.errors import InputError
from streams.operator import OperatorConfig

LeaveOut = Literal["auto", "none", "user", "session"]


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a live stream is like. What is left out is found in its first examples."""

    name: str = "live"
    labelled: bool | None = None
    """Whether its events have labels; those without one are then left out."""
    roles: list[str] | None = None
    """The optional roles that count, such as category, session, lat, lon."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that shapes what a run computes."""

    learner: str = "auto"
    """The model; `auto` takes stim."""
    floors: bool = True
    """Whether the counting floors run beside the model."""
    seed: int = 0
    batch: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    """Events a micro-batch; None takes 1024, or a 64th of a log that is shorter than 64 of those."""
    label_delay_ms: Whole = 0
    """Nothing younger than this is known yet."""
    leave_out: LeaveOut = "auto"
    """What a ranking leaves out; `auto` goes by the log's repeat shares."""
    rank_share: Share | None = None
    """The share of events whose whole catalogue is ranked; None chooses it by the log's size."""
    score_from: float | int = 0.5
    """Where the scored part begins: a fraction of the events, or a time in epoch ms."""
    publish_every: Some = 50_000
    """Events between two deltas to the store."""
    drift: bool = True
    act: tuple[Rule, ...] | None = None
    """What to do about drift (docs/monitoring.md); None takes the usual rules, where learners can follow."""
    ablate: bool = False
    """Whether variants of the model, with one part switched off each, run beside it."""
    off_policy: str | None = None
    """The policy to be judged on a log with propensities: LEARNER shows its best item, LEARNER:K any of its K
    best, like:LOG every item as often as that log."""
    sync_every_ms: list[Whole] = []
    """Copies of the models serve from weights published so often; 0 is the model itself."""
    offline_passes: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 3
    """Passes over the log so far in retraining offline once a day, beside such copies; 0 for none."""
    offline_budget: Positive = 20.0
    """Retraining offline may go over the whole log so often in all; a long log is served every few days."""
    operator: OperatorConfig = OperatorConfig()
    stream: StreamConfig = StreamConfig()
    """Of `ebbtide train`."""
    learners: dict[str, dict[str, Any]] = {}
    """Settings of each learner by name."""


def read(
    path: Path | None,
    defaults: Mapping[str, Any] | None = None,
    *,
    expire: str | None = None,
    **overrides: object,
) -> RunConfig:
    """The settings of a file over `defaults`, with `overrides` (those that are not None) on top.

    `expire`, a duration, is `operator.memory.expire_ms`.

    Raises InputError that names the file, the field, what was expected and what was found.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"--config {path}: expected a TOML file; {error}") from error
    values = {**(defaults or {}), **values}
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        config = msgspec.convert(values, RunConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"--config {path or '(options)'}: {told(error, values)}") from error
    if expire is not None:
        replace, operator = msgspec.structs.replace, config.operator
        memory = replace(operator.memory, expire_ms=duration_ms(expire, "--expire"))
        config = replace(config, operator=replace(operator, memory=memory))
    if config.score_from in (0, 1):
        config = msgspec.structs.replace(config, score_from=float(config.score_from))
    return config


def told(error: msgspec.ValidationError, values: Any) -> str:
    """What was wrong with `values`: where, what was expected, what was there.

    >>> told(msgspec.ValidationError("Expected `float` <= 1.0 - at `$.rank_share`"), {"rank_share": 3})
    'rank_share: expected float <= 1.0, got 3'
    """
    match = re.fullmatch(r"Expected (.+) - at `\$\.([\w.]+)`", str(error))
    if match is None or ", got" in match[1]:
        return str(error)
    for name in match[2].split("."):
        values = values[name]
    return f"{match[2]}: expected {match[1].replace('`', '')}, got {values!r}"


def as_dict(config: RunConfig) -> dict[str, Any]:
    """The settings as `read` takes them."""
    return cast(dict[str, Any], msgspec.to_builtins(config))


def fingerprint(config: RunConfig) -> str:
    """The settings that must be the same for a live trainer's checkpoint to be gone on from."""
    shaping = ["learner", "floors", "seed", "leave_out", "rank_share", "drift", "stream", "learners"]
    shaping += ["act"] if config.act else []
    everything = as_dict(config)
    return msgspec.json.encode({name: everything[name] for name in shaping}).decode()
