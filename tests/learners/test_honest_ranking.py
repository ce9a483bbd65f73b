"""A ranking knows the request, not the answer: nothing that is the row's item's own moves the item's rank."""

from dataclasses import replace

import numpy as np
import pytest

from learners.registry import able, learner
from state.examples import USER_RATES, ExampleBatch
from state.keys import NO_KEY
from tests.learners.test_contract import SIZE, Bench

DELAY_MS = 3 * 86_400_000
LAST = SIZE - 40
OWN = [USER_RATES.index(f"{of}_{what}") for of in ("item", "category") for what in ("count", "positives")]
RANKERS = able(lambda one: one.ranks)


def disguised(batch: ExampleBatch) -> ExampleBatch:
    """The same requests and items, with nothing right of what an event takes over from its item."""
    size = len(batch)
    rates_BR = batch.user_rates_BR.copy()
    rates_BR[:, OWN] = 7.0
    return replace(
        batch,
        lat_B=np.full(size, 40.7),
        lon_B=np.full(size, -74.0),
        cell_B=np.where(batch.cell_B == batch.cell_B[0], NO_KEY, batch.cell_B[0]),
        category_B=batch.category_B[::-1].copy(),
        user_rates_BR=rates_BR,
    )


def ranks(name: str, labelled: bool, disguise: bool) -> list[int]:
    """Of the last rows, of which nothing is learned before all are ranked."""
    bench = Bench(learner(name), labelled, delay_ms=DELAY_MS).run(0, LAST)
    part = bench.stream.take(slice(LAST, SIZE))
    batch = bench.operator.process(part, 0)
    assert batch.time_ms_B[-1] - batch.time_ms_B[0] < DELAY_MS
    bench.trainer.step(disguised(batch) if disguise else batch)
    rank_R = bench.scored[-1].outcomes[name].rank_R
    assert rank_R is not None
    return list(rank_R)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("name", RANKERS)
def test_what_is_the_items_own_moves_no_rank(name: str, labelled: bool) -> None:
    plain = ranks(name, labelled, disguise=False)
    assert len(set(plain)) > 1
    assert plain == ranks(name, labelled, disguise=True)
