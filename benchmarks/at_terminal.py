"""A command as somebody sees it at a terminal: what it says and when, and what it costs."""

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from state.errors import InputError

_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|[\r\x07\x08]")
_LOOK_S = 0.05
_PATIENCE_S = 900.0
_COLUMNS = "120"


@dataclass(frozen=True, slots=True)
class Seen:
    """One command, from its start to its end."""

    cpu_s: float
    """Of the process and what it has waited for."""
    cpu_to_sign_s: float | None
    """Until what it said first matched the sign."""
    wall_s: float
    silence_s: float
    """The longest time in which nothing was written."""
    before: str
    """The last words before that; nothing at the beginning."""
    silent_cpu_s: float
    """The most that was computed between two words: on an idle machine the silence of what computes."""


def seen(
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
    sign: bytes | None = None,
    stop_after_s: float | None = None,
) -> Seen:
    """Run `ebbtide WORDS` at a pseudo-terminal; Ctrl-C ends it `stop_after_s` after it has begun to speak.

    `sign` is what is looked for in its output. Raises InputError where it fails.
    """
    env = {**os.environ, "COLUMNS": _COLUMNS, "TERM": "xterm", **(environment or {})}
    began_s = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "ebbtide", *words], env)
    output, heard_s, silence_s, before = b"", began_s, 0.0, ""
    heard_cpu_s = silent_cpu_s = 0.0
    sign_s, spoke_s = None, None
    while True:
        ready, _, _ = select.select([terminal], [], [], _LOOK_S)
        now_s = time.monotonic()
        if now_s - began_s > _PATIENCE_S:
            os.kill(pid, signal.SIGKILL)
        if stop_after_s is not None and spoke_s is not None and now_s - spoke_s > stop_after_s:
            os.write(terminal, b"\x03")
            stop_after_s = None
        if not ready:
            continue
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:  # the other side has closed
            chunk = b""
        if now_s - heard_s > silence_s:
            silence_s, before = now_s - heard_s, _last_words(output)
        cpu_s = max(_cpu_s(pid), heard_cpu_s)
        silent_cpu_s = max(silent_cpu_s, cpu_s - heard_cpu_s)
        heard_s, heard_cpu_s = now_s, cpu_s
        if not chunk:
            break
        spoke_s = spoke_s or now_s
        output += chunk
        if sign is not None and sign_s is None and re.search(sign, output):
            sign_s = cpu_s
    os.close(terminal)
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise InputError(f"ebbtide {' '.join(words)} ended with exit status {code}: {_last_words(output)}")
    wall_s = time.monotonic() - began_s
    return Seen(used.ru_utime + used.ru_stime, sign_s, wall_s, silence_s, before, silent_cpu_s)


def _last_words(output: bytes) -> str:
    lines = [line.strip() for line in _ESCAPES.sub(b"\n", output[-4096:]).split(b"\n")]
    return next((line.decode(errors="replace") for line in reversed(lines) if len(line) > 2), "")[:60]


def _cpu_s(pid: int) -> float:
    """CPU seconds so far, of a process that has not been waited for; nothing where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
