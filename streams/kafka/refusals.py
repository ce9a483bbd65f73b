"""Why no broker can be reached, as far as the client lets one know, in one line with what to do."""

import logging
import socket
import time
from collections import deque

from kafka.errors import (  # type: ignore[import-untyped]
    KafkaConnectionError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
)

from state.errors import InputError
from streams.kafka.security import CA, CERT, MECHANISM, PASSWORD, PROTOCOL, USER

TIMEOUT_MS = 10_000
_TLS = "[SSL:"
"""How the client's words on a failed handshake begin."""


class _Refusals(logging.Handler):
    """Why brokers turned us away: the client says so in its log only, and then that time is up.

    Where a password is wrong it often sees no more than a connection that is closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._heard: deque[tuple[float, Exception]] = deque(maxlen=64)

    def emit(self, record: logging.LogRecord) -> None:
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, (SaslAuthenticationFailedError, KafkaConnectionError)):
                self._heard.append((time.monotonic(), argument))

    def since(self, moment: float) -> Exception | None:
        """The newest; one of TLS, if there is any."""
        heard = [error for at, error in self._heard if at >= moment]
        return next(reversed([error for error in heard if _TLS in str(error)] or heard), None)


_refusals = _Refusals()
logging.getLogger("kafka").addHandler(_refusals)
logging.getLogger("kafka").setLevel(logging.WARNING)  # below that it writes passwords into the log


def turned_away(seconds: float) -> Exception | None:
    """Why a broker could not be reached within the last seconds, if that was so."""
    return _refusals.since(time.monotonic() - seconds)


def unreachable(brokers: str, error: Exception) -> InputError:
    """What one is told when there is no Kafka."""
    refusal = _refusals.since(time.monotonic() - TIMEOUT_MS / 1000)
    if _TLS in str(refusal):
        why = str(refusal)[str(refusal).index(_TLS) :]
        return InputError(
            f"{brokers}: no encrypted connection ({why}); check {PROTOCOL} and {CA}, "
            f"and {CERT} if the broker asks for one"
        )
    if refusal is not None and isinstance(error, KafkaTimeoutError) and _listens(brokers):
        return InputError(
            f"{brokers}: what listens there turns us away; check {USER} and {PASSWORD}, "
            f"{MECHANISM} and {PROTOCOL}, and that it is Kafka"
        )
    return InputError(
        f"{brokers}: expected a Kafka broker, got {error}; start one with "
        "`ebbtide services up`, or give the address of yours"
    )


def _listens(brokers: str) -> bool:
    try:
        reach(brokers)
    except OSError:
        return False
    return True


def reach(brokers: str) -> None:
    """Raises OSError at once where nothing listens; the client itself would go on trying."""
    refusal = OSError("no address")
    for address in brokers.split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_MS / 1000).close()
            return
        except OSError as error:
            refusal = error
    raise refusal
