"""One process of a Flink cluster, out of PyFlink's jars: its settings, and the command that is it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ebbtide.flink import runtime
from ebbtide.writable import writing

Role = Literal["jobmanager", "taskmanager"]
_MAIN: Mapping[Role, str] = {
    "jobmanager": "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
    "taskmanager": "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
}
_SETTINGS = {
    "web.submit.enable": "false",
    "taskmanager.cpu.cores": "2",
    "taskmanager.memory.framework.heap.size": "64m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.task.heap.size": "448m",
    "taskmanager.memory.task.off-heap.size": "64m",
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
    "heartbeat.interval": "1000",
    "heartbeat.timeout": "8000",
    "slot.idle.timeout": "10000",
}
_TO_FILE = """\
status = ERROR
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = ${sys:log.file}
appender.file.filePattern = ${sys:log.file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c{1})%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""
_TO_OUTPUT = """\
status = ERROR
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Which process, and where it and the job manager answer."""

    role: Role
    jobmanager: str
    """The host of the job manager, as all others call it."""
    rest: int
    rpc: int = 6123
    """Its ports: for jobs and questions, and for task managers."""
    host: str
    """What others call this one."""
    bind: str = "127.0.0.1"
    """The address that it listens on."""
    name: str
    """Of its log, and of what it is to the job manager."""
    quick: bool = True
    """One compiler of two: up sooner, and slower from the second minute on."""

    def configure(self, folder: Path, *, log: Path | None) -> None:
        """Write its settings to `folder`; it logs to its output without `log`. Raises InputError."""
        settings = {
            **_SETTINGS,
            "jobmanager.rpc.address": self.jobmanager,
            "jobmanager.rpc.port": self.rpc,
            "jobmanager.bind-host": self.bind,
            "rest.address": self.jobmanager,
            "rest.port": self.rest,
            "rest.bind-port": self.rest,
            "rest.bind-address": self.bind,
            "taskmanager.host": self.host,
            "taskmanager.bind-host": self.bind,
            "taskmanager.numberOfTaskSlots": runtime.SLOTS,
            "io.tmp.dirs": folder / "tmp",
        }
        conf = self._conf(folder)
        with writing("--dir", folder):
            conf.mkdir(parents=True, exist_ok=True)
            (folder / "tmp").mkdir(exist_ok=True)
            (conf / "config.yaml").write_text(
                "".join(f'{name}: "{value}"\n' for name, value in settings.items())
            )
            (conf / "log4j.properties").write_text(_TO_OUTPUT if log is None else _TO_FILE)

    def command(self, folder: Path, *, log: Path | None) -> list[str]:
        """Runs it in the foreground. Raises InputError where there is no Java."""
        home, conf = runtime.home(), self._conf(folder)
        jars = sorted((*home.glob("lib/*.jar"), *home.glob("opt/flink-python-*.jar")))
        return [
            *(runtime.java(), "-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
            *(["-XX:TieredStopAtLevel=1"] if self.quick else []),
            *("-XX:MaxDirectMemorySize=256m", "-XX:MaxMetaspaceSize=384m", "-Djava.awt.headless=true"),
            *runtime.opened(),
            *([] if log is None else [f"-Dlog.file={log}"]),
            f"-Dlog4j.configurationFile={conf / 'log4j.properties'}",
            *("-cp", os.pathsep.join(map(str, jars)), _MAIN[self.role], "--configDir", str(conf)),
            *(
                ("-D", f"taskmanager.resource-id={self.name}-{os.urandom(4).hex()}")
                if self.role == "taskmanager"
                else ()
            ),
        ]

    def _conf(self, folder: Path) -> Path:
        return folder / "conf" / self.name
