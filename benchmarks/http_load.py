"""An open loop of HTTP requests: each is due at its time, whether those before it are answered or not.

A latency counts from when a request was due. One process, so on few cores it takes time from the server.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from state.arrays import Doubles
from state.errors import InputError


@dataclass(frozen=True)
class Answered:
    """What came back, in the order in which requests were due."""

    status: Counter[int]
    latency_ms_R: Doubles


def get(path: str) -> bytes:
    """A request."""
    return f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A request with JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def offered(
    address: tuple[str, int],
    request_of: Callable[[int], bytes],
    count: int,
    rate: float,
    connections: int = 64,
) -> Answered:
    """Ask `request_of(i)`, i below `count`, at i / rate seconds."""
    return asyncio.run(_offered(address, request_of, count, rate, connections))


async def _offered(
    address: tuple[str, int], request_of: Callable[[int], bytes], count: int, rate: float, connections: int
) -> Answered:
    latency_ms_R, status = np.zeros(count), Counter[int]()
    due: asyncio.Queue[tuple[int, float] | None] = asyncio.Queue()

    async def asks() -> None:
        reader, writer = await asyncio.open_connection(*address)
        while (one := await due.get()) is not None:
            number, due_s = one
            writer.write(request_of(number))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            latency_ms_R[number] = 1000 * (time.perf_counter() - due_s)
            status[int(head[9:12])] += 1
        writer.close()

    asking = [asyncio.create_task(asks()) for _ in range(connections)]
    began_s = time.perf_counter()
    for number in range(count):
        due_s = began_s + number / rate
        if (ahead_s := due_s - time.perf_counter()) > 0.0005:
            await asyncio.sleep(ahead_s)
        due.put_nowait((number, due_s))
        if number % 256 == 255:
            await asyncio.sleep(0)
    for _ in asking:
        due.put_nowait(None)
    await asyncio.gather(*asking)
    return Answered(status, latency_ms_R)


def cpu_s(pid: int) -> float:
    """CPU that the living threads of a process have taken, and of those that it has started.

    Raises InputError where the system does not tell.
    """
    if not Path("/proc/self/schedstat").exists():
        raise InputError(f"process {pid}: its CPU time is not told here; run this on Linux")
    spent_s = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            spent_s += int((task / "schedstat").read_text().split()[0]) / 1e9
            spent_s += sum(cpu_s(int(child)) for child in (task / "children").read_text().split())
    return spent_s
