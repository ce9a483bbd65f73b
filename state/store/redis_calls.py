"""The steps in which rows are written to a Redis server, and the keys of a run there.

A step is a script (`redis_scripts`) with a hundred or so rows, packed.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from state.store import kept, versions
from state.store import redis_scripts as scripts
from state.store.contract import KINDS, Gone, Kind
from state.store.records import Packed

Call = tuple[Any, list[str], list[int | bytes]]
"""A script, its keys, its arguments."""
FEEDS = [f"{kind}:feed" for kind in KINDS]
_ROWS_A_CALL = versions.IDS_A_NOTE


class Keys(NamedTuple):
    """Of one run; the braces keep them in one slot of a cluster."""

    run: str

    def __call__(self, name: str) -> str:
        return f"ebbtide:{{{self.run}}}:{name}"

    def fed(self, kind: Kind) -> list[str]:
        """The hash of a kind, and its feed."""
        return [self(kind), self(f"{kind}:feed")]

    @property
    def kept(self) -> list[str]:
        """The list of kept versions, their facts, and which is served."""
        return [self(name) for name in ("kept", "kept:facts", "served")]


class Calls:
    """To be done by `at_once`, with a client of redis-py, which raises what it raises."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._merge, self._remove, self._advance, self._intact = map(
            client.register_script, (scripts.MERGE, scripts.REMOVE, scripts.ADVANCE, scripts.INTACT)
        )

    def merges(self, kind: Kind, packed: Packed) -> Iterator[Call]:
        """Put rows, but for those that are older than what is there."""
        for first in range(0, len(packed), _ROWS_A_CALL):
            ids = packed.ids[first : first + _ROWS_A_CALL]
            at = packed.start_B1[first : first + len(ids) + 1]
            lengths = np.concatenate([np.fromiter(map(len, ids), "<u4", len(ids)), np.diff(at)]).astype("<u4")
            payload = [lengths.tobytes(), b"".join(ids), packed.blob[at[0] : at[-1]]]
            yield self._change(self._merge, kind, payload)

    def removes(self, kind: Kind, gone: Gone) -> Iterator[Call]:
        """Remove rows that nothing newer has taken the place of."""
        ids = [identifier.encode("utf-8", "surrogatepass") for identifier in gone.ids]
        for first in range(0, len(ids), _ROWS_A_CALL):
            payload: list[int | bytes] = [gone.before_ms, *ids[first : first + _ROWS_A_CALL]]
            yield self._change(self._remove, kind, payload)

    def advance(self, version: int) -> Call:
        """Point readers at a version, unless they are at a later one; answers at which they are then."""
        keys = [self._keys(name) for name in ("version", "fed", *FEEDS)]
        return self._advance, keys, [version, versions.new_token()]

    def intact(self, mark: bytes, version: int, then: int | None) -> Call:
        """The same, if the mark is there, and readers at `version` or later: 1, or 0; -1 if it is another."""
        keys = [self._keys(name) for name in (*KINDS, "version", "fed", *FEEDS)]
        return self._intact, keys, [mark, version, then or 0, versions.new_token()]

    def at_once(self, calls: Iterable[Call], *, transaction: bool = False) -> list[Any]:
        """What each step answers, sent together."""
        pipeline = self._client.pipeline(transaction=transaction)
        for script, keys, args in calls:
            script(keys=keys, args=args, client=pipeline)
        return list(pipeline.execute())

    def _change(self, script: Any, kind: Kind, payload: Sequence[int | bytes]) -> Call:
        args = [versions.new_token(), versions.FEED, kept.MOST_BYTES, *payload]
        return script, [*self._keys.fed(kind), *self._keys.kept], args
