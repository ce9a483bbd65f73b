"""A state whose clock was moved by an event from the future is set right: what lies ahead is taken out of it.

Such an event moved the clock in builds that took any time for true, and every honest event was late after it.

Shape suffixes: N users, E entries, P and W events that wait, T time constants.
"""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from state.examples import BANK_S
from state.keys import Int64s
from state.tree import Tree
from streams.engines.partition import Engine
from streams.join.impressions import TIME_AT

_BEFORE_ALL_MS = -(2**62)
_BANK_MS_T = np.array(BANK_S) * 1000.0


class Found(NamedTuple):
    """What lay ahead."""

    entries: int
    """Of users' memories."""
    users: int
    """Who had such entries."""
    waiting: int
    """Events that waited to be known, or for their feedback."""
    clock_ms: int | None
    """The partition's clock without them."""


def is_ahead(engine: Engine, most_ms: int) -> bool:
    """Whether a clock is beyond `most_ms`."""
    return max(engine.operator.clock_ms, engine.join.clock_ms) > most_ms


def mended(engine: Engine, most_ms: int) -> tuple[Engine, Found]:
    """The engine as it would be without events beyond `most_ms`, as far as what it remembers tells.

    What such a repeat has strengthened stays so. Decayed sums of its user are worked out again, from entries.
    """
    fresh = Engine(engine.config, engine.topic, engine.partition)
    operator, join = engine.operator.tree(), engine.join.tree()
    entries, users, waiting = _memory(operator["memory"], most_ms)
    clock_ms = int(operator["memory"]["entries"]["time_ms"].max(initial=_BEFORE_ALL_MS))
    admission = operator["admission"]
    admission["clock_ms"] = min(admission["clock_ms"], max(clock_ms, _BEFORE_ALL_MS))
    admission["since_ms"] = min(admission["since_ms"], admission["clock_ms"])
    waiting += _join(join, most_ms, admission["clock_ms"])
    fresh.operator.load(operator)
    fresh.join.load(join)
    said = fresh.operator.clock_ms
    told_ms = said if said > _BEFORE_ALL_MS else None
    broker_ms = min(engine.progress.broker_ms, most_ms)
    fresh.progress = msgspec.structs.replace(engine.progress, clock_ms=told_ms, broker_ms=broker_ms)
    fresh.names = dict(engine.names)
    return fresh, Found(entries, users, waiting, told_ms)


def _memory(tree: Tree, most_ms: int) -> tuple[int, int, int]:
    """Take out what lies ahead; how many entries, of how many users, and how many events that waited."""
    entries, waiting, length_N = tree["entries"], tree["waiting"], tree["length"]
    users = len(length_N)
    row_E = np.repeat(np.arange(users), length_N)
    ahead_E, ahead_P = entries["time_ms"] > most_ms, waiting["time_ms"] > most_ms
    gone_N = _count(row_E[ahead_E], users)
    said_P = ahead_P & ~np.isnan(waiting["label"])
    counted_N = np.maximum(gone_N - _count(waiting["user"][said_P], users), 0)
    worth_E = _worth(entries["label"])
    counted_worth_N = np.bincount(row_E[ahead_E], worth_E[ahead_E], users)
    counted_worth_N -= np.bincount(waiting["user"][said_P], _worth(waiting["label"][said_P]), users)
    tree["waiting"] = {name: column_P[~ahead_P] for name, column_P in waiting.items()}
    tree["entries"] = entries = {name: column_E[~ahead_E] for name, column_E in entries.items()}
    row_E, worth_E = row_E[~ahead_E], worth_E[~ahead_E]
    tree["length"] = _count(row_E, users)
    for columns in (entries, tree["waiting"]):
        columns["known_ms"] = np.minimum(columns["known_ms"], most_ms)
    entries["last_ms"] = _last_ms(row_E, entries, most_ms)
    late_N = tree["seen_ms"] > most_ms
    seen_ms_N = np.full(users, _BEFORE_ALL_MS)
    np.maximum.at(seen_ms_N, row_E, entries["time_ms"])
    tree["seen_ms"] = np.where(late_N, np.where(tree["length"] > 0, seen_ms_N, most_ms), tree["seen_ms"])
    sums = tree["sums"]
    sums[:, 0] = np.maximum(sums[:, 0] - counted_N, 0.0)
    sums[:, 1] = np.where(sums[:, 0] > 0, np.maximum(sums[:, 1] - counted_worth_N, 0.0), 0.0)
    faded_ET = np.exp(-(tree["seen_ms"][row_E] - entries["time_ms"])[:, np.newaxis] / _BANK_MS_T)
    constants = len(_BANK_MS_T)
    for k in range(constants):
        for at, weight_E in ((2 + k, faded_ET[:, k]), (2 + constants + k, faded_ET[:, k] * worth_E)):
            sums[:, at] = np.where(late_N, np.bincount(row_E, weight_E, users), sums[:, at])
    if "stamps" in tree["users"]:
        tree["users"]["stamps"][:, 0] = np.minimum(tree["users"]["stamps"][:, 0], most_ms)
    return int(ahead_E.sum()), int((gone_N > 0).sum()), int(ahead_P.sum())


def _join(tree: Tree, most_ms: int, clock_ms: int) -> int:
    """Take out impressions that lie ahead; how many."""
    ahead_W = tree["words"][:, TIME_AT] > most_ms
    tree["arrival"], tree["words"] = tree["arrival"][~ahead_W], tree["words"][~ahead_W]
    if tree["numbers"][0] > most_ms:
        tree["numbers"][0] = max(clock_ms, int(tree["words"][:, TIME_AT].max(initial=_BEFORE_ALL_MS)))
    tree["done"][:, 2] = np.minimum(tree["done"][:, 2], tree["numbers"][0])
    return int(ahead_W.sum())


def _last_ms(row_E: Int64s, entries: Tree, most_ms: int) -> Int64s:
    """When each entry's item was met last by its user: among what is left, where that lay ahead."""
    pairs_E2 = np.stack([row_E, entries["item"]], axis=1)
    pairs, of_E = np.unique(pairs_E2, axis=0, return_inverse=True)
    newest_ms = np.full(len(pairs), _BEFORE_ALL_MS)
    np.maximum.at(newest_ms, of_E, entries["time_ms"])
    last_ms_E: Int64s = np.where(entries["last_ms"] > most_ms, newest_ms[of_E], entries["last_ms"])
    return last_ms_E


def _count(row_X: Int64s, users: int) -> Int64s:
    found: Int64s = np.bincount(row_X, minlength=users)
    return found


def _worth(label_X: NDArray[np.float32]) -> NDArray[np.float64]:
    """What an event adds to the sums of labels: one without a label is a positive."""
    found: NDArray[np.float64] = np.where(np.isnan(label_X), 1.0, label_X).astype(np.float64)
    return found
