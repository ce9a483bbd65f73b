"""What commands print besides tables: JSON for scripts, and the log lines of those that run on."""

import json
import logging
import os
import sys
from typing import TextIO

VERBOSE = "EBBTIDE_VERBOSE"
_OURS = "ebbtide"


def print_json(value: object) -> None:
    """One value, to be read by people, too."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_line(value: object) -> None:
    """One of many values: a line of JSON, at once."""
    print(json.dumps(value), flush=True)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to the error stream of the moment, which a line that moves takes over, to stay below."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def log_to_stderr() -> None:
    """Our own lines, with the time; those of libraries only if EBBTIDE_VERBOSE is set."""
    handler = _Stderr()
    if not os.environ.get(VERBOSE):
        handler.addFilter(logging.Filter(_OURS))
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(name)s %(message)s", handlers=[handler], force=True
    )
    logging.getLogger(_OURS).setLevel(logging.INFO)
