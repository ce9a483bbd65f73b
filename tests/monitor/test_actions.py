"""A policy asks for what its rules say, when they say, between the same two events whatever the batches."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.actions import EVERY, ActionPolicy, Rule
from monitor.alarms import Alarm
from state.drift_alarm import DriftAction


def alarm(event: int, *, signal: str = "log_loss", after: float = 0.6, closed: int | None = None) -> Alarm:
    return Alarm(
        detector="adwin",
        signal=signal,
        event=event,
        time_ms=event * 1000,
        mean_before=0.5,
        mean_after=after,
        values_before=64,
        values_after=64,
        closed_event=closed,
    )


def passed(policy: ActionPolicy, alarms: Sequence[Alarm], cuts: Sequence[int]) -> list[DriftAction]:
    """What is done while events pass up to the last of the cuts, a micro-batch from one to the next."""
    done: list[DriftAction] = []
    start = policy.events
    for stop in cuts:
        size = stop - start
        for rows in policy.parts(size):
            first, last = start + rows.start, start + rows.stop
            raised = [a for a in alarms if first < a.event <= last]
            done += policy.after(last - first, raised, [a for a in alarms if a.event <= last], last * 1000)
        start = stop
    return done


def test_an_alarm_for_the_worse_is_acted_on_at_the_next_boundary() -> None:
    (done,) = passed(ActionPolicy([Rule(on="log_loss")]), [alarm(700)], [5000])
    assert done == DriftAction(
        do="doubt",
        share=1.0,
        event=EVERY,
        time_ms=EVERY * 1000,
        on="log_loss",
        alarm_event=700,
        before=0.5,
        after=0.6,
    )


@pytest.mark.parametrize(
    "one",
    [alarm(700, after=0.4), alarm(700, signal="calibration"), alarm(700, after=0.51)],
    ids=["for the better", "of another signal", "too small"],
)
def test_nothing_is_done_about_what_no_rule_asks_for(one: Alarm) -> None:
    assert passed(ActionPolicy([Rule(on="log_loss", least=0.05)]), [one], [5000]) == []


def test_a_segment_of_its_own_moves_nobody() -> None:
    one = msgspec.structs.replace(alarm(700), segment="scene", key=3)
    assert passed(ActionPolicy([Rule(on="log_loss")]), [one], [5000]) == []


def test_a_segment_that_is_back_is_no_help_overall() -> None:
    rule = Rule(on="log_loss", cooldown=EVERY, most=1)
    back = msgspec.structs.replace(alarm(200, closed=2000), segment="scene", key=3)
    assert len(passed(ActionPolicy([rule]), [alarm(100), back, alarm(3000)], [5000])) == 1


def test_a_change_of_the_inputs_counts_in_either_direction() -> None:
    policy = ActionPolicy([Rule(on="new_item")])
    assert len(passed(policy, [alarm(700, signal="new_item", after=0.1)], [5000])) == 1


def test_a_rule_rests_between_two_actions() -> None:
    alarms = [alarm(event) for event in (100, 3000, 9000)]
    done = passed(ActionPolicy([Rule(on="log_loss", cooldown=5000)]), alarms, [20_000])
    assert [one.alarm_event for one in done] == [100, 9000]


def test_what_did_not_help_is_not_done_for_ever() -> None:
    rule = Rule(on="log_loss", cooldown=EVERY, most=2)
    alarms = [alarm(event) for event in range(100, 20_000, 3000)]
    assert [one.alarm_event for one in passed(ActionPolicy([rule]), alarms, [20_000])] == [100, 3100]
    helped = [alarm(100, closed=9000), *alarms[1:]]
    done = passed(ActionPolicy([rule]), helped, [20_000])
    assert [one.alarm_event for one in done] == [100, 3100, 9100, 12100]


ALARMS = [alarm(event, closed=event + 2000) for event in range(300, 40_000, 1700)]
CUTS = st.lists(st.integers(0, 40_000), max_size=20).map(sorted)


@given(CUTS, st.integers(0, 40_000))
def test_neither_batches_nor_a_restart_change_what_is_done(cuts: list[int], at: int) -> None:
    rules = [Rule(on="log_loss", cooldown=4000), Rule(on="log_loss", share=0.5, least=0.05)]
    whole = ActionPolicy(rules)
    assert len(passed(whole, ALARMS, [40_000])) > 5
    before, after = ActionPolicy(rules), ActionPolicy(rules)
    passed(before, ALARMS, [*(cut for cut in cuts if cut < at), at])
    after.load(before.tree())
    passed(after, ALARMS, [*(cut for cut in cuts if cut > at), 40_000])
    assert after.done == whole.done
    assert after.tree() == whole.tree()


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"on": "loss"}, "expected one of log_loss, calibration"),
        ({"on": "log_loss", "do": "pray"}, "Invalid enum value 'pray'"),
        ({"on": "log_loss", "share": 0}, "Expected `float` > 0"),
        ({"on": "log_loss", "cooldown": 1}, f"Expected `int` >= {EVERY}"),
        ({"on": "log_loss", "colour": 1}, "unknown field `colour`"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, object], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(rule, Rule)
