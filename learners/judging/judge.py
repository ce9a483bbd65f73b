"""From what was said to how good it was: all events, the scored part, windows in time, cold and warm slices.

Shape suffixes: E events, U users, W windows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from learners.judging.evaluation import (
    CalibrationPoint,
    Compared,
    Evaluation,
    Interval,
    Judged,
    Part,
)
from learners.judging.metrics import METRICS, Z95, Influence, Predictions, Ranks, Values, standard_error
from state.difference import Difference
from state.examples import Floats
from state.keys import Int64s

WINDOWS, WINDOW_EVENTS = 40, 250
"""At most so many windows, of at least so many events each."""
COLD_SLICES = ("warm_user", "cold_user", "warm_item", "cold_item")
MIN_USERS = 20
"""Fewer users than this give no interval."""

Codes = NDArray[np.int16]
"""The number of each event's part; -1 for none."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A learner whose sayings are kept."""

    name: str
    predicts: bool
    ranks: bool
    floor: bool
    of: str | None = None
    """The learner that this is a variant or a copy of: it is compared with that one, and nothing else. Where
    it said nothing (P is NaN, the rank 0), the two are not compared."""


@dataclass(frozen=True, slots=True)
class Events:
    """What is known of each event besides what learners said, in order of arrival."""

    time_ms_E: Int64s
    user_E: NDArray[np.int32]
    """User rows 0 .. users - 1."""
    users: int
    label_E: Floats
    """NaN without a label: then the event is a positive."""
    cold_user_E: NDArray[np.uint8]
    cold_item_E: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.time_ms_E)


OutputOf = Callable[[Speaker], tuple[Floats | None, NDArray[np.int32] | None]]
"""P(action) (E,) and ranks (E,), 0 for not ranked, of one learner."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """One way to cut the log: each event's part, and the parts without metrics."""

    part_E: Codes
    parts: list[Part]


def judge(
    events: Events, speakers: Sequence[Speaker], output_of: OutputOf, score_from: float | int = 0.0
) -> Evaluation:
    """Judge every learner. `score_from` is a fraction of the events (float) or a time in ms (int)."""
    size = len(events)
    first = first_scored(events.time_ms_E, score_from)
    windows = max(1, min(WINDOWS, size // WINDOW_EVENTS))
    scored_E = np.where(np.arange(size) >= first, 0, -1).astype(np.int16)
    cuts = {
        "all": _cut(events, np.zeros(size, np.int16), 1),
        "scored": _cut(events, scored_E, 1),
        "windows": _cut(events, (np.arange(size) * windows // max(size, 1)).astype(np.int16), windows),
        "user": _cut(
            events, np.where(scored_E < 0, scored_E, events.cold_user_E).astype(np.int16), 2, timed=False
        ),
        "item": _cut(
            events, np.where(scored_E < 0, scored_E, events.cold_item_E).astype(np.int16), 2, timed=False
        ),
    }
    present = len(np.unique(events.user_E[first:]))
    floors: dict[str, tuple[Part, Influence]] = {}
    judged: dict[str, Judged] = {}
    own = [speaker for speaker in speakers if speaker.of is None]
    for speaker in sorted(own, key=lambda s: not s.floor):
        judgement, influence = _judge_one(events, cuts, speaker, output_of(speaker), floors, present)
        judged[speaker.name] = judgement
        if speaker.floor:
            floors[speaker.name] = judgement.scored, influence
    return Evaluation(
        predictor=_headline([s for s in own if s.predicts]),
        ranker=_headline([s for s in own if s.ranks]),
        users=events.users,
        learners=[judged[speaker.name] for speaker in own],
        compared=[
            compared(events, slice(first, None), variant, output_of(variant), output_of(speaker))
            for speaker in own
            for variant in speakers
            if variant.of == speaker.name
        ],
    )


def _judge_one(
    events: Events,
    cuts: dict[str, _Cut],
    speaker: Speaker,
    output: tuple[Floats | None, NDArray[np.int32] | None],
    floors: dict[str, tuple[Part, Influence]],
    present: int,
) -> tuple[Judged, Influence]:
    p_E, rank_E = output
    samples: list[Predictions | Ranks] = []
    if p_E is not None:
        samples.append(Predictions.of(p_E, events.label_E, events.user_E))
    if rank_E is not None:
        samples.append(Ranks.of(rank_E, ~(events.label_E <= 0.5), events.user_E))

    whole = cuts["all"].parts[0].events == cuts["scored"].parts[0].events
    scored = samples if whole else [s.take(cuts["scored"].part_E[s.event_E] == 0) for s in samples]
    influence: Influence = {}
    points: list[CalibrationPoint] = []
    for sample in scored:
        influence |= sample.influence(events.users)
        if isinstance(sample, Predictions) and len(sample):
            points = [
                CalibrationPoint(predicted=p, happened=label, events=int(count))
                for p, label, count in sample.calibration().tolist()
            ]
    part = _fill(scored, cuts["scored"], events.users)[0]
    slices = _fill(scored, cuts["user"], events.users) + _fill(scored, cuts["item"], events.users)
    judged = Judged(
        name=speaker.name,
        floor=speaker.floor,
        predicts=speaker.predicts,
        ranks=speaker.ranks,
        all=part if whole else _fill(samples, cuts["all"], events.users)[0],
        scored=part,
        windows=_fill(samples, cuts["windows"], events.users),
        slices=dict(zip(COLD_SLICES, slices, strict=True)),
        calibration=points,
        intervals=[] if speaker.floor else list(_intervals(part, influence, floors, present)),
    )
    return judged, influence


def compared(
    events: Events,
    rows: slice,
    variant: Speaker,
    ours: tuple[Floats | None, NDArray[np.int32] | None],
    theirs: tuple[Floats | None, NDArray[np.int32] | None],
) -> Compared:
    """`ours` beside `theirs` over some of the events, where the variant spoke."""
    user_E, label_E = events.user_E[rows], events.label_E[rows]
    (p_E, rank_E), (their_p_E, their_rank_E) = ours, theirs
    spoke_E = np.zeros(len(label_E), np.bool_)
    differences: list[Difference] = []
    if p_E is not None and their_p_E is not None:
        said_E = ~np.isnan(p_E[rows])
        both_E = np.where(said_E, label_E, np.float32(np.nan))
        predictions = (Predictions.of(p[rows], both_E, user_E) for p in (p_E, their_p_E))
        differences += _differences(next(predictions), next(predictions), events.users)
        spoke_E |= said_E
    if rank_E is not None and their_rank_E is not None:
        said_E = (rank_E[rows] > 0) & ~(label_E <= 0.5)
        ranks = (Ranks.of(rank[rows], said_E, user_E) for rank in (rank_E, their_rank_E))
        differences += _differences(next(ranks), next(ranks), events.users)
        spoke_E |= said_E
    return Compared(
        name=variant.name, of=variant.of or "", events=int(spoke_E.sum()), differences=differences
    )


def _differences(ours: Predictions | Ranks, theirs: Predictions | Ranks, users: int) -> Iterator[Difference]:
    values, their_values = ours.values(users), theirs.values(users)
    present = len(np.unique(ours.user_E))
    enough = present >= MIN_USERS
    influence, their_influence = (s.influence(users) if enough else {} for s in (ours, theirs))
    for metric, value in values.items():
        their_value = their_values[metric]
        if value is None or their_value is None:
            continue
        difference, half = value - their_value, None
        if metric in influence and metric in their_influence:
            half = Z95 * standard_error(influence[metric] - their_influence[metric], present)
        yield Difference(
            metric=metric,
            value=value,
            difference=difference,
            low=None if half is None else difference - half,
            high=None if half is None else difference + half,
        )


def _fill(samples: Sequence[Predictions | Ranks], cut: _Cut, users: int) -> list[Part]:
    """The parts of a cut, with the metrics of each."""
    values: list[Values] = [{} for _ in cut.parts]
    ranked = [0] * len(cut.parts)
    for sample in samples:
        pieces: Iterator[Predictions | Ranks] = sample.split(cut.part_E[sample.event_E], len(cut.parts))
        for i, piece in enumerate(pieces):
            values[i] |= piece.values(users)
            ranked[i] += len(piece) if isinstance(piece, Ranks) else 0
    return [part.with_values(values[i], ranked[i]) for i, part in enumerate(cut.parts)]


def _intervals(
    part: Part, influence: Influence, floors: dict[str, tuple[Part, Influence]], present: int
) -> list[Interval]:
    if present < MIN_USERS:
        return []
    intervals = []
    for floor, (floor_part, floor_influence) in floors.items():
        for metric in METRICS:
            ours, theirs = part.value(metric), floor_part.value(metric)
            if ours is None or theirs is None or metric not in influence or metric not in floor_influence:
                continue
            difference = ours - theirs
            half = Z95 * standard_error(influence[metric] - floor_influence[metric], present)
            intervals.append(
                Interval(
                    floor=floor,
                    metric=metric,
                    difference=difference,
                    low=difference - half,
                    high=difference + half,
                )
            )
    return intervals


def _cut(events: Events, part_E: Codes, parts: int, *, timed: bool = True) -> _Cut:
    kept = np.flatnonzero(part_E >= 0)
    code = part_E[kept].astype(np.int64)
    count = np.bincount(code, minlength=parts).tolist()
    positives = np.bincount(code[~(events.label_E[kept] <= 0.5)], minlength=parts).tolist()
    made = [Part(events=count[i], positives=positives[i]) for i in range(parts)]
    if timed:
        start, end = np.full(parts, np.iinfo(np.int64).max), np.full(parts, np.iinfo(np.int64).min)
        np.minimum.at(start, code, events.time_ms_E[kept])
        np.maximum.at(end, code, events.time_ms_E[kept])
        made = [
            msgspec.structs.replace(part, start_ms=int(start[i]), end_ms=int(end[i])) if part.events else part
            for i, part in enumerate(made)
        ]
    return _Cut(part_E, made)


def first_scored(time_ms_E: Int64s, score_from: float | int) -> int:
    """Where the scored part begins, by a fraction of the events or a time in ms."""
    if isinstance(score_from, float):
        return round(score_from * len(time_ms_E))
    later = np.flatnonzero(time_ms_E >= score_from)
    return int(later[0]) if len(later) else len(time_ms_E)


def _headline(speakers: Sequence[Speaker]) -> str | None:
    """The run's own learner: the first that is no floor, or the first at all."""
    return min(speakers, key=lambda s: s.floor).name if speakers else None
