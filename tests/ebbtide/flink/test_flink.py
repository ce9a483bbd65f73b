"""The event path on Flink: what one engine makes of the same messages, once each, whatever is killed.

Real processes, out of `.venv-flink`: `make test-flink`; the test that kills them: `make chaos-flink`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from ebbtide import api
from ebbtide.flink import cluster, runtime, saved
from ebbtide.flink.rest import JobManager
from ebbtide.services.jars import FLINK, pinned
from replay.faults import PlannedFault, misdated, rough
from streams.kafka.client import admin, ensure_topic
from streams.schema import concat_events
from tests.chaos.checks import check_partitions
from tests.chaos.group import Group
from tests.chaos.sender import Sender
from tests.ebbtide.workers import Live
from tests.patience import PATIENCE_S, until

EVENTS, SECONDS, PARTITIONS = 3000, 60.0, 4
ROOT = Path(__file__).parents[3]


@pytest.fixture
def live(brokers: str, tmp_path: Path, request: pytest.FixtureRequest) -> Live:
    return Live(brokers, f"f{os.getpid()}-{request.node.name.replace('_', '-')[:20]}", tmp_path, "flink")


@pytest.fixture
def cluster_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "cluster"
    yield folder
    cluster.down(folder)


def flink(*arguments: object) -> str:
    """What a command says; it must end well."""
    command = [sys.executable, "-m", "ebbtide", "flink", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@contextlib.contextmanager
def kept(command: list[str], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A command of Flink's that stays; killed at the end, if it is still there."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "ebbtide", "flink", *command], stdout=said, stderr=said
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def kill(folder: Path, name: str) -> None:
    pid = msgspec.json.decode((folder / f"{name}.json").read_bytes())["pid"]
    os.kill(pid, signal.SIGKILL)


def python_worker(folder: Path) -> int:
    """A worker of the first task manager: the newest of its descendants that runs our function.

    By parents and times of start: process numbers begin anew some day.
    """
    above = psutil.Process(msgspec.json.decode((folder / "taskmanager-0.json").read_bytes())["pid"])
    began = dict[int, float]()
    for one in above.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            if "pyflink.fn_execution.beam" in " ".join(one.cmdline()):
                began[one.pid] = one.create_time()
    return max(began, key=began.__getitem__)


@pytest.mark.flink
def test_a_job_loses_and_doubles_nothing_whatever_is_killed(live: Live, cluster_folder: Path) -> None:
    """A worker, a task manager, the job manager, which forgets it; then it goes on in two instead of one."""
    ensure_topic(live.brokers, live.events, PARTITIONS)
    log = api.open_log(f"planted:users=60,items=80,events={EVENTS},places=8")
    wrong = [
        PlannedFault(at_s=5.0, target="sender", what="ahead", lasts_s=2.0, which=0),
        PlannedFault(at_s=14.0, target="sender", what="seconds", lasts_s=2.0, which=1),
    ]
    events, wrong_B = misdated(rough(concat_events(list(log.batches(1000))), 7), wrong, SECONDS)
    sender = Sender(live.brokers, live.events, PARTITIONS)
    group = Group(live, cluster_folder, "", wrong, sender)
    sending = threading.Thread(target=sender.produce, args=(events, SECONDS))

    def more(count: int = 100) -> None:
        before = sum(one.events for one in live.progress().values())
        live.until(min(before + count, len(events)))

    def submitting(*options: object) -> list[str]:
        return ["submit", *live.command("--jobmanager", address, *options)[5:]]

    def up() -> None:
        assert flink("up", "--dir", cluster_folder) == address

    address = flink("up", "--dir", cluster_folder)
    sending.start()
    with kept(submitting("--keep"), live.folder / "keep.log") as keeping:
        more()
        os.kill(python_worker(cluster_folder), signal.SIGKILL)
        more()
        kill(cluster_folder, "taskmanager-0")
        up()
        more()
        kill(cluster_folder, "jobmanager")
        up()
        until(lambda: [one.state for one in JobManager(address).jobs()], ["RUNNING"].__eq__)
        more()
        where = ("--jobmanager", address, "--group", live.name, "--checkpoints", live.checkpoints)
        kept_apart = Path(flink("savepoint", *where, "--to", live.folder / "kept"))
        assert saved.owner_of(kept_apart).group == live.name
        assert Path(flink("stop", *where)).parent == live.checkpoints / "savepoints"
        assert [one.state for one in JobManager(address).jobs()] == ["FINISHED"]
        assert keeping.wait(PATIENCE_S) == 0
    job = flink(*submitting("--parallelism", 2))
    sending.join()
    examples = check_partitions(group, events, wrong_B)
    columns = (examples.partition_B, examples.offset_B, examples.index_B)
    identities = set(zip(*(column.tolist() for column in columns), strict=True))
    assert len(identities) == len(examples) > EVENTS * 0.9
    until(lambda: JobManager(address).state(job), lambda state: state == "RUNNING")


@pytest.mark.parametrize(("form", "parallelism"), [("json", 1), ("arrow", 2)])
def test_what_flink_makes_of_a_log_is_what_replay_makes(brokers: str, form: str, parallelism: int) -> None:
    log = f"planted:users=60,items=80,events={EVENTS},places=8"
    how = ("--brokers", brokers, "--format", form, "--parallelism", parallelism)
    found = json.loads(flink("verify", log, *how, "--json"))
    assert found == {"events": EVENTS, "examples": EVENTS, "equal": EVENTS, "lost": 0, "doubled": 0}
    with contextlib.closing(admin(brokers)) as asked:
        assert not [topic for topic in asked.list_topics() if topic.startswith("ebbtide-verify-")]


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (
            ("--checkpoints", "/proc/none"),
            {},
            "--checkpoints /proc/none: expected a folder that can be written",
        ),
        (("--brokers", "127.0.0.1:1"), {}, "127.0.0.1:1"),
        ((), {"EBBTIDE_MAVEN": "http://127.0.0.1:1", "EBBTIDE_DATA": "spoiled"}, "Flink's Kafka connector"),
        (("--from", "none"), {}, "--from none: expected a whole checkpoint or savepoint, got none"),
    ],
    ids=["a folder that cannot be written", "no broker", "a jar that is not the pinned one", "no savepoint"],
)
def test_what_a_job_cannot_begin_with_is_one_line(
    live: Live, options: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    jars = live.folder / "spoiled" / FLINK.folder
    jars.mkdir(parents=True)
    for jar in pinned(FLINK):
        (jars / jar.name).write_bytes(b"something else")
    ended = subprocess.run(
        [*live.command(), *options],
        env={**os.environ, **environment},
        cwd=live.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 2, ended.stderr
    *_, line = ended.stderr.splitlines()
    assert line.startswith("ebbtide: ")
    assert said in line
    assert "Traceback" not in ended.stderr


def test_partitions_are_spread_evenly_over_any_number_of_instances(tmp_path: Path) -> None:
    """And those that are added leave the keys of the others as they are."""
    told = """
import json, sys
from ebbtide.flink import runtime
from pathlib import Path
runtime.prepare(Path(sys.argv[1]))
from pyflink.java_gateway import get_gateway
from streams.engines.flink import spread_keys
jvm = get_gateway().jvm
selector = jvm.org.apache.flink.streaming.api.functions.python.KeyByKeySelector()
row = jvm.org.apache.flink.types.Row(1)
def instance(key, parallelism):
    row.setField(0, key)
    of = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignKeyToParallelOperator
    return of(selector.getKey(row), 128, parallelism)
keys = {partitions: spread_keys(range(partitions)).values() for partitions in (4, 12, 16, 32, 150)}
found = {
    f"{partitions} {parallelism}": [instance(key, parallelism) for key in keys[partitions]]
    for partitions, parallelism in ((4, 2), (4, 4), (16, 8), (32, 32), (12, 3), (150, 4))
}
print(json.dumps({"instances": found, "keys": [list(keys[n]) for n in (4, 150)]}))
"""
    python = Path(sys.prefix).parent / runtime.ENVIRONMENT / "bin" / "python"
    ended = subprocess.run(
        [python, "-c", told, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    for name, instances in found["instances"].items():
        partitions, parallelism = map(int, name.split())
        counts = Counter(instances)
        assert len(counts) == parallelism
        assert max(counts.values()) <= -(-partitions // parallelism) + 1, name
    few, many = found["keys"]
    assert many[:4] == few
    assert len(set(many)) == 150
