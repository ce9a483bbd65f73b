"""A partition that an event of 2099 has made deaf is as if that event had never been there."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from state import example_wire
from state.examples import concat
from state.tree import digest
from streams.engines.engine_config import EngineConfig
from streams.engines.mend import Found, is_ahead, mended
from streams.engines.partition import Engine
from streams.join.impressions import JoinConfig
from streams.operator import OperatorConfig
from streams.wire.message import Message
from tests.streams.engines.test_engine import HOUR_MS, NOW_MS, YEAR_2099_MS, event

DAY_MS = 24 * HOUR_MS
MOST_MS = NOW_MS + HOUR_MS
ANY_MS = 10**14


def credulous(**settings: Any) -> Engine:
    """As earlier builds were: any time is true."""
    return Engine(EngineConfig(window=8, ahead_ms=ANY_MS, **settings), "events", 0)


def history(size: int = 40) -> list[Message]:
    """Events of four users, some of them repeats, over ten days."""
    return [
        event(n, NOW_MS - 10 * DAY_MS + n * 6 * HOUR_MS, user=f"user {n % 4}", item=n % 7, label=n % 2)
        for n in range(size)
    ]


def restored(one: Engine) -> Engine:
    """What a new owner makes of its records."""
    other = Engine(one.config, one.topic, one.partition)
    other.restore({key: value for key, value in one.records().items() if value is not None})
    return other


def examples(one: Engine, messages: list[Message]) -> Any:
    made = [example_wire.decode(value).batch for value in one.take(messages).examples]
    return concat([batch for batch in made if len(batch)])


@pytest.mark.parametrize(("label_delay_ms", "item"), [(0, "new"), (0, 3), (2 * HOUR_MS, "new")])
def test_after_mending_honest_events_are_what_they_would_have_been(
    label_delay_ms: int, item: str | int
) -> None:
    """But for the strength of an item that was repeated, and what had waited and was taken for known."""
    operator = OperatorConfig(label_delay_ms=label_delay_ms)
    honest, deaf = credulous(operator=operator), credulous(operator=operator)
    sent = history()
    poison = event(40, YEAR_2099_MS, user="user 1", item=item)
    after = [event(41 + n, NOW_MS + n, user=f"user {n % 4}", item=n % 7) for n in range(8)]
    honest.take(sent)
    deaf.take([*sent, poison])
    found, what = mended(restored(deaf), MOST_MS)
    assert len(deaf.take(after).dead) == len(after)
    assert is_ahead(deaf, MOST_MS)
    assert what == Found(entries=1, users=1, waiting=1, clock_ms=NOW_MS - 6 * HOUR_MS)
    assert not is_ahead(found, MOST_MS)
    assert (found.progress.clock_ms, found.progress.offset) == (NOW_MS - 6 * HOUR_MS, 40)
    expected, made = examples(honest, after), examples(restored(found), after)
    differing = [
        name
        for name, column in made.tree().items()
        if name not in ("window", "user_rates_BR")
        and digest({"": column}) != digest({"": expected.tree()[name]})
    ]
    assert differing == []
    if label_delay_ms == 0:
        np.testing.assert_allclose(made.user_rates_BR, expected.user_rates_BR, rtol=1e-5)
        assert np.array_equal(made.window.item_BW, expected.window.item_BW)
    if item == "new" and label_delay_ms == 0:
        assert digest(asdict(made.window)) == digest(asdict(expected.window))


def test_nothing_is_mended_where_nothing_is_ahead() -> None:
    one = credulous()
    one.take(history())
    assert not is_ahead(one, MOST_MS)


def test_impressions_ahead_no_longer_wait() -> None:
    join, operator = JoinConfig(window_ms=HOUR_MS), OperatorConfig()
    deaf = credulous(join=join, operator=operator)
    first = [event(n, NOW_MS - 10 * HOUR_MS + n, label=None, event_id=n, item=f"page {n}") for n in range(3)]
    deaf.take([*first, event(3, YEAR_2099_MS, label=None, event_id=3, item="poison")])
    found, what = mended(restored(deaf), MOST_MS)
    assert what.waiting >= 1
    assert found.join.counts.waiting == 0
    one = restored(found)
    one.take(
        [event(4, NOW_MS, label=None, event_id=4, item="new"), event(5, NOW_MS + 1, event_id=4, item="new")]
    )
    assert (one.progress.examples, one.progress.late) == (4, 0)
