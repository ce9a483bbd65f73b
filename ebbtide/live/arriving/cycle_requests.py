"""What people ask of a trainer that runs: a file in the folder of its checkpoints, taken up within a second.

The trainer writes it into its journal before it does it, so that one that was killed does it again between
the same two micro-batches; a request has a number of its own, so that it is done once.
"""

import secrets
from pathlib import Path
from typing import Literal, NamedTuple

from ebbtide.report.report import replace_file

What = Literal["run", "rollback"]
_FILE = "cycle-request"


class Request(NamedTuple):
    identifier: str
    what: str


def ask(folder: Path, what: What) -> Request:
    """Leave a request, in place of one that was not taken up."""
    made = Request(secrets.token_hex(8), what)
    replace_file(folder / _FILE, " ".join(made).encode())
    return made


def waiting(folder: Path) -> Request | None:
    """The request that is there, if any; what is none is removed."""
    try:
        said = (folder / _FILE).read_text().split()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    if len(said) != 2 or said[1] not in ("run", "rollback"):
        remove(folder)
        return None
    return Request(*said)


def remove(folder: Path) -> None:
    """It was written into the journal."""
    (folder / _FILE).unlink(missing_ok=True)
