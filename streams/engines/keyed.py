"""An engine whose state lives in a map of somebody else's: keyed state, of which no snapshot can be hooked.

Whoever owns the map may take a snapshot of it after any call of `take`, so the map always holds all that
leads to the engine as it is: the records that it gave at last, and the messages that it has had since. Those
are cheaper to keep than the record of every user whom they have changed, and are worked through again,
unsent, by whoever is given the map next.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from state.errors import InputError
from streams.engines.output import NOTHING, Output
from streams.engines.partition import Engine
from streams.wire.message import Message

_LOGGED = "log/"
_MOST_CALLS, _MOST_BYTES = 64, 4 << 20
"""Of messages that are kept; then the engine's records are written."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Message])


class Entries(Protocol):
    """The map: Flink's `MapState`, as far as it is asked."""

    def items(self) -> Iterable[tuple[str, bytes]]: ...

    def put(self, key: str, value: bytes) -> None: ...

    def remove(self, key: str) -> None: ...


class Keyed:
    """An `Engine` in a map."""

    def __init__(self, engine: Engine, entries: Entries) -> None:
        """Goes on from what the map holds. Raises InputError."""
        self.engine, self._entries = engine, entries
        self._logged: list[str] = []
        self._bytes = 0
        self._restore()

    def take(self, messages: Sequence[Message]) -> Output:
        """What messages come to, those among them that have been here passed over."""
        first = self.engine.progress.next
        new = sorted((message for message in messages if message.offset >= first), key=lambda one: one.offset)
        if not new:
            return NOTHING
        output = self.engine.take(new)
        self._keep(new)
        return output

    def _keep(self, messages: Sequence[Message]) -> None:
        value = _encoder.encode(messages)
        self._bytes += len(value)
        if len(self._logged) < _MOST_CALLS and self._bytes < _MOST_BYTES:
            key = f"{_LOGGED}{self.engine.progress.offset:020d}"
            self._entries.put(key, value)
            self._logged.append(key)
        else:
            self.settle()

    def settle(self) -> None:
        """Let the map hold the engine's records and nothing besides."""
        for record, content in self.engine.records().items():
            if content is None:
                self._entries.remove(record.decode())
            else:
                self._entries.put(record.decode(), content)
        for key in self._logged:
            self._entries.remove(key)
        self._logged, self._bytes = [], 0

    def _restore(self) -> None:
        kept = dict(self._entries.items())
        self._logged = sorted(key for key in kept if key.startswith(_LOGGED))
        logged = [kept.pop(key) for key in self._logged]
        self.engine.restore({key.encode(): value for key, value in kept.items()})
        self._bytes = sum(map(len, logged))
        try:
            for value in logged:
                self.engine.take(_decoder.decode(value))
        except msgspec.DecodeError as error:
            raise InputError(f"state of {self.engine.topic}/{self.engine.partition}: {error}") from error
