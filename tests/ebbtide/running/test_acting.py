"""Rules of `act`: a run acts on drift, learns faster for it, and a run that was killed acts the same way."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ebbtide
from ebbtide.config import RunConfig
from ebbtide.report.report import Report
from ebbtide.running.run import ReplayRun
from ebbtide.running.without_action import AFTERWARDS
from ebbtide.simulated.drifting import lived
from monitor.actions import Rule
from replay.log import Log
from state.drift_alarm import Do
from state.store.in_memory import DictStore
from tests.ebbtide.typed import run

RULE = Rule(on="log_loss", cooldown=2048)
EVENTS, AT = 24_000, 14_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world changes at event AT."""
    path = tmp_path_factory.mktemp("lived") / "log.parquet"
    pq.write_table(lived(3, EVENTS, AT).events, path)
    return path


def replayed(log: Path, out: Path, **how: object) -> Report:
    given = {"learner": "gaussian", "floors": False, "rank_share": 0.0, "act": [RULE], **how}
    return ebbtide.replay(log, out, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def acted(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return replayed(log, tmp_path_factory.mktemp("acted"))


def test_acting_makes_up_for_a_change_sooner(log: Path, acted: Report, tmp_path: Path) -> None:
    still = replayed(log, tmp_path / "still", act=[])
    (action, *_) = acted.actions
    assert AT < action.alarm_event <= action.event < AT + 3000
    assert still.actions == []
    ours, theirs = acted.metrics.windows[-1].log_loss, still.metrics.windows[-1].log_loss
    assert ours is not None
    assert theirs is not None
    assert ours < theirs - 0.01
    assert acted.state_digest != still.state_digest


def test_actions_fall_between_the_same_events_whatever_the_batches(
    log: Path, acted: Report, tmp_path: Path
) -> None:
    other = replayed(log, tmp_path / "other", batch=333)
    assert other.actions == acted.actions
    assert other.metrics.all.log_loss == pytest.approx(acted.metrics.all.log_loss, abs=1e-12)


@pytest.mark.parametrize("do", ["doubt", "calibrate"])
def test_a_run_that_was_killed_acts_the_same_way(log: Path, acted: Report, tmp_path: Path, do: Do) -> None:
    rule = msgspec.structs.replace(RULE, do=do)
    if rule != RULE:
        acted = replayed(log, tmp_path / "acted", act=[rule])
    config = RunConfig(learner="gaussian", floors=False, rank_share=0.0, act=(rule,))
    opened = Log.open(log)
    killed, resumed = (
        ReplayRun(opened, config, DictStore(), tmp_path / name) for name in ("killed", "resumed")
    )
    batches = list(opened.batches(375, dead_letters=tmp_path))
    middle = next(n for n in range(len(batches)) if 375 * n > acted.actions[0].event + 400)
    for events in batches[:middle]:
        killed.step(events)
    tree = killed.tree()
    killed.close()
    resumed.load(tree)
    for events in batches[middle:]:
        resumed.step(events)
    resumed.finish()
    assert resumed.learning.actions() == acted.actions
    assert resumed.digest() == acted.state_digest
    resumed.close()


def test_every_action_is_judged_against_a_copy_that_did_without(acted: Report, tmp_path: Path) -> None:
    ends = [*(one.event for one in acted.actions[1:]), EVENTS]
    for action, end in zip(acted.actions, ends, strict=True):
        assert action.worth is not None
        assert action.worth.events == min(AFTERWARDS, end - action.event)
    first = acted.actions[0].worth
    assert first is not None
    after = {one.metric: one for one in first.differences}["log_loss"]
    assert after.low is not None
    assert after.low > 0, "it is worse right after the action"
    assert first.verdict == "earns its place"


def test_what_runs_beside_changes_nothing(log: Path, acted: Report, tmp_path: Path) -> None:
    whole = replayed(log, tmp_path / "whole", ablate=True)
    assert whole.metrics == acted.metrics
    assert whole.actions == acted.actions
    assert whole.ablation is not None
    (variant,) = [one for one in whole.ablation.variants if one.name.endswith("no actions")]
    assert {one.metric: one.difference for one in variant.differences}["log_loss"] > 0


def test_where_nothing_happens_the_usual_rules_are_said_never_to_have_acted(
    log: Path, tmp_path: Path
) -> None:
    report = replayed(log, tmp_path, act=None, ablate=True, limit=6_000)
    assert report.ablation is not None
    (variant,) = report.ablation.variants
    assert (variant.name, variant.verdict) == ("no actions", "never acted")


def turned(log: Path, path: Path) -> Path:
    """The log with three of ten negatives made positives from event AT on."""
    table = pq.read_table(log)
    label = table["label"].to_numpy().copy()
    label[AT:] |= np.random.default_rng(0).random(len(label) - AT) < 0.3
    pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", pa.array(label)), path)
    return path


def test_calibrating_makes_up_for_scores_that_mean_something_else_now(tmp_path: Path) -> None:
    pq.write_table(lived(3, EVENTS, EVENTS).events, tmp_path / "log.parquet")
    log = turned(tmp_path / "log.parquet", tmp_path / "turned.parquet")
    rule = Rule(on="calibration", do="calibrate", most=1)
    report = replayed(log, tmp_path / "out", act=[rule])
    (action,) = report.actions
    assert AT < action.event < AT + 3000
    assert action.worth is not None
    assert {one.metric: one.difference for one in action.worth.differences}["log_loss"] > 0.001
    again = replayed(log, tmp_path / "again", act=[rule], batch=333)
    assert again.metrics.all.log_loss == pytest.approx(report.metrics.all.log_loss, abs=1e-12)
    delayed = replayed(log, tmp_path / "late", act=[rule], label_delay="6h")
    assert [one.do for one in delayed.actions] == ["calibrate"]


def test_what_was_done_is_told(log: Path, acted: Report, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('learner = "gaussian"\nfloors = false\n[[act]]\non = "log_loss"\ncooldown = 2048\n')
    run("replay", log, "--out", tmp_path / "out", "--config", settings, "--rank-share", 0, "--quiet")
    said = json.loads(run("monitor", "--from", tmp_path / "out", "--json").stdout)
    assert [one["event"] for one in said["actions"]] == [one.event for one in acted.actions]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "learners gave back 100% of their certainty" in page
    assert "What acting on drift was worth" in page
    assert "earns its place" in page


def test_where_nothing_is_said_the_usual_rules_act(log: Path, acted: Report, tmp_path: Path) -> None:
    usual = replayed(log, tmp_path / "usual", act=None)
    assert [one.event for one in usual.actions] == [one.event for one in acted.actions]
    assert usual.config["act"] is None


def test_drift_begins_a_cycle_of_co_evolution(tmp_path: Path) -> None:
    """Half of the events are of items that nobody has seen from event 2,500 on."""
    draw, number = np.random.default_rng(0), np.arange(4500)
    item = np.where((number > 2500) & (draw.random(4500) < 0.5), 1000 + number, draw.integers(60, size=4500))
    columns = {"user": draw.integers(80, size=4500), "item": item, "time": number * 60, "category": item % 7}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    rule = Rule(on="new_item", do="cycle", most=1)
    for rules, cycles in (([rule], 1), ([], 0)):
        report = replayed(tmp_path / "log.parquet", tmp_path / str(cycles), act=rules, learner="coea")
        assert len(report.actions) == cycles
        assert report.coevolution is not None
        assert len(report.coevolution.cycles) == cycles


def test_who_cannot_follow_the_usual_rules_does_not_have_to(log: Path, tmp_path: Path) -> None:
    assert replayed(log, tmp_path, act=None, learner="popular", rank_share=0.1, limit=2000).actions == []


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"drift": False}, "act: expected drift = true"),
        ({"learner": "popular"}, "act: do = 'doubt', but popular cannot"),
        ({"act": [Rule(on="log_loss", do="cycle")]}, "act: do = 'cycle', but gaussian cannot"),
        ({"act": [Rule(on="log_loss", do="rollback")]}, "but a replay has no readers to be served"),
    ],
)
def test_rules_that_nobody_can_follow_are_refused(
    log: Path, tmp_path: Path, how: dict[str, object], says: str
) -> None:
    with pytest.raises(ebbtide.InputError, match=says):
        replayed(log, tmp_path, **how)
