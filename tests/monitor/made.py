"""Streams of events, and what a model says of them, with changes where a test plants them."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from monitor.alarms import Alarm
from monitor.drift import DriftMonitor, Scores
from state.examples import ExampleBatch, empty_examples
from state.keys import Int64s


@dataclass(frozen=True)
class Made:
    """Events a second apart; a calibrated model of a spread of scores, three hits in ten rankings."""

    batch: ExampleBatch
    scores: Scores

    def parts(self, cuts: Iterable[int]) -> Iterator[tuple[ExampleBatch, Scores]]:
        edges = [0, *sorted(cuts), len(self.batch)]
        for first, last in itertools.pairwise(edges):
            part = slice(first, last)
            yield self.batch.take(part), Scores(self.scores.p_B[part], self.scores.hit_B[part])

    def from_(self, event: int) -> "Made":
        part = slice(event, None)
        return Made(self.batch.take(part), Scores(self.scores.p_B[part], self.scores.hit_B[part]))

    def until(self, event: int) -> "Made":
        part = slice(0, event)
        return Made(self.batch.take(part), Scores(self.scores.p_B[part], self.scores.hit_B[part]))


def made(
    seed: int,
    size: int,
    *,
    worse: slice | Int64s = slice(0, 0),
    by: float = 0.05,
    delay_ms: int = 0,
    scene: Int64s | None = None,
    category: Int64s | None = None,
    known: int = 100,
) -> Made:
    """Labels are drawn from the truth; scores are the truth, but turned around for a share `by` of the events
    `worse`. Users have `known` events before."""
    draw = np.random.default_rng(seed)
    truth = draw.beta(2.0, 2.0, size)
    label = draw.random(size) < truth
    turned = np.zeros(size, np.bool_)
    turned[worse] = True
    turned &= draw.random(size) < by
    time_ms = np.arange(size, dtype=np.int64) * 1000
    batch = replace(
        empty_examples(size),
        offset_B=np.arange(size, dtype=np.int64),
        time_ms_B=time_ms,
        known_ms_B=time_ms + delay_ms,
        label_B=label.astype(np.float32),
    )
    batch.user_rates_BR[:, 0] = known
    batch.item_rates_BR[:, 0] = 1.0
    if scene is not None:
        batch = replace(batch, scene_B=scene)
    if category is not None:
        batch = replace(batch, category_B=category)
    hit = (draw.random(size) < 0.3).astype(np.float64)
    return Made(batch, Scores(np.where(turned, 1 - truth, truth), hit))


def watched(stream: Made, monitor: DriftMonitor | None = None, batch: int = 1000) -> list[Alarm]:
    """Alarms of the whole stream."""
    monitor = DriftMonitor() if monitor is None else monitor
    found: list[Alarm] = []
    for part, said in stream.parts(range(batch, len(stream.batch), batch)):
        found += monitor.update(part, said)
    return found


def signals(alarms: Iterable[Alarm]) -> set[str]:
    return {alarm.signal for alarm in alarms}
