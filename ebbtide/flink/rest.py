"""A job manager, asked over its REST interface."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from state.errors import EbbtideError, InputError

ENDED = frozenset({"FAILED", "CANCELED", "FINISHED", "SUSPENDED"})
_ANSWER_S, _LOOK_S = 30.0, 0.2
_OURS, _SAID = "state.errors.InputError: ", "state.errors.EbbtideError: "
_WORKER_GONE = "StatusRuntimeException: CANCELLED: client cancelled"
"""What Beam says where the process behind it is not there any more."""
_PYTHON = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Running:
    """A job, as the job manager has it."""

    id: str
    name: str
    state: str


class Failure(NamedTuple):
    """Something that a job was begun anew after, or not."""

    line: str
    """What was said, in a line."""
    for_good: bool
    """Whether a worker of ours has said it: then the job can never go on."""


@dataclass(frozen=True, slots=True)
class JobManager:
    """`HOST:PORT`."""

    address: str

    def jobs(self) -> list[Running]:
        """All that it knows of. Raises InputError, as all do, where nothing answers."""
        return [Running(job["jid"], job["name"], job["state"]) for job in self._ask("/jobs/overview")["jobs"]]

    def job(self, name: str) -> Running | None:
        """The one of this name that has not ended."""
        return next((job for job in self.jobs() if job.name == name and job.state not in ENDED), None)

    def state(self, job: str) -> str:
        return str(self._ask(f"/jobs/{job}")["state"])

    def ready(self, job: str) -> bool:
        """Whether all of it runs."""
        overview = self._ask(f"/jobs/{job}")
        return all(vertex["status"] == "RUNNING" for vertex in overview["vertices"])

    def checkpoints(self, job: str) -> int:
        """How many were completed."""
        return int(self._ask(f"/jobs/{job}/checkpoints")["counts"]["completed"])

    def failures(self, job: str) -> list[Failure]:
        """What has gone wrong, the newest first."""
        history = self._ask(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        traces = [str(entry.get("stacktrace", "")) for entry in history]
        return [Failure(_line(trace), _OURS in trace) for trace in traces]

    def unsaved(self, job: str) -> str | None:
        """Why its newest checkpoint failed, in a line, if none was completed since."""
        latest = self._ask(f"/jobs/{job}/checkpoints")["latest"]
        failed, whole = latest["failed"], latest["completed"]
        if failed is None or (whole is not None and whole["id"] > failed["id"]):
            return None
        return f"checkpoint {failed['id']} failed: {_line(failed.get('failure_message') or '').rstrip('.')}"

    def trouble(self, job: str) -> str | None:
        """What stands in its way, or has at last, in a line."""
        return self.unsaved(job) or next((failure.line for failure in self.failures(job)), None)

    def slots(self) -> tuple[int, int]:
        """Of all task managers: how many, and how many of them are free."""
        overview = self._ask("/overview")
        return int(overview["slots-total"]), int(overview["slots-available"])

    def savepoint(self, job: str, folder: Path, *, patience_s: float, stop: bool) -> Path:
        """Take one; with `stop`, the job ends with it, and all it has made is committed.

        Raises InputError where it cannot be written there, EbbtideError where it takes too long.
        """
        verb, target = ("stop", "targetDirectory") if stop else ("savepoints", "target-directory")
        deadline = time.monotonic() + patience_s
        while not self.ready(job) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        request = self._ask(f"/jobs/{job}/{verb}", {target: folder.resolve().as_uri()}, method="POST")
        path = f"/jobs/{job}/savepoints/{request['request-id']}"
        while time.monotonic() < deadline:
            answer = self._ask(path)
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" in operation:
                    return Path(str(operation["location"]).removeprefix("file:"))
                why = _line(str(operation.get("failure-cause", {}).get("stack-trace", "")))
                raise InputError(f"job {job}: no savepoint in {folder}: {why}; the job goes on as before")
            time.sleep(_LOOK_S)
        raise EbbtideError(f"job {job}: no savepoint within {patience_s:.0f} s; see the job manager's log")

    def _ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "GET") -> Any:
        request = urllib.request.Request(
            f"http://{self.address}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            refusal = _refusal(error.read()) or error
            raise InputError(f"job manager {self.address}{path}: {refusal}") from error
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            raise InputError(
                f"no job manager: expected one at {self.address} ({why}); "
                "start one with `ebbtide flink up`, or give the address of yours with --jobmanager"
            ) from error


def _refusal(body: bytes) -> str:
    """Why a job manager refuses: its answer lists errors, the last with the stack trace."""
    try:
        trace = str(json.loads(body)["errors"][-1])
    except (ValueError, LookupError, TypeError):
        trace = body.decode(errors="replace")
    return _line(trace.removeprefix("<Exception on server side:").strip())


def _line(trace: str) -> str:
    """The heart of a stack trace: what we have said, else its last cause."""
    for ours in (_OURS, _SAID):
        if ours in trace:
            return trace.split(ours, 1)[1].splitlines()[0].strip()
    if _PYTHON in trace:
        told = trace.rpartition(_PYTHON)[2].partition("\n\tat ")[0].split("\n")
        return f"a Python worker: {next(line for line in reversed(told) if line.strip())[:300]}"
    if _WORKER_GONE in trace:
        return "a Python worker has ended, by hand or for the memory that it took"
    causes = [line for line in trace.splitlines() if line.startswith("Caused by: ")] or trace.splitlines()[:1]
    return causes[-1].removeprefix("Caused by: ").strip()[:300] if causes else ""
