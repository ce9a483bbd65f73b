"""`cycles.json` beside a live trainer's checkpoints: what has evolved, for people to read."""

from pathlib import Path

import msgspec

from ebbtide.report.report import replace_file
from learners.coevolution.record import Coevolution
from state.errors import InputError

CYCLES = "cycles.json"


def read(folder: Path) -> Coevolution:
    """Raises InputError where it cannot be read."""
    try:
        return msgspec.json.decode((folder / CYCLES).read_bytes(), type=Coevolution)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(
            f"{folder / CYCLES}: expected what `ebbtide train` writes there ({error})"
        ) from error


def write(folder: Path, evolved: Coevolution) -> None:
    """Whole or not at all."""
    replace_file(folder / CYCLES, msgspec.json.format(msgspec.json.encode(evolved), indent=2) + b"\n")
