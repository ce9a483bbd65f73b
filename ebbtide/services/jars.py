"""Jars of Apache Kafka, and of Flink's connector to it: each pinned by version and SHA-256, fetched once,
checked every time.

`jars.txt` and `flink_jars.txt` have a line a jar: `group:artifact:version bytes sha256`. They stay in
`$EBBTIDE_DATA`, else `~/.cache/ebbtide`.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from replay.logs.fetch import data_folder
from state.errors import InputError, bringing

KAFKA, CONNECTOR = "4.4.0", "4.0.1-2.0"
EXTRA = bringing("services")
_FETCHED_AT_A_TIME = 4
_TIMEOUT_S = 60

Tell = Callable[[int, int], None]
"""Called with (bytes there, bytes in all)."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned artifact."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


@dataclass(frozen=True, slots=True)
class Jars:
    """Those that go together."""

    title: str
    folder: str
    listed: str
    """The file beside this one that names them."""


BROKER = Jars(f"Apache Kafka {KAFKA}", f"kafka-{KAFKA}", "jars.txt")
FLINK = Jars(f"Flink's Kafka connector {CONNECTOR}", f"flink-connector-kafka-{CONNECTOR}", "flink_jars.txt")


def pinned(of: Jars = BROKER) -> Iterator[Jar]:
    """All of them."""
    for line in (Path(__file__).parent / of.listed).read_text().splitlines():
        coordinate, size, sha256 = line.split()
        group, artifact, version = coordinate.split(":")
        yield Jar(group, artifact, version, int(size), sha256)


def cache(of: Jars = BROKER) -> Path:
    """The folder of the jars."""
    return data_folder() / of.folder


def missing_jars(of: Jars = BROKER) -> list[Jar]:
    """Those that are not there yet, or are not what they should be."""
    return [jar for jar in pinned(of) if _digest(cache(of) / jar.name) != jar.sha256]


def jars(tell: Tell = lambda done, total: None, of: Jars = BROKER) -> list[Path]:
    """The jars' files, fetched where they are not there yet. Raises InputError."""
    folder, missing = cache(of), missing_jars(of)
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder}: {error.strerror}; set EBBTIDE_DATA to a folder that can be written"
            ) from error
        total, done = sum(jar.size for jar in missing), 0
        tell(0, total)
        with (
            tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as aside,
            ThreadPoolExecutor(_FETCHED_AT_A_TIME) as pool,
        ):
            for jar in pool.map(lambda jar: _fetch(of, jar, Path(aside), folder), missing):
                done += jar.size
                tell(done, total)
    return [folder / jar.name for jar in pinned(of)]


def _fetch(of: Jars, jar: Jar, aside: Path, folder: Path) -> Jar:
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise InputError(
            f"{of.title}: {jar} is not there yet, and jgo, which fetches it, is not installed; "
            f"{EXTRA} brings it"
        ) from error
    logging.getLogger("jgo").setLevel(logging.ERROR)
    mirror = os.environ.get("EBBTIDE_MAVEN")
    context = MavenContext(
        repo_cache=aside, remote_repos={"mirror": mirror} if mirror else None, timeout=_TIMEOUT_S
    )
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    try:
        fetched = context.resolver.download(artifact)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{of.title}: could not fetch {jar} from {mirror or 'the central Maven repository'} "
            f"({_short(error)}); connect to it, set EBBTIDE_MAVEN to a mirror, "
            f"or put {jar.name} into {folder}"
        ) from error
    got = "" if fetched is None else _digest(fetched)
    if fetched is None or got != jar.sha256:
        raise InputError(
            f"{of.title}: {jar} has SHA-256 {got}, expected {jar.sha256}; "
            f"{mirror or 'what answers for the central Maven repository'} does not give the real jar"
        )
    os.replace(fetched, folder / jar.name)
    return jar


def _short(error: Exception) -> str:
    """The heart of an error that an HTTP client has wrapped several times."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(inner, Exception):
        error = inner
    return " ".join(str(error).split())[:200] or type(error).__name__


def _digest(path: Path) -> str:
    """SHA-256 of a file, or nothing where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
