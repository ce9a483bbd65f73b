"""A state that comes from another engine into a Flink job, or leaves one."""

import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from msgspec import to_builtins

from ebbtide.flink import runtime, saved
from ebbtide.flink.idle import idle
from ebbtide.services.jars import FLINK, jars
from ebbtide.writable import writing
from state.errors import InputError
from state.progress import Progress
from streams.engines.engine_config import EngineConfig, altered, config_of
from streams.engines.moved import Moved, check, exported
from streams.engines.partition import kept_config
from streams.kafka import security, topics
from streams.kafka.observer import Observer
from streams.kafka.topics import Topics
from streams.records import folder

_IMPORTED = "imported"


def imported(checkpoints: Path) -> Path | None:
    """Where what a job begins with lies, if anything was imported."""
    path = (checkpoints / _IMPORTED).resolve()
    return path if path.is_dir() else None


def fitting(source: Path, brokers: str, names: Topics, engine: EngineConfig | None = None) -> list[Moved]:
    """What was exported, if examples go on from it without a gap, and `engine` makes them.

    Raises InputError.
    """
    spans, parts = topics.look(brokers, names.events), [*exported(source)]
    with Observer(brokers) as observer:
        committed = observer.progress(names.examples)
    for moved in parts:
        partition, records = moved.kept.partition, moved.kept.records
        check(moved, names.events, spans.get(partition), committed.get(partition, Progress()))
        both = altered(to_builtins(kept_config(records)), to_builtins(engine)) if engine else []
        if both:
            differ = ", ".join(f"{name} was {before}, is {after}" for name, before, after in both)
            raise InputError(f"{source}: made with other settings: {differ}; use the same")
    return parts


def take(source: Path, checkpoints: Path, brokers: str, names: Topics) -> list[Moved]:
    """Have a job that has not begun begin with what was exported. Raises InputError."""
    begun = saved.newest(checkpoints)
    if begun is not None:
        raise InputError(
            f"--checkpoints {checkpoints}: expected a folder of no job, got one with {begun}; name another"
        )
    parts = fitting(source, brokers, names)
    aside = checkpoints / f".{_IMPORTED}.{os.getpid()}"
    try:
        with writing("--checkpoints", checkpoints):
            for moved in parts:
                folder.write(aside, moved.kept, moved.progress.events)
            shutil.rmtree(checkpoints / _IMPORTED, ignore_errors=True)
            aside.rename(checkpoints / _IMPORTED)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return parts


def give(checkpoints: Path, restore: Path | None, to: Path, brokers: str, names: Topics) -> None:
    """Write what a job that has ended would go on from, as of its newest example. Needs PyFlink.

    Raises InputError.
    """
    begun = imported(checkpoints)
    if (restore or saved.newest(checkpoints) or begun) is None:
        raise InputError(f"--checkpoints {checkpoints}: expected a checkpoint of a job, got none")
    with idle(checkpoints):
        newest = restore or saved.newest(checkpoints)
        if newest is not None:
            _export(newest, checkpoints, to, brokers, names)
        elif begun is not None:
            shutil.copytree(begun, to, dirs_exist_ok=True)


def _export(newest: Path, checkpoints: Path, to: Path, brokers: str, names: Topics) -> None:
    """By a small job that ends, since no client reads keyed state."""
    from streams.engines.flink_export import export
    from streams.engines.flink_job import Job

    owner = saved.owner_of(newest)
    saved.check_version(newest, owner, runtime.version())
    runtime.begin(checkpoints / "logs")
    with tempfile.TemporaryDirectory(prefix="ebbtide-export-") as aside:
        job = Job(
            brokers=brokers,
            security=security.from_environment().carried(),
            group=owner.group,
            topics=replace(names, events=owner.events),
            engine=config_of(owner.made_by),
            partitions=owner.partitions,
            checkpoints=Path(aside).as_uri(),
            restore=newest.resolve().as_uri(),
            imported=imported(checkpoints),
            claim=False,
            python=sys.executable,
            jars=tuple(jars(of=FLINK)),
        )
        export(job, runtime.local(*runtime.free_ports(1)), to)
