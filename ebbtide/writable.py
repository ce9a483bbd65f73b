"""Folders that a command is given to write to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from state.errors import InputError


@contextmanager
def writing(option: str, folder: Path, do: str = "") -> Iterator[None]:
    """While something is written to a folder that `option` names. Raises InputError, with what to `do`, where
    that cannot be."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{option} {folder}: expected a folder that can be written ({error.strerror}){do}"
        ) from error
