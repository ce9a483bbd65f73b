"""Where live traffic goes to, as a URL."""

from state.errors import InputError

SCHEME = "kafka://"


def target(url: str) -> tuple[str, str]:
    """Brokers and topic of `kafka://HOST:PORT[,HOST:PORT]/TOPIC`. Raises InputError.

    >>> target("kafka://127.0.0.1:9092/events")
    ('127.0.0.1:9092', 'events')
    """
    brokers, _, topic = url.removeprefix(SCHEME).partition("/")
    addresses = [one.rpartition(":") for one in brokers.split(",")]
    sound = all(host and port.isdigit() for host, _, port in addresses)
    legal = 0 < len(topic) < 250 and all(c.isascii() and (c.isalnum() or c in "._-") for c in topic)
    if not url.startswith(SCHEME) or not sound or not legal or topic in (".", ".."):
        raise InputError(
            f"--to {url}: expected kafka://HOST:PORT/TOPIC, such as kafka://127.0.0.1:9092/events"
        )
    return brokers, topic
