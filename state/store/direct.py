"""A connection to a Redis server that stays, for small questions of which there are many.

redis-py's client looks at a connection whenever it takes one from its pool, and accounts for it when it gives
it back: more than a small question costs else. Here the answer tells whether the connection is still good.
"""

import os
import threading
from typing import Any

import redis


class Direct:
    """Asks the server of `client`, redis-py's; any thread, one after the other."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._connection: Any = None
        self._owner = 0

    def ask(self, *words: str | int | bytes) -> Any:
        """What the server answers. Raises what redis-py does."""
        try:
            return self._once(words)
        except redis.ConnectionError:  # a connection on which nothing came may have been ended
            return self._client.execute_command(*words)

    def _once(self, words: tuple[str | int | bytes, ...]) -> Any:
        with self._lock:
            if self._owner != os.getpid():  # two processes must not share one
                self._connection, self._owner = self._client.connection_pool.get_connection(), os.getpid()
            try:
                self._connection.send_command(*words)
                return self._connection.read_response()
            except BaseException:  # maybe between a question and its answer, which would be the next one's
                self._connection.disconnect()
                raise
