"""The tree of `ebbtide up`: starts, mends and ends its parts."""

import asyncio
import contextlib
import signal
import sys
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ebbtide.supervising.child import EBBTIDE, MOST, Child, how, plain, shown, tell
from ebbtide.supervising.folder import Folder, Holder, Say
from ebbtide.supervising.plan import Addresses, UpPlan
from state.errors import InputError

SERVICES = "services"
_LOOK_S = 0.5
_TIMEOUT_S = 5.0


class Opened(NamedTuple):
    """What is called as it goes."""

    listens: Callable[[], None]
    """Once there is a page, though not everything can be answered yet."""
    ready: Callable[[], None]


async def run(plan: UpPlan, holder: Holder, say: Say, opened: Opened) -> None:
    """Until a signal; then everything that was started has ended.

    Raises InputError where a part cannot be kept running; also then all has ended.
    """
    folder, ending, loop = plan.folder, asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        if ending.is_set():  # asked twice: no more patience
            loop.run_in_executor(None, folder.kill)
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    guard = asyncio.create_task(_guard(folder, holder))
    work = asyncio.create_task(_work(plan, holder.url, say, opened))
    asked = asyncio.create_task(ending.wait())
    await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
    if asked.done():
        say("up", "ending; what is in hand is finished first (Ctrl-C once more: it is not)")
    work.cancel()
    (ended,) = await asyncio.gather(work, return_exceptions=True)
    await asyncio.to_thread(folder.end, holder, say)
    for task in (guard, asked):
        task.cancel()
    await asyncio.gather(guard, asked, return_exceptions=True)
    while isinstance(ended, BaseExceptionGroup):
        ended = ended.exceptions[0]
    if isinstance(ended, Exception):
        raise ended


async def _work(plan: UpPlan, url: str, say: Say, opened: Opened) -> None:
    at = plan.given or await _services(plan, say)
    services, environment = asyncio.Event(), plan.environment(at)
    services.set()
    async with asyncio.TaskGroup() as group:
        for name, arguments in plan.parts(at):
            part = Child(plan.folder, name, arguments, say, services, environment, once=name == "send")
            group.create_task(part.keep())
        if plan.given is None:
            group.create_task(_mend_services(plan, at, say, services))
        group.create_task(_announce(url, opened))


async def _services(plan: UpPlan, say: Say) -> Addresses:
    """Start what is not running. Raises InputError as `ebbtide services up` says."""
    log = plan.folder.logs / f"{SERVICES}.log"
    say(SERVICES, shown(plan.services()))
    with log.open("wb") as held:
        process = await asyncio.create_subprocess_exec(
            *EBBTIDE,
            *plan.services(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=held,
            start_new_session=True,
        )
    telling = asyncio.create_task(tell(log, 0, lambda line: say(SERVICES, line)))
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    finally:
        telling.cancel()
    if process.returncode:
        lines = [plain(line) for line in log.read_text(errors="replace").splitlines()]
        last = lines[-1].removeprefix("ebbtide: ") if lines else how(process.returncode)
        raise InputError(f"services: {last}")
    at = msgspec.json.decode(output, type=Addresses)
    say(SERVICES, f"Kafka at {at.brokers}, Valkey at {at.store}")
    return at


async def _mend_services(plan: UpPlan, at: Addresses, say: Say, up: asyncio.Event) -> None:
    """Start again whatever of them was killed. Raises InputError where that fails again and again."""
    from ebbtide.services import control

    failed = 0
    while True:
        await asyncio.sleep(_LOOK_S)
        lost = await asyncio.to_thread(control.missing, plan.folder.services)
        if up.is_set() and not lost:
            continue
        up.clear()
        say(SERVICES, f"{' and '.join(lost) or 'what was started'} has ended; it is started again")
        try:
            now_at = await _services(plan, say)
        except InputError as error:  # another may have been killed meanwhile
            failed += 1
            if failed >= MOST:
                raise
            say(SERVICES, str(error))
            continue
        if now_at != at:
            raise InputError("services: other processes have taken their ports; start again")
        failed = 0
        up.set()


async def _announce(url: str, opened: Opened) -> None:
    await _answered(f"{url}/healthz")
    opened.listens()
    await _answered(f"{url}/readyz")
    opened.ready()


async def _answered(url: str) -> None:
    """Until it answers, and well."""

    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S):
                return True
        except OSError:
            return False

    while not await asyncio.to_thread(answers):
        await asyncio.sleep(_LOOK_S)


async def _guard(folder: Folder, holder: Holder) -> None:
    """Keep a process that ends all where we cannot; it ends with us."""
    guard = (sys.executable, "-m", "ebbtide.supervising.guard")
    arguments = (str(folder.path), str(holder.pid), holder.started)
    while True:
        process = await asyncio.create_subprocess_exec(
            *guard,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            await process.wait()
        except asyncio.CancelledError:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            raise
        await asyncio.sleep(_LOOK_S)
