"""One tree of errors; the command line maps each branch to its exit code.

A message says where, what was expected, what was found, and what to do.
"""


class EbbtideError(Exception):
    """Anything that Ebbtide raises on purpose."""

    exit_code = 1


class InputError(EbbtideError):
    """Something the caller can mend: a missing file, an unknown column, a bad option."""

    exit_code = 2


class UnknownIdError(EbbtideError):
    """A user or item that was never seen."""

    exit_code = 3
