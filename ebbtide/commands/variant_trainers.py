"""The trainers of `ebbtide train --variant`: each is the same command with settings, checkpoints and a run of
its own, beside the one that has started it, and ends with it."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import typer

from ebbtide.commands.addresses import STORE
from state.arms import Arms
from state.errors import InputError
from state.store.embedded import variant_of

log = logging.getLogger("ebbtide.train")
FOLDER = "variants"
"""In the base's --checkpoint: the checkpoints of the others, by name."""
_END_WITH_PARENT = 1
"""PR_SET_PDEATHSIG: what was killed is gone on with, so whoever is left would be in the way."""


class VariantTrainers:
    """Start the variants with `with`; at its end they are told to end, or do by themselves, and waited for.

    `asked` is whether somebody has asked for the end.
    """

    def __init__(self, commands: Mapping[str, list[str]], store: str, asked: list[int]) -> None:
        """`store` is the base's; each publishes under its name there."""
        self._commands, self._store, self._asked = commands, store, asked
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._telling: list[threading.Thread] = []

    def fallen(self) -> str | None:
        """A variant that has ended, and not well."""
        return next((name for name, one in self._processes.items() if one.poll() not in (None, 0)), None)

    def __enter__(self) -> Self:
        for name, words in self._commands.items():
            log.info("variant %s: ebbtide train %s", name, " ".join(words))
            process = subprocess.Popen(
                [sys.executable, "-m", "ebbtide", "train", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**os.environ, STORE: variant_of(self._store, name)},  # it may have a password in it
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
            self._processes[name] = process
            self._telling.append(threading.Thread(target=_tell, args=(name, process), daemon=True))
            self._telling[-1].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises InputError where one has not ended well by itself."""
        fallen = self.fallen()
        if kind is not None or self._asked or fallen is not None:
            for process in self._processes.values():
                process.terminate()
        for process in self._processes.values():
            process.wait()
        for thread in self._telling:
            thread.join()
        fallen = fallen or (None if self._asked else self.fallen())
        if kind is None and fallen is not None:
            code = self._processes[fallen].returncode
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise InputError(
                f"--variant {fallen}: has ended ({how}); the same command goes on where all were"
            )


def commands(context: typer.Context, variants: Iterable[str], checkpoint: Path) -> dict[str, list[str]]:
    """The arguments of each variant's trainer: this one's, but for what is its own. Raises InputError."""
    pairs = dict(map(_pair, variants))
    Arms(pairs)
    own = {"checkpoint", "store", "config", "variant", "out", "as_json"}
    words: list[str] = []
    for option in context.command.params:
        value: Any = context.params.get(str(option.name))
        if option.name in own or value in (None, False, ()) or value == option.default:
            continue
        for word in value if isinstance(value, list | tuple) else [value]:
            words += [option.opts[0]] if word is True else [option.opts[0], str(word)]
    return {name: [*_own(name, config, checkpoint), *words] for name, config in sorted(pairs.items())}


def _own(name: str, config: Path, checkpoint: Path) -> list[str]:
    return ["--checkpoint", str(checkpoint / FOLDER / name), "--config", str(config)]


def _pair(text: str) -> tuple[str, Path]:
    name, equals, config = text.partition("=")
    if not equals or not Path(config).is_file():
        raise InputError(
            f"--variant {text!r}: expected NAME=FILE, a file of settings (docs/configuration.md)"
        )
    return name, Path(config)


def _tell(name: str, process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            log.info("variant %s: %s", name, line.rstrip())


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
