"""Cycles of co-evolution through the public doors: a replay, its report, `ebbtide cycle`."""

import json
from pathlib import Path

import pytest

import ebbtide
from tests.ebbtide.typed import run

LOG = "planted:users=40,items=60,events=4000"
SETTINGS = """
learner = "coea"
floors = false
[learners.coea]
most_clusters = 16
codes = [4, 2]
lag = 128
[learners.coea.cycle]
every = 512
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coea")
    (folder / "coea.toml").write_text(SETTINGS)
    ebbtide.replay(LOG, folder / "run", folder / "coea.toml", rank_share=0.05)
    return folder


def test_the_report_says_what_each_cycle_moved_and_why_it_was_refused(out: Path) -> None:
    said = json.loads((out / "run" / "report.json").read_text())["coevolution"]
    assert said["clusters_by"] == "category"
    assert {one["name"] for one in said["clusters"]} >= {"other"}
    assert sum(one["items"] for one in said["clusters"]) <= 60
    assert [one["number"] for one in said["cycles"]] == list(range(len(said["cycles"])))
    assert len(said["cycles"]) >= 3
    assert said["serving"] == 1
    refused = said["cycles"][-1]
    assert refused["verdict"]["reason"] == "0 explored events of held-back users, 1,000 are needed"
    assert refused["lessons"] > 0
    assert refused["cpu_seconds"] > 0
    page = (out / "run" / "report.html").read_text()
    assert "Co-evolution" in page
    assert [one["events"] for one in said["over_time"]] == [1024] * 3
    for figure in ("Novelty", "Serendipity", "Lock-in"):
        assert f"{figure} over time" in page
    assert "cycle 1: refused" in page
    assert "Confirmation gap" not in page, "nothing was explored"


def test_a_trainer_is_asked_by_its_folder() -> None:
    refused = run("cycle", "run", "redis://127.0.0.1:9/0", check=2)
    assert "no trainer is at work on redis://127.0.0.1:9/0" in refused.stderr


def test_the_command_lists_and_shows_them(out: Path) -> None:
    listed = run("cycle", "list", out / "run", "--json")
    cycles = json.loads(listed.stdout)["cycles"]
    shown = run("cycle", "show", out / "run", 1, "--json")
    assert json.loads(shown.stdout) == cycles[1]
    assert "refused: 0 explored events" in run("cycle", "show", out / "run").stdout
    unknown = run("cycle", "show", out / "run", 99, check=3)
    assert "no cycle 99 is kept" in unknown.stderr


def test_a_run_without_cycles_is_told_so(tmp_path: Path) -> None:
    ebbtide.replay("planted:users=10,items=10,events=200", tmp_path, learner="popular", label="none")
    refused = run("cycle", "list", tmp_path, check=2)
    assert "--learner coea" in refused.stderr
