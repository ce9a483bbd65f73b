"""A Python worker ends with the JVM that it works for, which started it through a shell."""

import subprocess
import sys

import psutil
import pytest

from tests.patience import PATIENCE_S

WORKER = """
from streams.engines.orphan import end_with_jvm
import threading
end_with_jvm()
print("ready", flush=True)
threading.Event().wait()
"""
JVM = """
import subprocess, sys
subprocess.run(["sh", "-c", 'shift; "$@" 2>&1 | cat', "sh", "-", sys.executable, "-c", sys.argv[1]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker is left to end by itself")
def test_a_worker_whose_jvm_was_killed_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", JVM, WORKER], stdout=subprocess.PIPE) as jvm:
        assert jvm.stdout is not None
        assert jvm.stdout.readline() == b"ready\n"
        [shell] = psutil.Process(jvm.pid).children()
        left = shell.children()
        assert len(left) == 2
        jvm.kill()
        gone, _ = psutil.wait_procs([shell, *left], PATIENCE_S)
        assert set(gone) == {shell, *left}
