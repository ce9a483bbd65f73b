"""`ebbtide up`: what is killed is started again, every event counts once, and nothing is left behind."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from ebbtide import config
from ebbtide.services import processes
from ebbtide.services.launch import started
from ebbtide.supervising import child
from ebbtide.supervising.child import Child
from ebbtide.supervising.folder import PARTS, Folder
from ebbtide.supervising.plan import Addresses, Pace, SentLog, UpPlan
from state.errors import InputError
from tests.ebbtide.typed import EBBTIDE, run
from tests.patience import PATIENCE_S, until
from tests.processes import processes_of

T = TypeVar("T")
EVENTS, PAST, RATE = 700, 300, 20.0


class Up:
    """One `ebbtide up`; `ready` waits for the moment at which it says where the page is."""

    def __init__(self, folder: Path, *options: object) -> None:
        self.folder = Folder(folder)
        command = [*EBBTIDE, "up", "--dir", str(folder), "--port", "0", "--json", *map(str, options)]
        self.log = folder.with_suffix(".err")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.url = self.key = ""

    def ready(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            line = said.readline()
        assert line, self.said()
        self.url, self.key = json.loads(line)["url"], json.loads(line)["key"]

    def until(self, look: Callable[[], T], enough: Callable[[T], object] = bool) -> T:
        """As `tests.patience.until`, as long as it runs."""

        def looked() -> T:
            assert self.process.poll() is None, self.said()
            return look()

        return until(looked, enough)

    def kill(self, part: str) -> None:
        """With a signal that cannot be caught; until there is another."""
        killed = self.pid(part)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        self.until(lambda: self.pid(part) not in (None, killed))

    def said(self) -> str:
        return self.log.read_text()

    def records(self) -> dict[str, Path]:
        """Where each part says which process it is."""
        services = {name: self.folder.services / f"{name}.json" for name in ("kafka", "store")}
        return {part: self.folder.record(part) for part in PARTS} | services

    def pid(self, part: str) -> int | None:
        record = processes.read(self.records()[part])
        return record.pid if record is not None and record.alive else None

    def guard(self) -> int | None:
        """The process that looks after what is left where this one is killed."""
        for pid in processes_of(self.folder.path):
            with suppress(psutil.NoSuchProcess):  # it has ended since
                if "ebbtide.supervising.guard" in psutil.Process(pid).cmdline():
                    return pid
        return None

    def running(self) -> list[int]:
        """Processes that this one has started, whether their records are still there or not."""
        recorded = [pid for part in self.records() if (pid := self.pid(part)) is not None]
        return sorted({*recorded, *processes_of(self.folder.path)} - {self.process.pid})

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def learned(self) -> int | None:
        try:
            live = self.ask("/status")["live"]
        except OSError:  # the server was killed
            return None
        return None if live is None else int(live["trained"])


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clicks by columns of its own."""
    path = tmp_path_factory.mktemp("log") / "clicks.csv"
    rows = [f"u{n % 23},i{n * 7 % 31},{1_500_000_000 + 600 * n}" for n in range(EVENTS)]
    path.write_text("\n".join(["who,what,when", *rows, "u1,i1,never"]) + "\n")
    return path


def sent(up: Up) -> int:
    """Events of the log that are noted as sent."""
    return int(json.loads(up.folder.sent.read_text())["done"]) if up.folder.sent.exists() else 0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up") / "here, für uns"
    folder.mkdir()
    maps = ["--map", "user=who", "--map", "item=what", "--map", "time=when"]
    made = Up(folder, "--log", log, *maps, "--rate", RATE, "--history", PAST)
    made.until(lambda: sent(made) >= PAST)
    made.kill("send")  # now, since in the end it is done
    made.ready()
    yield made
    made.process.kill()
    made.process.wait()
    until(lambda: not made.running())


def test_it_says_the_commands_that_it_stands_for_and_a_second_one_where_the_first_is(up: Up) -> None:
    said = up.said()
    for command in ("services up", "ingest --brokers", "replay", "train --brokers", "serve --port"):
        assert f" ebbtide {command}" in said
    second = run("up", "--dir", up.folder.path, check=2)
    assert f"is up already at {up.url} (process {up.process.pid})" in second.stderr


def test_whatever_is_killed_is_started_again_and_every_event_counts_once(up: Up) -> None:
    for part in ("store", "kafka", "ingest", "train", "serve"):
        up.kill(part)
    guard = up.guard()
    assert guard is not None
    os.kill(guard, signal.SIGKILL)
    up.until(lambda: up.guard() not in (None, guard))
    up.until(up.learned, lambda learned: learned == EVENTS)
    up.until(lambda: up.ask("/status")["ready"])
    at = re.search(r"Kafka at (\S+), Valkey at (\S+)", up.said())
    assert at is not None
    found = json.loads(run("status", "--brokers", at[1], "--store", at[2], "--json").stdout)
    assert found["events_in"] - found["duplicates"] == found["examples_out"] == found["trained"] == EVENTS
    assert found["dead_letters"] == {}
    for part in ("send", "ingest", "train", "serve"):
        assert re.search(rf"{part} +has ended by SIGKILL; it is started again", up.said())
    assert re.search(r"services +Valkey has ended; it is started again", up.said())


def test_what_it_serves_takes_events_and_is_of_now(up: Up) -> None:
    event = json.dumps({"user": "me", "item": "i3", "time": up.ask("/status")["now_ms"]}).encode()
    asked = urllib.request.Request(up.url + "/events", event, {"authorization": f"Bearer {up.key}"})
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
        assert answer.status == 202
    up.until(up.learned, lambda learned: learned == EVENTS + 1)
    status = up.ask("/status")
    assert status["now_ms"] - status["live"]["event_time_ms"] < 3_600_000
    assert re.search(rf"send +1 of {EVENTS + 1} rows are dead letters \(1 x ", up.said())
    assert {*status["live"]["floor"]} == {*status["live"]["metrics"]} >= {"recall@10"}


def test_killed_itself_it_leaves_nothing_behind_and_goes_on_where_it_was_until_ctrl_c(
    up: Up, log: Path
) -> None:
    started_by_it = up.running()
    assert len(started_by_it) >= 6
    up.process.kill()
    up.process.wait()
    until(lambda: not any(started(pid) for pid in started_by_it))
    again = Up(up.folder.path)
    again.ready()
    assert again.until(again.learned, lambda learned: learned is not None) == EVENTS + 1
    started_by_it = again.running()
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(PATIENCE_S) == 0
    assert not any(started(pid) for pid in started_by_it)
    ended = re.findall(r"(\w+) +ended\n", again.said())
    assert ended == [part for part in (*PARTS, "services") if part in ended]
    assert {"ingest", "train", "serve", "services"} <= {*ended}
    assert again.folder.holder() is None


def test_the_address_of_the_store_is_in_no_command_as_it_may_have_a_password_in_it(tmp_path: Path) -> None:
    at = Addresses("127.0.0.1:1", "redis://somebody:secret@127.0.0.1:2/0")
    plan = UpPlan(
        folder=Folder(tmp_path),
        sent=SentLog(log="a.csv"),
        pace=Pace(1.0, None),
        port=1,
        given=at,
        variants=("b=b.toml",),
    )
    parts = dict(plan.parts(at))
    assert list(parts) == ["ingest", "send", "train", "serve"]
    assert not [word for words in parts.values() for word in words if "secret" in word]
    assert plan.environment(at)["EBBTIDE_STORE"] == at.store


def test_what_ends_at_once_every_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        child, "EBBTIDE", (sys.executable, "-I", "-S", "-c", "raise SystemExit('no such thing')")
    )
    folder, said = Folder(tmp_path), []
    with folder.held():
        there = asyncio.Event()
        there.set()
        part = Child(folder, "train", ["train"], lambda name, line: said.append(line), there, {})
        with pytest.raises(InputError, match=r"train has ended 5 times .* with exit code 1: no such thing"):
            asyncio.run(part.keep())
    assert said.count("has ended with exit code 1; it is started again") == 4


def test_variants_are_learned_and_served_beside(tmp_path: Path) -> None:
    plan = UpPlan(Folder(tmp_path), None, Pace(1.0, None), 8080, None, ("b=/x/b.toml",))
    parts = dict(plan.parts(Addresses("broker:1", "redis://store:1/0")))
    assert parts["train"][-2:] == ["--variant", "b=/x/b.toml"]
    assert parts["serve"][-2:] == ["--variant", "b"]


def test_what_learns_is_said_once_and_explores_where_it_has_cycles(tmp_path: Path) -> None:
    plan = UpPlan(Folder(tmp_path), None, Pace(1.0, None), 8080, None, learner="coea")
    plan.folder.path.mkdir(exist_ok=True)
    for learner in ("coea", "coea", None):
        replace(plan, learner=learner).prepare("a key")
        kept = config.read(plan.folder.settings)
        assert (kept.learner, kept.floors, kept.learners) == ("coea", True, {"coea": {"explore": True}})
    with pytest.raises(InputError, match=r"--learner popular: here learns coea .* another --dir"):
        replace(plan, learner="popular").prepare("a key")
    plan.folder.settings.unlink()
    with pytest.raises(InputError, match="no learner is called 'nobody'"):
        replace(plan, learner="nobody").prepare("a key")
    replace(plan, learner="popular").prepare("a key")
    assert config.read(plan.folder.settings).learners == {}


def test_what_cannot_be_is_said_in_one_line(tmp_path: Path, log: Path) -> None:
    for wrong, says in (
        (("nowhere.csv",), "no such file"),
        ((log, "--map", "user=nobody"), "there are who, what, when"),
    ):
        refused = run("up", "--dir", tmp_path, "--log", *wrong, check=2)
        assert says in refused.stderr.splitlines()[-1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        maps = [word for pair in ("user=who", "item=what", "time=when") for word in ("--map", pair)]
        refused = run("up", "--dir", tmp_path, "--log", log, *maps, "--port", port, check=2)
    assert f"--port {port}: cannot listen there" in refused.stderr.splitlines()[-1]
    refused = run("up", "--dir", tmp_path, "--brokers", "127.0.0.1:1", check=2)
    assert "expected both, or neither" in refused.stderr
    refused = run("up", "--dir", tmp_path, "--log", "planted:users=5,items=5,events=50", check=2)
    assert "another log" in refused.stderr
