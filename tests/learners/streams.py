"""Small streams of examples for tests: columns in, steps out, with windows of what was known."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from learners.contract import Context, RankRequest, Step
from learners.tables.catalogue import Catalogue
from state.examples import ExampleBatch, empty_examples, empty_window
from state.keys import Int64s

HOUR_MS = 3_600_000


def examples(
    user: list[int],
    item: list[int],
    time_ms: list[int],
    label: list[float] | None = None,
    *,
    delay_ms: int = 0,
    width: int | None = None,
) -> ExampleBatch:
    """Examples in order; each window holds the user's newest `width` events that were known, newest last."""
    size = len(user)
    time = np.array(time_ms, np.int64)
    batch = replace(
        empty_examples(size, width),
        offset_B=np.arange(size),
        user_B=np.array(user, np.int64),
        item_B=np.array(item, np.int64),
        time_ms_B=time,
        known_ms_B=time + delay_ms,
        label_B=np.full(size, np.nan, np.float32) if label is None else np.array(label, np.float32),
    )
    if width is not None:
        window = empty_window(size, width)
        for b in range(size):
            known = [j for j in range(due(batch, b)) if user[j] == user[b]][-width:]
            window.length_B[b] = len(known)
            for w, j in enumerate(known):
                window.item_BW[b, w] = item[j]
                window.age_s_BW[b, w] = (time[b] - time[j]) / 1000.0
                window.retention_BW[b, w] = np.exp(-(time[b] - time[j]) / (30 * 24 * HOUR_MS))
                window.label_BW[b, w] = batch.label_B[j]
                if w > 0:
                    window.before_BW[b, w] = item[known[w - 1]]
                    window.gap_s_BW[b, w] = (time[j] - time[known[w - 1]]) / 1000.0
        batch = replace(batch, window=window)
    return batch


def due(batch: ExampleBatch, b: int) -> int:
    """How many rows, all before b, are known at row b's time."""
    return int((batch.known_ms_B[:b] <= batch.time_ms_B[b]).sum())


def context(seed: int = 0, *, labelled: bool = False, roles: frozenset[str] = frozenset()) -> Context:
    return Context(labelled=labelled, roles=roles, catalogue=Catalogue(), seed=seed)


def steps(
    batch: ExampleBatch,
    catalogue: Catalogue,
    size: int,
    left_out: dict[int, list[int]] | None = None,
    start: int = 0,
) -> Iterator[Step]:
    """Micro-batches of `size` rows from row `start`, every row ranked; `left_out` holds item keys by row."""
    learned = due(batch, start)
    for low in range(start, len(batch), size):
        high = min(low + size, len(batch))
        due_B = np.array([due(batch, b) - learned for b in range(low, high)], np.int64)
        part, queue = batch.take(slice(low, high)), batch.take(slice(learned, learned + int(due_B[-1])))
        learned += len(queue)
        _, size_B = catalogue.step(part, queue, due_B)
        yield Step(part, queue, due_B, request(part, catalogue, size_B, low, left_out or {}))


def request(
    part: ExampleBatch, catalogue: Catalogue, size_B: Int64s, low: int, left_out: dict[int, list[int]]
) -> RankRequest:
    true_R = catalogue.items.rows(part.item_B)
    true_R[true_R >= size_B] = -1
    rows: list[int] = []
    start = [0]
    for b in range(len(part)):
        left = [catalogue.items.row(key) for key in left_out.get(low + b, []) if key != part.item_B[b]]
        rows += [row for row in left if 0 <= row < size_B[b]]
        start.append(len(rows))
    return RankRequest(
        np.arange(len(part)), true_R, size_B, np.array(start, np.int64), np.array(rows, np.int64)
    )
