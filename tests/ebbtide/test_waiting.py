"""What is said while kernels are compiled, by processes that keep their own, and so have some to compile."""

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
import numpy as np
from rich.console import Console
from ebbtide import waiting
from state.keys import KeyMap

def work():
    kept = KeyMap()
    kept.reserve(4)
    kept.rows(np.array([7, 7, 9]))

terminal = Console(file=sys.stdout, force_terminal=sys.argv[1] in ("terminal", "hint"), width=200)
if sys.argv[1] == "python":
    kept = KeyMap()
    with waiting.hint():
        kept.rows(np.array([7]))
    with waiting.hint():
        kept.row(7)
        work()
elif sys.argv[1] == "hint":
    with waiting.hint(terminal):
        work()
        terminal.print("it goes on")
else:
    with waiting.status(terminal, "Opening it ...", quiet=sys.argv[1] == "quiet"), waiting.hint():
        work()
"""


def _said(where: str, cache: Path) -> tuple[str, str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", SCRIPT, where]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_a_pipe_gets_one_line_for_the_work_and_one_for_compiling(tmp_path: Path) -> None:
    compiling = "compiling kernels, once for this version of the sources: a minute or two ..."
    assert _said("pipe", tmp_path) == (f"Opening it ...\n{compiling}\n", "")
    assert _said("pipe", tmp_path) == ("Opening it ...\n", "")


def test_a_terminal_is_told_how_far_it_is(tmp_path: Path) -> None:
    said, errors = _said("terminal", tmp_path)
    assert "Opening it ... compiling kernels" in said
    assert re.search(r"kernels, once for this version of the sources: \d of at most \d", said)
    assert errors == ""


def test_from_python_a_terminal_has_a_line_that_moves_as_long_as_it_compiles(tmp_path: Path) -> None:
    said, errors = _said("hint", tmp_path)
    before, _, after = said.partition("it goes on")
    assert re.search(r"kernels, once for this version of the sources: \d of at most \d", before)
    assert after == "\n"
    assert errors == ""
    assert _said("hint", tmp_path) == ("it goes on\n", "")


def test_from_python_one_line_goes_to_the_error_stream(tmp_path: Path) -> None:
    said, errors = _said("python", tmp_path)
    assert (said, errors.count("\n")) == ("", 1)
    assert errors.startswith("compiling kernels")


def test_quiet_says_nothing(tmp_path: Path) -> None:
    assert _said("quiet", tmp_path) == ("", "")
