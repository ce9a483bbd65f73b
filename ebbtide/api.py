"""The public Python door: what the command line does, as functions."""

from collections.abc import Mapping as Pairs
from pathlib import Path
from typing import Any

from ebbtide import config as settings
from ebbtide.report.report import Report
from ebbtide.running.made_up import MadeUp
from ebbtide.running.replaying import Checkpointing, Progress
from ebbtide.running.replaying import replay as replay_log
from ebbtide.units import duration_ms, durations_ms, fraction_or_time
from ebbtide.waiting import hint
from learners.check import check as check_learner
from learners.contract import Learner, Settings
from replay.log import Log
from replay.meaning.mapping import Mapping


@hint()
def open_log(
    log: str | Path,
    *,
    map: Pairs[str, str] | str | Path | None = None,
    label: str | None = None,
    items: str | Path | None = None,
    users: str | Path | None = None,
    time_format: str | None = None,
    from_: str | None = None,
    until: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Log:
    """Open a file, a folder or a known log.

    `map` gives roles their columns (`{"user": "who"}`) or names a TOML file of such lines; the rest is
    guessed from usual column names. `label` is a rule such as `rating>=4`, or `none`; `time_format` is the
    form of times that are text, with strptime's directives. Raises InputError.
    """
    if map is None or isinstance(map, str | Path):
        mapping = Mapping() if map is None else Mapping.read(Path(map))
    else:
        mapping = Mapping.of(f"{role}={column}" for role, column in map.items())
    if time_format is not None:
        mapping = Mapping(time_format=time_format).over(mapping)
    return Log.open(
        log,
        mapping=mapping,
        label=label,
        items=items,
        users=users,
        from_=from_,
        until=until,
        limit=limit,
        seed=seed,
    )


@hint()
def replay(
    log: str | Path | Log,
    out: str | Path,
    *,
    map: Pairs[str, str] | str | Path | None = None,
    items: str | Path | None = None,
    users: str | Path | None = None,
    time_format: str | None = None,
    label: str | None = None,
    learner: str | None = None,
    config: str | Path | None = None,
    seed: int | None = None,
    batch: int | None = None,
    limit: int | None = None,
    from_: str | None = None,
    until: str | None = None,
    score_from: str | float | None = None,
    label_delay: str | None = None,
    expire: str | None = None,
    leave_out: str | None = None,
    speed: float | None = None,
    store: str | None = None,
    checkpoint: str | Path | None = None,
    every: int = 100_000,
    resume: bool = False,
    ablate: bool | None = None,
    sync_every: str | None = None,
    progress: Progress | None = None,
    **more: Any,
) -> Report:
    """Replay a log: score every event, then learn from it; the report, also written to `out`.

    Arguments are those of `ebbtide replay`; `more` are further fields of `ebbtide.config.RunConfig`, such as
    `rank_share=1.0` or `floors=False`. Raises InputError on what the caller can mend.
    """
    chosen = settings.read(
        None if config is None else Path(config),
        expire=expire,
        learner=learner,
        seed=seed,
        batch=batch,
        leave_out=leave_out,
        score_from=None if score_from is None else fraction_or_time(str(score_from), "--score-from"),
        label_delay_ms=None if label_delay is None else duration_ms(label_delay, "--label-delay"),
        ablate=ablate,
        sync_every_ms=None if sync_every is None else durations_ms(sync_every, "--sync-every"),
        **more,
    )
    opened = (
        log
        if isinstance(log, Log)
        else open_log(
            log,
            map=map,
            label=label,
            items=items,
            users=users,
            time_format=time_format,
            from_=from_,
            until=until,
            limit=limit,
            seed=chosen.seed,
        )
    )
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
