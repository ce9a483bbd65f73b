"""Vowpal Wabbit and river on the same events, under the same rule of what is known when."""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from river import linear_model, optim
from vowpalwabbit import Workspace  # type: ignore[import-untyped]

from benchmarks.telling import Step
from learners.judging.metrics import Predictions
from replay.log import Log
from state.errors import InputError

_BATCH = 4096


@dataclass(frozen=True)
class Rated:
    """A labelled log in the order of its replay, as lists."""

    user: list[int]
    item: list[int]
    genres: list[tuple[int, ...]]
    time_ms: list[int]
    label: list[bool]

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def read(cls, log: Log) -> "Rated":
        """All categories of items are genres. Raises InputError where there are none, or no labels."""
        table = log.items
        if table is None or not table.categories:
            raise InputError(
                f"{log.name}: expected an item table with categories, got none; choose another log"
            )
        if not log.labelled:
            raise InputError(f"{log.name}: expected labels to predict, got none; choose another log")
        made = cls([], [], [], [], [])
        for events in log.batches(_BATCH):
            made.user.extend(events.user_B.tolist())
            made.item.extend(events.item_B.tolist())
            made.time_ms.extend(events.time_ms_B.tolist())
            made.label.extend((events.label_B > 0.5).tolist())
            for row in table.rows(events.item_B, events.time_ms_B).tolist():
                parts = [
                    column.keys[column.start_N1[row] : column.start_N1[row + 1]].tolist()
                    for column in table.categories.values()
                    if row >= 0
                ]
                made.genres.append(tuple(key for part in parts for key in part))
        return made


class Peer(Protocol):
    """Scores event i of a log, or learns it."""

    def score(self, i: int) -> float: ...

    def learn(self, i: int) -> None: ...


class VowpalWabbit:
    """`--loss_function logistic --link logistic -l 1` on one-hot user, item and genres."""

    def __init__(self, rated: Rated) -> None:
        self.rated = rated
        self.vw: Any = Workspace("--loss_function logistic --link logistic -l 1 --quiet")

    def line(self, i: int) -> str:
        rated = self.rated
        return f"|u {rated.user[i]} |i {rated.item[i]} |g {' '.join(map(str, rated.genres[i]))}"

    def labelled(self, i: int) -> str:
        return f"{1 if self.rated.label[i] else -1} {self.line(i)}"

    def score(self, i: int) -> float:
        return float(self.vw.predict(self.line(i)))

    def learn(self, i: int) -> None:
        self.vw.learn(self.labelled(i))


class ParsedOnce(VowpalWabbit):
    """The same, quicker: a line is parsed when it is scored, and kept until it is learned."""

    def __init__(self, rated: Rated) -> None:
        super().__init__(rated)
        self.waiting: deque[Any] = deque()

    def score(self, i: int) -> float:
        self.waiting.append(self.vw.parse(self.labelled(i)))
        return float(self.vw.predict(self.waiting[-1]))

    def learn(self, i: int) -> None:
        example = self.waiting.popleft()
        self.vw.learn(example)
        self.vw.finish_example(example)


class River:
    """river's logistic regression on the same one-hot features."""

    def __init__(self, rated: Rated, optimizer: Any) -> None:
        self.rated = rated
        self.model: Any = linear_model.LogisticRegression(optimizer)

    def row(self, i: int) -> dict[str, int]:
        rated = self.rated
        row = {f"u{rated.user[i]}": 1, f"i{rated.item[i]}": 1}
        return row | {f"g{genre}": 1 for genre in rated.genres[i]}

    def score(self, i: int) -> float:
        return float(self.model.predict_proba_one(self.row(i))[True])

    def learn(self, i: int) -> None:
        self.model.learn_one(self.row(i), self.rated.label[i])


def peers(rated: Rated) -> dict[str, Peer]:
    """Fresh peers, with the settings that were best for each on this log."""
    return {
        "Vowpal Wabbit -l 1": ParsedOnce(rated),
        "river AdaGrad .3": River(rated, optim.AdaGrad(0.3)),
        "river FTRL alpha .5": River(rated, optim.FTRLProximal(alpha=0.5)),
    }


@dataclass(frozen=True)
class Said:
    """What a peer said of every event."""

    p: list[float]
    cpu_s: float

    def metrics(self, rated: Rated) -> dict[str, float | None]:
        users, user_E = np.unique(rated.user, return_inverse=True)
        label_E = np.array(rated.label, np.float32)
        return Predictions.of(np.array(self.p), label_E, user_E).values(len(users))


def prequential(peer: Peer, rated: Rated, delay_ms: int, step: Step) -> Said:
    """Score each event, then learn it as soon as a later event is `delay_ms` younger."""
    start = time.process_time()
    time_ms, p, learned = rated.time_ms, [], 0
    for i in range(len(rated)):
        while learned < i and time_ms[learned] + delay_ms <= time_ms[i]:
            peer.learn(learned)
            learned += 1
        p.append(peer.score(i))
        if i % _BATCH == 0:
            step.reached(i / len(rated))
    return Said(p, time.process_time() - start)
