"""Where Flink runs: its package, in an environment of its own, a Java, and its settings."""

import importlib.metadata
import importlib.util
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ebbtide.services import broker
from state.errors import InputError

SLOTS, ENVIRONMENT = 2, ".venv-flink"
_HEAP_MB = 768
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
    found = importlib.util.find_spec("pyflink")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def opened() -> list[str]:
    """What Flink's JVMs must be allowed, by its own settings."""
    lines = (home() / "conf" / "config.yaml").read_text().splitlines()
    said = next(line.strip() for line in lines if line.strip().startswith("all: --add-"))
    return said.removeprefix("all: ").split()


def is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def java() -> str:
    """Raises InputError."""
    return broker.java(f"Apache Flink {version()}", "`make setup-flink`")


def prepare(logs: Path, environment: "os._Environ[str]" = os.environ) -> None:
    """Before PyFlink starts its JVM. Raises InputError."""
    logs.mkdir(parents=True, exist_ok=True)
    environment["JAVA_HOME"] = str(Path(java()).parent.parent)
    environment["FLINK_LOG_DIR"] = str(logs.resolve())
    environment["JVM_ARGS"] = f"-Xmx{_HEAP_MB}m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
    environment["_python_worker_execution_mode"] = "process"


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
