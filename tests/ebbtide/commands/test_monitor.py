"""`ebbtide monitor`: what has drifted, in a run's folder or on the live path; 4 while an alarm is open."""

import json
import time
from pathlib import Path

import pytest

from ebbtide.live import prometheus
from ebbtide.report import report as reports
from state.difference import Difference
from state.drift_alarm import DriftAction, DriftAlarm, EmbeddingHealth, Worth
from state.progress import TrainerStatus, encode
from state.store.redis import RedisStore
from tests.ebbtide.made_report import report
from tests.ebbtide.typed import run

OPEN = DriftAlarm(
    signal="log_loss",
    learner="stim",
    segment="scene",
    name="home",
    detector="adwin",
    event=12_800,
    time_ms=1_500_000_000_000,
    since_event=12_000,
    since_ms=1_499_999_000_000,
    before=0.5,
    after=0.56,
    worse=True,
    open=True,
)
HEALTH = EmbeddingHealth(
    event=16_384,
    time_ms=1_500_000_000_000,
    items=600,
    covered=1.0,
    norm=1.5,
    norm_95=2.0,
    width=32,
    effective_rank=21.5,
    centroid_shift=0.01,
    neighbour_churn=0.08,
)
OVER = DriftAlarm(
    signal="recall@10",
    learner="stim",
    detector="adwin",
    event=9_000,
    time_ms=1_490_000_000_000,
    before=0.3,
    after=0.2,
    worse=True,
    closed_event=10_000,
    closed_ms=1_491_000_000_000,
)

WORTH = Worth(
    events=10_240,
    differences=(Difference(metric="recall@10", value=0.2, difference=-0.012, low=-0.02, high=-0.004),),
    verdict="earns its place",
)
ACTED = DriftAction(
    do="doubt",
    share=1.0,
    event=9_216,
    time_ms=1_490_000_000_000,
    on="recall@10",
    alarm_event=9_000,
    before=0.3,
    after=0.2,
    worth=WORTH,
)


@pytest.mark.parametrize(("alarms", "code"), [([OPEN, OVER], 4), ([OVER], 0), ([], 0)])
def test_a_run_in_a_folder(tmp_path: Path, alarms: list[DriftAlarm], code: int) -> None:
    reports.write(report(drift=alarms, embeddings=[HEALTH]), tmp_path / "report.json")
    said = json.loads(run("monitor", "--from", tmp_path, "--json", check=code).stdout)
    assert len(said["drift"]) == len(alarms)
    assert [look["event"] for look in said["embeddings"]] == [16_384]
    shown = " ".join(run("monitor", "--from", tmp_path, check=code).stdout.split())
    if OPEN in alarms:
        assert "2 drift alarms, 1 open" in shown
        assert "! log loss of stim in scene home grew worse, from 0.500 to 0.560, after event 12,000" in shown
    if OVER in alarms:
        assert "recall@10 of stim grew worse, from 0.300 to 0.200, after event 9,000 (20 Mar 08:53)" in shown
        assert "over at event 10,000 (31 Mar 22:40)" in shown
    else:
        assert "no drift alarm" in shown


def status(alarms: list[DriftAlarm]) -> TrainerStatus:
    now_ms = int(time.time() * 1000)
    return TrainerStatus(
        trained=40,
        duplicates=0,
        version=7,
        offsets={},
        freshness_ms={"p99": 300.0},
        metrics={"log_loss": 0.56},
        checkpoint_ms=None,
        alarms=alarms,
        actions=[ACTED],
        embeddings=HEALTH,
        trouble=None,
        started_ms=now_ms,
        updated_ms=now_ms + 3_600_000,  # by its clock: never silent, however long a test takes
        pid=4242,
        host="here",
    )


def test_a_live_trainer_by_its_store_and_its_broker(services: Path, brokers: str) -> None:
    port = json.loads((services / "ports.json").read_bytes())["store"]
    url = f"redis://127.0.0.1:{port}/0?run=monitor"
    assert "no trainer has said anything" in run("monitor", "--from", url, "--once", check=2).stderr
    with RedisStore(url) as store:
        store.put_status(encode(status([OVER, OPEN])))
    said = json.loads(run("monitor", "--from", url, "--brokers", brokers, "--json", check=4).stdout)
    assert [alarm["open"] for alarm in said["drift"]] == [False, True]
    assert said["status"]["drift_open"] == 1
    assert said["status"]["metrics"] == {"log_loss": 0.56}
    assert said["embeddings"]["effective_rank"] == 21.5
    shown = " ".join(run("monitor", "--from", url, "--once", check=4).stdout.split())
    assert "embeddings use 21.5 of 32 directions, 100% of 600 items have one, 8% of neighbours" in shown
    assert "40 events learned, version 7" in shown
    assert "freshness p99, ms 300" in shown
    assert "in scene home grew worse" in shown
    assert "gave back 100% of their certainty after event 9,216" in shown
    assert "without that, over 10,240 events: recall@10 -0.0120 (-0.0200 to -0.0040)" in shown
    assert "1 alarm open" in run("status", "--store", url, "--brokers", brokers).stdout
    with RedisStore(url) as store:
        store.put_status(encode(status([OVER])))
    run("monitor", "--from", url, "--once", check=0)


def test_prometheus_has_what_is_open() -> None:
    families = {family.name: family for family in prometheus.of_trainer(status([OVER, OPEN]))}
    (sample,) = families["ebbtide_drift_open"].samples
    assert sample.labels == {"signal": "log_loss", "segment": "scene", "name": "home"}
    assert sample.value == pytest.approx(0.06)
    (done,) = families["ebbtide_drift_action_event"].samples
    assert (done.labels, done.value) == ({"do": "doubt", "signal": "recall@10"}, 9_216)
    (worth,) = families["ebbtide_drift_action_worth"].samples
    assert (worth.labels["metric"], worth.value) == ("recall@10", -0.012)


def test_a_store_that_is_none_and_a_folder_without_a_run_end_in_one_line(tmp_path: Path) -> None:
    nobody = "redis://127.0.0.1:9/0"
    for args in (("--from", nobody, "--once"), ("--from", tmp_path), ("--from", "http://x", "--once")):
        assert len(run("monitor", *args, check=2).stderr.splitlines()) == 1
