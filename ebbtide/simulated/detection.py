"""How soon drift is found, how often where there is none, and what acting on it is worth: planted streams.

It is measured by the product's own monitor, policy and learners, seeds and constants fixed.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebbtide.config import RunConfig
from ebbtide.running.plan import batch_size
from ebbtide.running.run import ReplayRun
from ebbtide.simulated.drifting import DRIFT_AT, EVENTS, KINDS, Kind, lived, scored
from ebbtide.simulated.over_seeds import MeanOverSeeds, figure
from monitor.actions import Rule
from monitor.alarms import Alarm
from monitor.drift import DriftMonitor, Scores
from replay.log import Log
from state.examples import Doubles
from state.store.in_memory import DictStore

RULE = Rule(on="log_loss")
"""What acts where recovery is compared."""
STATIONARY, LIVED, CHANGED_AT = 1_500_000, 100_000, 60_000
"""Events without drift a seed, and of the log in which learners live, whose world changes at CHANGED_AT."""
COSTED = 200_000
_COSTED_METRICS = ("auc", "log_loss", "recall@10", "ndcg@10")
_WINDOW = 2_000
"""Events over which the loss gap is taken."""
_MODEL = ("log_loss", "calibration", "positive")
_MOVED: dict[Kind, tuple[str, ...]] = {
    "inputs": ("new_item", "new_user", "shift of category"),
    "harder": ("expected_log_loss", *_MODEL),
}
"""Signals that a drift moves; all others move the model's."""

Tell = Callable[[str], None]


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """What `ebbtide bench drift --json` prints."""

    seeds: int
    delay_events: dict[str, float | None]
    """Kind of drift -> median over seeds of the events from the drift to the first alarm; None: not found."""
    false_alarms_per_million: float
    recovery_ratio: MeanOverSeeds
    """Events until the loss gap after the drift is halved, without actions over with them; geometric mean."""
    cost: dict[str, dict[str, float]]
    """Log -> metric -> with actions less without."""


def measure(seeds: int, tell: Tell, *, logs: Sequence[str]) -> Detection:
    """All of it, with the cost on the first COSTED events of `logs`."""
    delays: dict[str, float | None] = {}
    for kind in (kind for kind in KINDS if kind != "none"):
        tell(f"how soon a drift is found: {kind}")
        delays[kind] = _median([delay(kind, seed) for seed in range(seeds)])
    alarms = 0
    for seed in range(seeds):
        tell(f"alarms without a drift: seed {seed + 1} of {seeds}")
        alarms += len(watched("none", seed, STATIONARY))
    ratios = []
    for seed in range(seeds):
        tell(f"recovery with and without actions: seed {seed + 1} of {seeds}")
        ratios.append(recovery(seed, ()) / recovery(seed, (RULE,)))
    cost = {}
    for log in logs:
        tell(f"what acting costs on {log}")
        cost[log] = cost_on(log)
    return Detection(
        seeds=seeds,
        delay_events=delays,
        false_alarms_per_million=alarms / (seeds * STATIONARY / 1e6),
        recovery_ratio=_geometric(ratios),
        cost=cost,
    )


def watched(
    kind: Kind, seed: int, events: int = EVENTS, *, delay_ms: int = 0, batch: int = 10_000
) -> list[Alarm]:
    """Alarms over a planted stream."""
    stream, monitor = scored(kind, seed, events, delay_ms=delay_ms), DriftMonitor()
    for start in range(0, events, batch):
        rows = slice(start, start + batch)
        monitor.update(stream.batch.take(rows), Scores(stream.scores.p_B[rows], stream.scores.hit_B[rows]))
    return monitor.alarms


def delay(kind: Kind, seed: int) -> float:
    """Events from the drift to the first alarm of a signal that it moves; infinite where there is none."""
    moved = _MOVED.get(kind, _MODEL)
    alarms_after = [
        a.event - DRIFT_AT for a in watched(kind, seed) if a.signal in moved and a.event > DRIFT_AT
    ]
    return float(min(alarms_after)) if alarms_after else np.inf


def recovery(seed: int, rules: tuple[Rule, ...]) -> float:
    """Events after the change until half of the loss gap that it made is gone, by Gaussian rows."""
    log = lived(seed, LIVED, CHANGED_AT)
    with tempfile.TemporaryDirectory(prefix="ebbtide-bench-") as folder:
        path = Path(folder) / "lived.parquet"
        pq.write_table(log.events, path)
        config = RunConfig(learner="gaussian", floors=False, rank_share=0.0, act=rules)
        parts = _lived_through(Log.open(path), config, Path(folder) / "out").measure.close()
        p_E = _predictions(parts, "p.gaussian")
    label_E = log.events["label"].to_numpy()
    gap_E = _log_loss(p_E, label_E) - _log_loss(log.chance_E, label_E)
    usual = gap_E[CHANGED_AT - 5 * _WINDOW : CHANGED_AT].mean()
    sums = np.cumsum(np.concatenate([np.zeros(1), gap_E[CHANGED_AT:] - usual]))
    window_E = (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW
    halved = np.flatnonzero(window_E <= window_E[0] / 2)
    return float(halved[0] if len(halved) else len(window_E)) + _WINDOW / 2


def cost_on(log: str) -> dict[str, float]:
    """Metrics of STIM over the scored half, with the usual rules less without any."""
    with tempfile.TemporaryDirectory(prefix="ebbtide-bench-") as folder:

        def parts(name: str, rules: tuple[Rule, ...] | None) -> tuple[dict[str, float], bool]:
            config = RunConfig(floors=False, act=rules)
            run = _lived_through(Log.open(log, limit=COSTED), config, Path(folder) / name)
            (stim,) = [one for one in run.measure.evaluate(config.score_from).learners if one.name == "stim"]
            values = {metric: stim.scored.value(metric) for metric in _COSTED_METRICS}
            return {name: v for name, v in values.items() if v is not None}, bool(run.learning.actions())

        acting, acted = parts("acting", None)
        still = parts("still", ())[0] if acted else acting
    return {metric: acting[metric] - still[metric] for metric in acting}


def _lived_through(log: Log, config: RunConfig, out: Path) -> ReplayRun:
    """A replay that publishes to nobody, at its end."""
    run = ReplayRun(log, config, DictStore(), out)
    for events in log.batches(batch_size(config, log), dead_letters=out):
        run.step(events)
    run.finish()
    run.close()
    return run


def _predictions(parts: Sequence[Path], column: str) -> Doubles:
    columns = []
    for path in parts:
        with pa.ipc.open_file(str(path)) as reader:
            columns.append(reader.read_all().column(column).to_numpy())
    return np.concatenate(columns).astype(np.float64)


def _log_loss(p_E: Doubles, label_E: Doubles) -> Doubles:
    return -np.log(np.maximum(np.where(label_E > 0.5, p_E, 1.0 - p_E), 1e-9))


def _median(delays: list[float]) -> float | None:
    median = float(np.median(delays))
    return median if np.isfinite(median) else None


def _geometric(ratios: list[float]) -> MeanOverSeeds:
    logs = figure([float(np.log(ratio)) for ratio in ratios])
    low, high = (None if bound is None else float(np.exp(bound)) for bound in (logs.low, logs.high))
    return MeanOverSeeds(mean=float(np.exp(logs.mean)), low=low, high=high)
