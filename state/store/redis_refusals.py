"""What it means that a Redis server does not do as it is asked, in one line with what to do."""

import redis

from state.errors import InputError
from state.store import redis_versions


class UnreachableError(InputError):
    """No server answers there."""


class ForbiddenError(InputError):
    """The server does not let this user ask."""


def in_one_line(error: redis.RedisError | OSError, shown: str) -> InputError:
    """What a client's failure means, and what to do; `shown` is the server's address."""
    message = _first_line(error)
    match error:
        case redis.AuthenticationError():
            return InputError(f"{shown}: refuses the user or password; check the URL ({error})")
        case redis.exceptions.NoPermissionError():
            return ForbiddenError(
                f"{shown}: this user may not do that ({message}); see the page on operation"
            )
        case redis.BusyLoadingError():
            return InputError(f"{shown}: is still reading its data from disk; it answers when that is done")
        case redis.ConnectionError() | redis.TimeoutError() | OSError():
            return UnreachableError(
                f"{shown}: cannot be reached ({message}); start Redis there, or one with "
                "`ebbtide services up`; `ebbtide replay` without --store brings its own"
            )
    return redis_versions.refusal(message) or InputError(
        f"{shown}: {message}; is this Redis writable and ours?"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
