"""A checkpoint is what there was when it was begun, or a reason why there is none."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ebbtide.live import snapshots
from ebbtide.live.snapshots import Saver
from state import checkpoint
from state.tree import Tree

SLOW = """
import signal, sys
from pathlib import Path
from ebbtide.live.snapshots import Saver

def tree():
    print(end="begun", flush=True)
    signal.pause()

Saver(Path(sys.argv[1])).start(7, tree)
signal.pause()
"""


def _never() -> Tree:
    signal.pause()
    return {}


def test_what_is_learned_meanwhile_is_not_in_it(tmp_path: Path) -> None:
    saver, weight_N = Saver(tmp_path), np.zeros(1000)
    go_on, told = os.pipe()
    saver.start(7, lambda: {"waited": len(os.read(go_on, 1)), "weight_N": weight_N})
    weight_N += 1
    assert saver.busy
    assert not saver.ended()
    os.write(told, b"!")
    assert saver.ended(wait=True)
    assert not saver.ended()
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[0] == 7
    assert not found[1]["weight_N"].any()
    os.close(go_on)
    os.close(told)


def test_a_lock_that_another_thread_holds_is_no_trouble_to_learning(tmp_path: Path) -> None:
    """Only the thread that begins a checkpoint is in the copy; what it needs of others it takes before."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    saver = Saver(tmp_path)
    saver.start(1, lambda: {"threads": threading.active_count()})
    assert saver.ended(wait=True)
    release.set()
    thread.join()
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[1]["threads"] == 1


def test_a_copy_that_is_killed_is_a_reason(tmp_path: Path) -> None:
    saver = Saver(tmp_path)
    saver.start(7, lambda: os.kill(os.getpid(), signal.SIGKILL) or {})  # type: ignore[func-returns-value]
    with pytest.raises(OSError, match="ended by SIGKILL"):
        saver.ended(wait=True)
    assert not saver.busy
    saver.start(8, lambda: {"weight": 1})
    assert saver.ended(wait=True)


def test_one_that_takes_forever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "LONGEST_S", 0.0)
    saver = Saver(tmp_path)
    saver.start(7, _never)
    with pytest.raises(OSError, match="ended by SIGKILL"):
        saver.ended(wait=True)


def test_no_process_to_be_had_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)  # a limit on processes does not bind the superuser
    saver = Saver(tmp_path)
    saver.start(7, dict)
    assert saver.busy
    with pytest.raises(OSError, match="temporarily unavailable"):
        saver.ended()
    assert not saver.busy


def test_a_fault_of_ours_is_not_passed_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    saver = Saver(tmp_path)
    saver.start(7, lambda: {"share": 1 / 0})
    with pytest.raises(RuntimeError, match="what its process said is above"):
        saver.ended(wait=True)
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the copy ends by itself")
def test_a_killed_trainer_takes_its_copy_along_and_what_was_half_written_is_removed(tmp_path: Path) -> None:
    """The pipe is closed once both processes are gone."""
    with subprocess.Popen([sys.executable, "-c", SLOW, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"begun"
        (tmp_path / f".writing-{process.pid}").mkdir()
        process.kill()
        assert process.stdout.read() == b""
    Saver(tmp_path)
    assert not list(tmp_path.iterdir())
