"""What people ask of a trainer that runs: a file in the folder of its checkpoints, taken up within a second.

Whoever only reaches the store it publishes to leaves a request there; the trainer makes it such a file. It
writes the request into its journal before it does it, so that one that was killed does it again between the
same two micro-batches; a request has a number of its own, so that it is done once. What became of it is told
under that number with the cycles, beside the checkpoints and in the store, and in the trainer's status.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ebbtide.report.report import replace_file
from state.errors import InputError
from state.progress import CycleAnswer, trainer_status
from state.store.contract import EmbeddingStore

Action = Literal["run", "rollback"]
_FILE = "cycle-request"
SILENT_MS = 30_000
"""Since a trainer said something, after which it counts as gone; it says something every second."""
ANSWER_S = 5.0
"""That whoever asks waits for what comes of it."""
_LOOK_S = 0.1


class Request(NamedTuple):
    identifier: str
    what: str


def ask(folder: Path, action: Action) -> Request:
    """Leave a request, in place of one that was not taken up."""
    made = _made(action)
    leave(folder, _encoded(made))
    return made


def ask_by(store: EmbeddingStore, action: Action) -> Request:
    """Leave a request with the store that a trainer publishes to, likewise.

    Raises InputError where none is at work there, or its learner has no cycles.
    """
    info, encoded = store.info(), store.status()
    silent_ms = None if encoded is None else round(time.time() * 1000) - trainer_status(encoded).updated_ms
    if info is None or silent_ms is None or silent_ms > SILENT_MS:
        raise InputError(f"cycle {action}: no trainer is at work on {store}; start `ebbtide train` there")
    if info.coevolution is None:
        raise InputError(f"cycle {action}: {info.learner} has no cycles; `ebbtide train --learner coea` has")
    made = _made(action)
    store.put_request(_encoded(made))
    return made


def answers_in(store: EmbeddingStore) -> Sequence[CycleAnswer]:
    """What became of what the trainer was asked that publishes there."""
    status = store.status()
    return [] if status is None else trainer_status(status).cycle_answers


def answer(
    made: Request, answers: Callable[[], Sequence[CycleAnswer]], patience_s: float = ANSWER_S
) -> CycleAnswer | None:
    """What became of a request, as soon as `answers` has it; None where it has not by then."""
    deadline_s = time.monotonic() + patience_s
    while True:
        answered = next((told for told in answers() if told.request == made.identifier), None)
        if answered is not None or time.monotonic() > deadline_s:
            return answered
        time.sleep(_LOOK_S)


def leave(folder: Path, encoded: bytes) -> None:
    """A request as a store had it, for the trainer of that folder."""
    replace_file(folder / _FILE, encoded)


def waiting(folder: Path) -> Request | None:
    """The request that is there, if any; what is none is removed."""
    try:
        words = (folder / _FILE).read_text().split()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    if len(words) != 2 or words[1] not in ("run", "rollback"):
        remove(folder)
        return None
    return Request(*words)


def remove(folder: Path) -> None:
    """It was written into the journal."""
    (folder / _FILE).unlink(missing_ok=True)


def _made(action: Action) -> Request:
    return Request(secrets.token_hex(8), action)


def _encoded(made: Request) -> bytes:
    return " ".join(made).encode()
