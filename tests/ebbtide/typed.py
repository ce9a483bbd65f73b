"""Commands as a user types them."""

import io
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout

import pytest

from ebbtide.commands.app import main
from tests.patience import PATIENCE_S

EBBTIDE = [sys.executable, "-m", "ebbtide"]


def typed(*args: object, check: int = 0) -> "subprocess.CompletedProcess[str]":
    """In a process of its own."""
    done = subprocess.run([*EBBTIDE, *map(str, args)], capture_output=True, text=True, timeout=PATIENCE_S)
    return _ended_with(check, done)


def run(*args: object, check: int = 0) -> "subprocess.CompletedProcess[str]":
    """In this process, which saves the seconds that one takes to begin: what it prints, and how it ends.

    What it raises and does not say in words, and so would be a traceback, is raised here.
    """
    command, out, err, code = ["ebbtide", *map(str, args)], io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        warnings.simplefilter("default")
        patch.setattr(sys, "argv", command)
        patch.setattr(sys, "stdin", io.StringIO())
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return _ended_with(check, subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue()))


def _ended_with(code: int, done: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done
