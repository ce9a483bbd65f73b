"""One tree of errors; the command line maps each branch to its exit code.

A message says where, what was expected, what was found, and what to do.
"""

from state.printable import printable


class EbbtideError(Exception):
    """Anything that Ebbtide raises on purpose: one line, whatever names and cells it quotes."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class InputError(EbbtideError):
    """Something the caller can mend: a missing file, an unknown column, a bad option."""

    exit_code = 2


def bringing(extra: str) -> str:
    """What brings the packages of one of our extras; no index has us.

    >>> bringing("torch")
    "`make setup`, or `pip install '.[torch]'`, in the folder of the sources"
    """
    return f"`make setup`, or `pip install '.[{extra}]'`, in the folder of the sources"


class UnknownIdError(EbbtideError):
    """A user or item that was never seen."""

    exit_code = 3
