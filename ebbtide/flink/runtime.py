"""Where Flink runs: its package, in an environment of its own, a Java, and its settings."""

import importlib.metadata
import importlib.util
import os
import random
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ebbtide.services import broker
from ebbtide.services.control import is_free
from state.errors import InputError

SLOTS, ENVIRONMENT = 2, ".venv-flink"
_HEAP_MB = 768
_COLLECTOR = "-XX:+UseParallelGC -XX:ParallelGCThreads=1"
"""By a tenth less of the JVM's CPU than the serial one, where arrays of megabytes come and go."""
_QUIET = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=128m -Dpekko.scheduler.tick-duration=100ms"
"""One compiler, whose code is no reason to collect garbage, and Flink's clocks tick 10 times a second."""
_OURS, _CACHE = "EBBTIDE_", "EBBTIDE_DATA"
_HANDED = "EBBTIDE_FLINK_HANDED_OVER"


def here(arguments: Sequence[str] = ()) -> None:
    """Go on where PyFlink is installed: here, else, as the same command, in the environment beside this one
    that `make setup-flink` makes. Raises InputError where it is in neither."""
    if importlib.util.find_spec("pyflink") is not None:
        return
    beside = Path(sys.prefix).parent / ENVIRONMENT / "bin" / "python"
    if os.environ.get(_HANDED) or not beside.exists():
        raise InputError(
            f"PyFlink is not installed here, nor in {beside.parent.parent}; `make setup-flink` brings it, in "
            "an environment of its own, since it needs older versions of what the rest needs"
        )
    os.environ[_HANDED] = "1"
    os.execv(beside, [str(beside), "-m", "ebbtide", *(arguments or sys.argv[1:])])


def version() -> str:
    return importlib.metadata.version("apache-flink")


def home() -> Path:
    """PyFlink's folder, with Flink's jars."""
    package = importlib.util.find_spec("pyflink")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent


def opened() -> list[str]:
    """What Flink's JVMs must be allowed, by its own settings."""
    lines = (home() / "conf" / "config.yaml").read_text().splitlines()
    options = next(line.strip() for line in lines if line.strip().startswith("all: --add-"))
    return options.removeprefix("all: ").split()


def expect_free(port: int, whose: str, address: str = "127.0.0.1") -> None:
    """Raises InputError."""
    if not is_free(port, address):
        raise InputError(
            f"{whose} {port}: expected a free port on {address}, got one that is taken; give another, or end "
            "what listens there"
        )


def free_ports(count: int) -> list[int]:
    """Of those that a system gives to nobody who connects, as it would before a JVM has come to use them."""
    ports = list[int]()
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        if port not in ports and is_free(port):
            ports.append(port)
    return ports


def java() -> str:
    """Raises InputError."""
    return broker.java(f"Apache Flink {version()}", "`make setup-flink`")


def prepare(logs: Path, environment: "os._Environ[str]" = os.environ) -> None:
    """Before PyFlink starts its JVM. Raises InputError."""
    logs.mkdir(parents=True, exist_ok=True)
    environment["JAVA_HOME"] = str(Path(java()).parent.parent)
    environment["FLINK_LOG_DIR"] = str(logs.resolve())
    environment["JVM_ARGS"] = f"-Xmx{_HEAP_MB}m {_COLLECTOR} {_QUIET}"
    environment["_python_worker_execution_mode"] = "process"


def begin(logs: Path) -> int:
    """Start PyFlink's JVM, of which a process has one; its number. Raises InputError."""
    from streams.engines import flink

    prepare(logs)
    with undisclosed():
        return flink.java_process()


@contextmanager
def undisclosed(environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """While a JVM of Flink is started: without what is ours, where passwords may be. Beam writes the whole
    environment of its workers into the log."""
    held = {name: environment[name] for name in environment if name.startswith(_OURS) and name != _CACHE}
    for name in held:
        del environment[name]
    try:
        yield
    finally:
        environment.update(held)


def local(port: int) -> Mapping[str, str]:
    """Settings of a cluster within the client's JVM, which answers on loopback only."""
    return {
        "execution.target": "local",
        "execution.attached": "true",
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": str(port),
        "rest.bind-port": str(port),
        "metrics.fetcher.update-interval": "0",
        "taskmanager.memory.managed.size": "256m",
        "taskmanager.memory.network.max": "64m",
    }


def remote(jobmanager: str) -> Mapping[str, str]:
    """Settings of a client of somebody's session cluster."""
    host, _, port = jobmanager.rpartition(":")
    return {"execution.target": "remote", "rest.address": host, "rest.port": port}
