"""The public Python door: what the command line does, as functions."""

from collections.abc import Mapping as Pairs
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

from ebbtide import config as settings
from ebbtide.config import RunConfig
from ebbtide.report.report import Report
from ebbtide.running.made_up import MadeUp
from ebbtide.running.replaying import Checkpointing, Progress
from ebbtide.running.replaying import replay as replay_log
from ebbtide.units import duration_ms, durations_ms, fraction_or_time
from ebbtide.waiting import hint
from learners.check import check as check_learner
from learners.contract import Learner, Settings
from monitor.actions import Rule
from replay.log import Log
from replay.meaning.mapping import Mapping


class Opening(TypedDict, total=False):
    """How a log is opened. What is left out is found in the log."""

    map: Pairs[str, str] | str | Path | None
    """Roles and their columns (`{"user": "who"}`), or a TOML file of such lines."""
    label: str | None
    """A rule such as `rating>=4`, or `none`."""
    items: str | Path | None
    users: str | Path | None
    """Side tables."""
    time_format: str | None
    """The form of times that are text, with strptime's directives."""
    from_: str | None
    until: str | None
    limit: int | None
    seed: int | None


class Options(Opening, total=False):
    """How a log is replayed: arguments of `ebbtide replay`, and fields of `ebbtide.config.RunConfig`."""

    learner: str | None
    batch: int | None
    score_from: str | float | None
    """A fraction of the events, or a time."""
    label_delay: str | None
    expire: str | None
    """Durations, such as `1h`."""
    sync_every: str | None
    """Several of them, between commas."""
    leave_out: str | None
    rank_share: float | None
    ablate: bool | None
    off_policy: str | None
    """LEARNER, LEARNER:K or like:LOG."""
    floors: bool
    drift: bool
    act: Sequence[Rule]
    """What to do about drift."""
    publish_every: int
    offline_passes: int
    offline_budget: float
    operator: Pairs[str, Any]
    learners: Pairs[str, Pairs[str, Any]]


@hint()
def open_log(log: str | Path, **how: Unpack[Opening]) -> Log:
    """Open a file, a folder or a known log. Raises InputError."""
    given = dict(how)
    chosen = cast(Pairs[str, str] | str | Path | None, given.pop("map", None))
    if chosen is None or isinstance(chosen, str | Path):
        mapping = Mapping() if chosen is None else Mapping.read(Path(chosen))
    else:
        mapping = Mapping.of(f"{role}={column}" for role, column in chosen.items())
    time_format = cast(str | None, given.pop("time_format", None))
    if time_format is not None:
        mapping = Mapping(time_format=time_format).over(mapping)
    seed = given.pop("seed", None) or 0
    between = given.pop("from_", None), given.pop("until", None)
    return Log.open(log, mapping=mapping, seed=seed, between=between, **given)  # type: ignore[arg-type]


@hint()
def replay(
    log: str | Path | Log,
    out: str | Path,
    config: RunConfig | str | Path | None = None,
    *,
    store: str | None = None,
    speed: float | None = None,
    checkpoint: str | Path | None = None,
    every: int = 100_000,
    resume: bool = False,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Report:
    """Replay a log: score every event, then learn from it; the report, also written to `out`.

    `config`, settings or a TOML file of them, is what `options` go over. Raises InputError on what the caller
    can mend.
    """
    given: dict[str, Any] = dict(options)
    opening = {name: given.pop(name) for name in Opening.__annotations__ if name in given and name != "seed"}
    for name, read in (("label_delay", duration_ms), ("sync_every", durations_ms)):
        if (text := given.pop(name, None)) is not None:
            given[f"{name}_ms"] = read(text, f"--{name.replace('_', '-')}")
    if (text := given.pop("score_from", None)) is not None:
        given["score_from"] = fraction_or_time(str(text), "--score-from")
    if isinstance(config, RunConfig):
        chosen = settings.read(None, settings.as_dict(config), **given)
    else:
        chosen = settings.read(None if config is None else Path(config), **given)
    opening["seed"] = chosen.seed
    opened = log if isinstance(log, Log) else open_log(log, **cast(Opening, opening))
    saving = (
        None if checkpoint is None else Checkpointing(directory=Path(checkpoint), every=every, resume=resume)
    )
    return replay_log(
        opened, Path(out), config=chosen, store=store, speed=speed, checkpointing=saving, progress=progress
    )


@hint()
def check(
    cls: type[Learner], *, config: Settings | None = None, exempt: Pairs[str, str] | None = None
) -> None:
    """Does a learner of yours do what every learner must? As our own tests ask it of ours.

    It answers in range from the first event on, scoring changes nothing, a batch is its rows, the seed
    decides, unknown ids and gaps of centuries are no trouble, no outcome is known early, nothing that is the
    item's own moves its rank, vectors fit, a loaded one goes on, memory is bounded. `config` are its
    settings, if not its defaults; `exempt` names checks that are left out, each with its reason.

    Raises InputError with every promise that it breaks: what was expected, what it did, and what to do.
    """
    check_learner(cls, MadeUp, config=config, exempt=exempt)
