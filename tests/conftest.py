"""Every test is deterministic: Hypothesis draws the same examples each time, and no clock fails a test.

Tests of the live path run on a real Apache Kafka and a real Valkey, which the suite starts and ends itself:
each of its processes (`pytest -n 3 --dist loadfile`) has its own, for tests kill them.
"""

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ebbtide.services.launch import started
from tests.patience import PATIENCE_S
from tests.valkeys import Cluster, cluster

settings.register_profile(
    "ebbtide",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # a clock: a busy machine draws slowly
)
settings.load_profile("ebbtide")


WAIT = {"services", "mortal", "guarded", "up", "quick", "opened"}
"""Fixtures of tests that wait for other processes."""
LONGEST = [
    *("contracts/test_every_learner", "running/test_acting", "report/test_comparisons", "tests/test_fuzz"),
    *("contracts/test_gaps_of_learners", "state/test_compiled", "systems/test_mmq"),
    *("simulated/test_bench_drift", "commands/test_replay", "coevolution/test_coevolution"),
    "flink/test_flink",
]
"""Files of tests that take long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first; after every second that waits one that computes: no core is idle."""
    files: dict[Path, bool] = {}
    for item in items:
        waits = bool(WAIT & set(getattr(item, "fixturenames", ())))
        files[item.path] = files.get(item.path, False) or waits
    waiting, computing = ([path for path in files if files[path] is waits] for waits in (True, False))
    waiting.sort(key=_place)
    computing.sort(key=_place)
    for n, path in enumerate(computing[: len(waiting) // 2]):
        waiting.insert(3 * n + 2, path)
    place = {path: n for n, path in enumerate(dict.fromkeys([*waiting, *computing]))}
    items.sort(key=lambda item: place[item.path])


def pytest_collection_finish() -> None:
    """What is loaded by now is not looked through for garbage, again and again, as long as tests run."""
    gc.freeze()


def _place(path: Path) -> int:
    """Among files that wait, or among those that compute."""
    name = f"{path.parent.name}/{path.stem}"
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


@pytest.fixture(scope="session", params=["json", "arrow"])
def form(request: pytest.FixtureRequest) -> str:
    """Each of the two in which events are on the wire."""
    return str(request.param)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real cluster of three Valkeys."""
    with cluster(tmp_path_factory.mktemp("cluster"), 3) as held:
        yield held


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of services that are up; ended when the tests are over, with nothing left behind."""
    folder = tmp_path_factory.mktemp("the services, für uns")
    command = [sys.executable, "-m", "ebbtide", "services"]
    subprocess.run(
        [*command, "up", "--dir", str(folder)], check=True, capture_output=True, timeout=PATIENCE_S
    )
    pids = [json.loads((folder / f"{name}.json").read_bytes())["pid"] for name in ("kafka", "store")]
    yield folder
    subprocess.run(
        [*command, "down", "--dir", str(folder)], check=True, capture_output=True, timeout=PATIENCE_S
    )
    assert [pid for pid in pids if started(pid)] == []


@pytest.fixture(scope="session")
def brokers(services: Path) -> str:
    """The address of the real broker."""
    return f"127.0.0.1:{json.loads((services / 'ports.json').read_bytes())['kafka']}"
