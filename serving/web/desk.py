"""Who answers: rows come by the event loop, what takes thought from one thread that owns a `Run`.

The thread keeps up with what is published, whether anybody asks or not. What waits for it is bounded. Where
the store is away at the start, or holds nothing yet, it is tried again until it is there.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from serving.answers import Visit
from serving.run import Run
from serving.web.changes import FeedHistory
from serving.web.problems import Problem
from serving.web.watched import Status, Watched
from state.errors import EbbtideError
from state.store.contract import EmbeddingStore, Kind
from state.store.kept import NEWEST
from state.store.pipelined import BusyError, reader_of
from state.store.records import Record, unpack

T = TypeVar("T")
log = logging.getLogger("ebbtide.serve")
MOST = 64
"""Questions that wait for the thread."""
PATIENCE_S = 5.0
"""How long one may wait for its answer."""
_STORE_S = 2.0
"""For the store to answer the thread."""
_LOOK_S = 0.1
"""Between two looks at what was published."""


class Desk:
    """Answers from `store`; `open` and `close` it in one event loop.

    `report` is that of a run in a folder. `ending` is set once the server is to end.
    """

    def __init__(self, store: EmbeddingStore, *, most: int = MOST, report: Path | None = None) -> None:
        self.store = store
        store.hurry(_STORE_S)
        self.trouble: EbbtideError | None = Problem(503, "starting: the catalogue is being read")
        """Why what is held may not be the newest, or is not there."""
        self._reader = reader_of(store)
        self._most = most
        self._waiting = 0
        self._run: Run | None = None
        self._thread = ThreadPoolExecutor(1, "answers")
        self.history = FeedHistory(store)
        self.watched = Watched(store, report)
        self.ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether everything can be answered, at once."""
        return self._run is not None and self.trouble is None and self._reader.trouble is None

    @property
    def why(self) -> str:
        """Why it is not ready."""
        return str(self._reader.trouble or self.trouble or "")

    @property
    def version(self) -> int:
        return 0 if self._run is None else self._run.version

    @property
    def recall(self) -> float:
        """As `Run.recall`."""
        return math.nan if self._run is None else self._run.recall

    def status(self) -> Status:
        """What the server and what feeds it are doing."""
        now_ms, run = time.time_ns() // 1_000_000, self._run
        return Status(
            now_ms=now_ms,
            ready=self.ready,
            why=self.why or None,
            version=self.version,
            log=None if run is None else run.info.log,
            learner=None if run is None else run.info.learner,
            **self.watched.counts,
            live=self.watched.live(now_ms),
        )

    async def open(self) -> None:
        self._tasks = [asyncio.create_task(one) for one in (self._reader.keep(), self._keep_up())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def at(self) -> int:
        """What readers are served, as far as is known: the newest version, or one that was kept."""
        return NEWEST if self._run is None else self._run.at

    def question(self, kind: Kind, identifier: str, at: int | None = None) -> "asyncio.Future[bytes | None]":
        """For what the store has, in the version that is served. Raises as `PipelinedReader.row` does."""
        return self._reader.row(kind, identifier, self.at if at is None else at)

    async def row(self, kind: Kind, identifier: str, at: int | None = None) -> Record | None:
        """The same, unpacked."""
        value = await self.question(kind, identifier, at)
        return None if value is None else unpack(value)

    async def ask_of(self, users: Sequence[str], question: Callable[[Run, list[Record | None]], T]) -> T:
        """The answer of the thread about these users, by rows of the version that it answers from."""
        self._admitted()
        at = self.at
        records = [await self.row("users", user, at) for user in users]

        def asked(run: Run) -> T:
            return question(run, records if run.at == at else [run.row(user) for user in users])

        return await self.ask(asked)

    async def ask(self, question: Callable[[Run], T]) -> T:
        """The answer of the thread.

        Raises BusyError where too many wait, or those before it take too long, Problem where nothing is known
        yet or the store is away meanwhile, and whatever the question does.
        """
        run = self._admitted()
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, question, run)
        future.add_done_callback(self._done)
        await asyncio.wait([future], timeout=PATIENCE_S)
        if future.done():
            return future.result()
        if not self.ready:
            raise Problem(503, self.why)
        raise BusyError(f"no answer within {PATIENCE_S:g} s, so much is asked; ask again in a moment")

    def _admitted(self) -> Run:
        """Who answers, where one more may wait."""
        if self._run is None:
            raise Problem(503, self.why)
        if self._waiting >= self._most:
            raise BusyError(f"{self._most} questions wait for an answer; ask again in a moment")
        return self._run

    def _done(self, future: "asyncio.Future[T]") -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # whoever has waited for it may have gone

    async def _keep_up(self) -> None:
        loop, told = asyncio.get_running_loop(), self.why
        while True:
            if self._reader.trouble is None:
                await loop.run_in_executor(self._thread, self._look)
            else:  # to ask would take the thread's time
                self.trouble = self._reader.trouble
            if self.why != told:
                told = self.why
                if told:
                    log.warning("not everything can be answered: %s", told)
                else:
                    log.info("everything can be answered, version %d", self.version)
            await asyncio.sleep(_LOOK_S)

    def _look(self) -> None:
        try:
            self.watched.note()
            if self._run is None:
                run = Run(self.store, follows=False)
                run.refresh()
                if run.version == 0:
                    raise Problem(503, f"{self.store}: nothing was published yet")
                _rehearse(run)
                self._run = run
            else:
                self._run.refresh()
            self.history.note()
            self.trouble = None
        except EbbtideError as error:
            self.trouble = error


def _rehearse(run: Run) -> None:
    """Have all code loaded before somebody waits for it."""
    some = run.some_item()
    if some is not None:
        run.recommend_after([Visit(some, int(time.time() * 1000))])
        run.similar(some)
        run.facts([some])
