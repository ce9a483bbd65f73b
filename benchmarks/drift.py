"""Does the expected log loss say what comes, does it say so earlier, and how good are the detectors?

Windows of events: the mean log loss expected when they came against the mean that their labels gave. Planted
streams whose events grow harder, with labels a day late: the alarm of what is expected against that of the
labels. The monitor beside detectors of river at their own settings, each shown every event's log loss (or
whether the better half was wrong, for those of bits). Last, real series whose changes people have marked,
which come with river (Turing change point data set): here nobody's model is watched, only a number. Fetches a
log once (50 MB); ten minutes.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from river.drift import ADWIN, KSWIN, PageHinkley, datasets
from river.drift.binary import DDM, HDDMA, HDDMW

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.quality import LABELLED
from benchmarks.tables import Bar, Row, Tables
from ebbtide import api
from ebbtide.simulated.detection import watched
from ebbtide.simulated.drifting import DRIFT_AT, EVENTS, Kind, ScoredStream, scored
from monitor.expected import LEAST_P, Calibration
from monitor.series import DELTA, Series
from state.examples import Doubles
from state.keys import Int64s

EXPECTED = "expected log loss against what came, correlation of window means"
EARLIER = "harder events, labels a day late"
DETECTORS = "detectors on planted streams: events until the alarm, median"
MARKED = "series with changes that people have marked"
DAY_MS = 86_400_000
DELAYS = {"known at once": 0, "a day late": DAY_MS}
WINDOWS = (1000, 2000, 5000)
FOUND: tuple[Kind, ...] = ("abrupt", "gradual", "scene", "labels")
OURS, FALSE = "the monitor, all signals and segments", "false alarms a million"
_ADVANCE = "expected before the labels, seeds"
PEERS: dict[str, Callable[[], Any]] = {
    "ADWIN on the log loss": ADWIN,
    "Page-Hinkley on the log loss": PageHinkley,
    "KSWIN on the log loss": lambda: KSWIN(seed=0),
    "DDM on errors": DDM,
    "HDDM_A on errors": HDDMA,
    "HDDM_W on errors": HDDMW,
}


def measure(bench: Bench, *, log: str, learner: str, seeds: int, events: int, still: int) -> Tables:
    rows: list[Row] = []
    for delay, delay_ms in DELAYS.items():
        with bench.telling.step(f"{learner} on {log}, labels {delay}"):
            rows.append(_correlations(f"the log, {delay}", *_predicted(log, learner, delay_ms)))
    with bench.telling.step("planted: chances that wander"):
        rows.append(_correlations("planted, chances that wander", *_wandering()))
    return {
        EXPECTED: rows,
        EARLIER: _earlier(bench, seeds, events),
        DETECTORS: _detectors(bench, seeds, events, still),
        MARKED: _marked(),
    }


def _predicted(log: str, learner: str, delay_ms: int) -> tuple[Doubles, Doubles, Int64s, int]:
    """P(action), label and time of each event, in order, and when labels are known."""
    with tempfile.TemporaryDirectory() as folder:
        given: dict[str, Any] = {"learner": learner, "floors": False, "rank_share": 0.0}
        api.replay(log, Path(folder), label_delay=f"{delay_ms}ms", **given)
        parts = [
            pa.ipc.open_file(pa.memory_map(str(part))).read_all()
            for part in sorted((Path(folder) / "predictions").glob("*.arrow"))
        ]
        table = pa.concat_tables(parts)
        p_E = table.column(f"p.{learner}").to_numpy().astype(np.float64)
        label_E = table.column("label").to_numpy().astype(np.float64)
        time_E = table.column("time_ms").to_numpy().astype("datetime64[ms]").astype(np.int64)
        return p_E, label_E, time_E, delay_ms


def _wandering() -> tuple[Doubles, Doubles, Int64s, int]:
    """Chances whose spread changes every 4,000 events, their scores, and labels a day late."""
    draw = np.random.default_rng(0)
    spread_E = np.repeat(draw.uniform(1.0, 8.0, 30), 4000)
    chance_E = draw.beta(spread_E, spread_E)
    label_E = (draw.random(len(chance_E)) < chance_E).astype(np.float64)
    return chance_E, label_E, np.arange(len(chance_E)) * 20_000, DAY_MS


def _correlations(what: str, p_E: Doubles, label_E: Doubles, time_E: Int64s, delay_ms: int) -> Row:
    clock_E = np.maximum.accumulate(time_E)
    known_E = np.searchsorted(clock_E + delay_ms, clock_E, "right")
    expected_E = Calibration().step(p_E, p_E, label_E, np.minimum(known_E, np.arange(len(p_E)))).log_loss_B
    loss_E = -np.log(np.maximum(np.where(label_E > 0.5, p_E, 1.0 - p_E), LEAST_P))
    there = ~np.isnan(expected_E)
    row: Row = {"what": what}
    for size in WINDOWS:
        row[f"windows of {size:,}"] = _correlation(expected_E[there], loss_E[there], size)
    return row


def _correlation(expected_E: Doubles, loss_E: Doubles, size: int) -> float | None:
    count = len(loss_E) // size
    if count < 3:
        return None
    first, second = (one_E[: count * size].reshape(count, size).mean(1) for one_E in (expected_E, loss_E))
    return float(np.corrcoef(first, second)[0, 1])


def _earlier(bench: Bench, seeds: int, events: int) -> list[Row]:
    rows: list[Row] = []
    delays = np.full((seeds, 2), np.inf)
    with bench.telling.step("harder events, labels a day late") as step:
        for seed in range(seeds):
            alarms = watched("harder", seed, events, delay_ms=DAY_MS)
            for n, signal in enumerate(("expected_log_loss", "log_loss")):
                after = [a.event - DRIFT_AT for a in alarms if a.signal == signal and a.event > DRIFT_AT]
                delays[seed, n] = min(after, default=np.inf)
            step.reached((seed + 1) / seeds)
    median_2 = [float(one) if np.isfinite(one) else None for one in np.median(delays, axis=0)]
    rows.append({"what": "events until the alarm of what is expected, median", "figure": median_2[0]})
    rows.append({"what": "events until the alarm of the labels, median", "figure": median_2[1]})
    share = float((delays[:, 0] < delays[:, 1]).mean())
    rows.append({"what": _ADVANCE, "figure": share})
    return rows


def _detectors(bench: Bench, seeds: int, events: int, still: int) -> list[Row]:
    made: dict[str, Callable[[Kind, int, int], list[int]]] = {OURS: _of_monitor}
    for name, detector in PEERS.items():
        made[name] = _alone(detector, errors=name.endswith("errors"))
    rows: list[Row] = []
    with bench.telling.step("the monitor beside bare detectors") as step:
        for n, (name, alarms) in enumerate(made.items()):
            row: Row = {"what": name}
            for kind in FOUND:
                delays = []
                for seed in range(seeds):
                    after = [event - DRIFT_AT for event in alarms(kind, seed, events) if event > DRIFT_AT]
                    delays.append(min(after, default=np.inf))
                median = float(np.median(delays))
                row[kind] = median if np.isfinite(median) else None
            wrong = sum(len(alarms("none", seed, still)) for seed in range(seeds))
            rows.append(row | {FALSE: wrong / (seeds * still / 1e6)})
            step.reached((n + 1) / len(made))
    return rows


def _of_monitor(kind: Kind, seed: int, events: int) -> list[int]:
    return [alarm.event for alarm in watched(kind, seed, events)]


def _alone(detector: Callable[[], Any], *, errors: bool) -> Callable[[Kind, int, int], list[int]]:
    def alarms(kind: Kind, seed: int, events: int) -> list[int]:
        single, found = detector(), []
        for event, value in enumerate(_values(scored(kind, seed, events), errors).tolist(), 1):
            single.update(value)
            if single.drift_detected:
                found.append(event)
        return found

    return alarms


def _values(stream: ScoredStream, errors: bool) -> Doubles:
    label_E, p_E = stream.batch.label_B > 0.5, stream.scores.p_B
    if errors:
        return np.asarray(((p_E > 0.5) != label_E).astype(np.float64))
    return np.asarray(-np.log(np.maximum(np.where(label_E, p_E, 1.0 - p_E), LEAST_P)))


SERIES: dict[str, Callable[[Any], float]] = {
    "Bitcoin": float,
    "RunLog": lambda value: value["Pace"],
    "Occupancy": lambda value: value["V3"],
    "AirlinePassengers": float,
    "UKCoalEmploy": float,
}
MARGIN = 32
"""Values between a change that was found and one that anybody has marked."""


def _marked() -> list[Row]:
    """How many of the changes marked are found, and how many that are found nobody marked, by detector."""
    rows: list[Row] = []
    for name, value in SERIES.items():
        made = getattr(datasets, name)()
        values = [value(of) for _, of in made]
        marks = sorted({mark for marks in made.annotations.values() for mark in marks})
        found = {"the monitor": _changes(values)} | {
            detector: _found(PEERS[f"{detector} on the log loss"](), values)
            for detector in ("ADWIN", "Page-Hinkley", "KSWIN")
        }
        row: Row = {"what": name, "values": len(values)}
        for detector, at in found.items():
            near = [
                any(mark <= change + MARGIN and change <= mark + MARGIN for mark in marks) for change in at
            ]
            row |= {f"{detector}: found": len(at), f"{detector}: marked": sum(near)}
        rows.append(row)
    return rows


def _changes(values: list[float]) -> list[int]:
    """Where the monitor's detector of a signal puts changes; it is shown single values for block means."""
    series, found = Series(0.0, DELTA), []
    for n, value in enumerate(values):
        change = series.feed(value, n, n)
        if change is not None:
            found.append(int(change.event_N[change.at - 1]))
    return found


def _found(detector: Any, values: list[float]) -> list[int]:
    found = []
    for n, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(n)
    return found


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": LABELLED,
        "learner": Option(help="who predicts on it", default="stim", quick="gaussian", metavar="NAME"),
        "seeds": Option(help="planted streams of a kind", default=10, quick=1, kind=int),
        "events": Option(
            help=f"events of a planted stream, with a drift after {DRIFT_AT:,}",
            default=EVENTS,
            quick=400,
            kind=int,
        ),
        "still": Option(help="events without a drift a seed", default=100_000, quick=400, kind=int),
    },
    bars=(
        Bar(
            "expected log loss of windows of 5,000, known at once",
            EXPECTED,
            "the log, known at once",
            f"windows of {WINDOWS[-1]:,}",
            0.7,
        ),
        Bar(
            "the same, known a day later",
            EXPECTED,
            "the log, a day late",
            f"windows of {WINDOWS[-1]:,}",
            0.7,
        ),
        Bar("told before the labels", EARLIER, _ADVANCE, "figure", 0.8),
    ),
)
