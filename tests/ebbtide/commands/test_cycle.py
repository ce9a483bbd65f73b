"""Cycles of co-evolution through the public doors: a replay, its report, `ebbtide cycle`."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

import ebbtide
from ebbtide.alone import alone
from ebbtide.live.arriving import cycle_requests
from ebbtide.publishing.delivery import Delivery
from ebbtide.publishing.mirror import Mirror
from ebbtide.report import cycle_file
from ebbtide.report.cycles import moved, row
from ebbtide.report.report import read
from state.progress import CycleAnswer, encode
from state.store.in_memory import DictStore
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer
from tests.contracts.test_every_store import server as server
from tests.ebbtide.commands.test_status import trainer
from tests.ebbtide.typed import run
from tests.patience import PATIENCE_S, until
from tests.serving.test_answers import INFO, published

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


REFUSED = "version 1 serves, and none before it is kept"


@contextmanager
def at_work(asked: Callable[[], bytes | None], answer: Callable[[CycleAnswer], None]) -> Iterator[None]:
    """A trainer that begins a cycle whenever it is asked to, and goes back from none."""

    def work() -> None:
        number, what = (until(asked) or b"").decode().split()
        refused = what == "rollback"
        said = REFUSED if refused else "a cycle begins"
        answer(CycleAnswer(request=number, what=what, time_ms=0, said=said, refused=refused))

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        yield
        working.result()


def test_who_asks_a_trainer_by_its_folder_is_told_what_comes_of_it(out: Path, tmp_path: Path) -> None:
    refused = run("cycle", "run", tmp_path, check=2)
    assert f"no trainer is at work on {tmp_path}" in refused.stderr
    evolved = read(out / "run" / "report.json").coevolution
    assert evolved is not None

    def asked() -> bytes | None:
        found = cycle_requests.waiting(tmp_path)
        return None if found is None else " ".join(found).encode()

    def answer(said: CycleAnswer) -> None:
        cycle_requests.remove(tmp_path)
        cycle_file.write(tmp_path, msgspec.structs.replace(evolved, answers=[said]))

    with alone(tmp_path, "--checkpoint", "trainer learns"):
        assert "has no cycles, or has learned nothing yet" in run("cycle", "run", tmp_path, check=2).stderr
        cycle_file.write(tmp_path, evolved)
        with at_work(asked, answer):
            assert "a cycle begins" in run("cycle", "run", tmp_path).stdout
        with at_work(asked, answer):
            assert REFUSED in run("cycle", "rollback", tmp_path, check=2).stderr
    assert f"refused: {REFUSED}" in " ".join(run("cycle", "list", tmp_path).stdout.split())


def test_a_trainer_is_asked_by_the_store_that_it_publishes_to(server: EmbeddedServer, tmp_path: Path) -> None:
    url = f"unix://{server.ensure()}?run=asked"
    with RedisStore(url) as store:
        assert "no trainer is at work on" in run("cycle", "rollback", url, check=2).stderr
        published(store)
        store.put_status(encode(trainer()))
        assert "two-tower has no cycles" in run("cycle", "rollback", url, check=2).stderr
        store.put_info(msgspec.structs.replace(INFO, coevolution={}))

        def answer(said: CycleAnswer) -> None:
            store.put_status(encode(trainer(cycle_answers=[said])))

        with at_work(store.request, answer):
            assert REFUSED in run("cycle", "rollback", url, check=2).stderr
        asked = store.request()
        assert asked is not None
        cycle_requests.leave(tmp_path, asked)
        found = cycle_requests.waiting(tmp_path)
        assert found is not None
        assert found.what == "rollback"


def test_what_is_asked_by_way_of_the_store_is_handed_to_the_trainer_once(tmp_path: Path) -> None:
    store, asked = DictStore(), list[bytes]()
    delivery = Delivery(store, Mirror(tmp_path), on_request=asked.append)
    delivery.start()
    store.put_request(b"1 run")
    for trained in range(3):
        delivery.say(trainer(trained=trained))
        assert delivery.drain(PATIENCE_S)
    delivery.close()
    assert asked == [b"1 run"]
    assert store.request() is None


def test_the_command_lists_and_shows_them(out: Path) -> None:
    listed = run("cycle", "list", out / "run", "--json")
    cycles = json.loads(listed.stdout)["cycles"]
    shown = run("cycle", "show", out / "run", 1, "--json")
    assert json.loads(shown.stdout) == cycles[1]
    evolved = read(out / "run" / "report.json").coevolution
    assert evolved is not None
    in_rows = run("cycle", "list", out / "run").stdout.splitlines()
    assert max(map(len, in_rows)) <= 80
    for record in evolved.cycles:
        number, at, version, *_ = row(record)
        assert any(line.startswith(number) and at in line and version in line for line in in_rows)
        assert moved(record) in map(str.strip, in_rows)
    told = run("cycle", "show", out / "run").stdout
    assert "refused: 0 explored events" in told
    assert "topic0" in told
    unknown = run("cycle", "show", out / "run", 99, check=2)
    assert "no cycle 99 is kept" in unknown.stderr


def test_a_run_without_cycles_is_told_so(tmp_path: Path) -> None:
    ebbtide.replay("planted:users=10,items=10,events=200", tmp_path, learner="popular", label="none")
    refused = run("cycle", "list", tmp_path, check=2)
    assert "--learner coea" in refused.stderr
