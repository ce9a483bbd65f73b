"""What goes on at the source while a worker runs: partitions that are added, messages that are deleted before
they are read, a topic that is made anew, a broker that is away. Noticed within seconds, said once."""

import asyncio
import logging

from state.errors import InputError
from streams.engines.worker import Partitions, Settings
from streams.kafka import topics
from streams.kafka.place import Span

log = logging.getLogger("ebbtide.ingest")

_EVERY_S = 2.0


class Watch:
    """`run` beside a worker."""

    def __init__(self, settings: Settings, partitions: Partitions) -> None:
        self._settings, self._partitions = settings, partitions
        self._count = 0
        self._topic_id: str | None = None
        self._trouble: str | None = None

    async def run(self, busy: asyncio.Lock) -> None:
        """Look every two seconds, for ever; `busy` is held while something is put right."""
        while True:
            await self._look(busy)
            await asyncio.sleep(_EVERY_S)

    async def _look(self, busy: asyncio.Lock) -> None:
        settings, name = self._settings, self._settings.topics.events
        read_to = {partition: said.next for partition, said in self._partitions.progress.items()}
        try:
            spans = await asyncio.to_thread(topics.look, settings.brokers, name, settings.security)
            if not spans:
                self._say(f"there is no topic {name!r} any more; this worker goes on once there is one again")
                return
            await self._make_room(spans)
        except InputError as error:
            self._say(f"{error}; this worker goes on once the broker answers")
            return
        if self._trouble is not None:
            log.info("%s: as it was; going on", name)
            self._trouble = None
        async with busy:
            await self._partitions.follow(spans, read_to)

    async def _make_room(self, spans: dict[int, Span]) -> None:
        """Our topics grow along with the source, and are made again where they are gone with it."""
        settings = self._settings
        topic_id = spans[min(spans)].topic_id
        as_it_was = len(spans) <= self._count and topic_id == self._topic_id
        if as_it_was and not self._partitions.failing:
            return
        grown = await asyncio.to_thread(
            topics.make_room, settings.brokers, settings.topics, len(spans), settings.security
        )
        for sentence in topics.growth(settings.topics.events, grown, len(spans)):
            log.warning("%s", sentence)
        self._count, self._topic_id = len(spans), topic_id
        self._partitions.room = len(spans)

    def _say(self, sentence: str) -> None:
        if self._trouble is None:
            log.warning("%s", sentence)
        self._trouble = sentence
