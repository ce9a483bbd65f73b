"""Kafka: topics, and a producer that neither doubles nor reorders. The file that knows the client; `refusals`
knows why it fails.

What is slow to import stays out of here, so that commands which only look at a broker answer at once.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kafka import (  # type: ignore[import-untyped]
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    TopicPartition,
)
from kafka.errors import (  # type: ignore[import-untyped]
    CoordinatorNotAvailableError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
)
from kafka.partitioner.default import murmur2  # type: ignore[import-untyped]

from state.errors import InputError
from streams.kafka.refusals import TIMEOUT_MS, reach, unreachable
from streams.kafka.security import Security, from_environment

if TYPE_CHECKING:
    from streams.wire.message import Message

_BATCH_BYTES = 128 << 10
_LINGER_MS = 5
_CLOSE_S = 5.0
_LOOK_S = 0.01
_GRACE_S = 2.0  # the client's own patience ends first, and says more
NOT_THERE = (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError)
"""A reader's place is not in its partition (any more)."""
FAILED = KafkaError


def check(brokers: str) -> None:
    """Raises InputError where nothing listens."""
    try:
        reach(brokers)
    except OSError as error:
        raise unreachable(brokers, error) from error


def cluster_id(brokers: str, security: Security | None = None) -> str | None:
    """The id of the cluster whose broker is ready for clients there, or nothing."""
    try:
        reach(brokers)
        with closing(admin(brokers, security)) as asked:
            cluster = asked.describe_cluster()
    except (OSError, KafkaError):
        return None
    return str(cluster["cluster_id"]) if cluster["brokers"] else None


def ensure_topic(
    brokers: str,
    topic: str,
    partitions: int | None,
    default: int = 4,
    configs: Mapping[str, str] | None = None,
    security: Security | None = None,
) -> int:
    """The number of partitions of `topic`, which is created where there is none. Raises InputError.

    `partitions` must be what the topic has, if it is given and the topic is there.
    """
    try:
        reach(brokers)
        with closing(admin(brokers, security)) as asked:
            if topic not in asked.list_topics():
                try:
                    options = {
                        "num_partitions": partitions or default,
                        "replication_factor": -1,
                        "configs": dict(configs or {}),
                    }
                    asked.create_topics({topic: options}, timeout_ms=TIMEOUT_MS, wait_for_metadata=True)
                except TopicAlreadyExistsError:
                    pass  # somebody was faster
            actual = len(asked.describe_topics([topic])[0]["partitions"])
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(brokers, error) from error
    if partitions is not None and partitions != actual:
        raise InputError(
            f"--partitions {partitions}: topic {topic!r} on {brokers} has {actual}; "
            "leave the option out, or name another topic"
        )
    return actual


def members(brokers: str, group: str) -> int:
    """How many consumers a group has; 0 where nobody knows of it. Raises InputError."""
    with asking(brokers), closing(admin(brokers)) as asked:
        try:
            return len(asked.describe_groups([group])[group]["members"])
        except CoordinatorNotAvailableError:  # no group was ever there
            return 0


def transactions(brokers: str) -> str:
    """The broker's version; raises InputError where it does not take transactions."""
    with asking(brokers):
        reach(brokers)
        with closing(admin(brokers)) as asked:
            (node, *_) = asked.describe_cluster()["brokers"]
            version = asked.get_broker_version_data(node["broker_id"]).broker_version
        options = {"transactional_id": f"ebbtide-doctor-{uuid.uuid4().hex}", "max_block_ms": TIMEOUT_MS}
        producer = KafkaProducer(**client(brokers), **options)
        try:
            producer.init_transactions()
        finally:
            producer.close(timeout=_CLOSE_S)
    return ".".join(map(str, version))


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's default partitioner puts a key, so that all senders agree."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions


class Producer:
    """Sends messages to one topic: idempotent, acknowledged by all replicas, in order within a partition.

    Sending does not wait, and goes on while the broker is away for up to `patience_ms`. `events`, `messages`
    and `bytes` count what the broker has acknowledged, `failed` the events that it has not, `failure` is the
    first reason. Leaving the `with` block waits for what is on its way.
    """

    def __init__(
        self, brokers: str, topic: str, *, request_timeout_ms: int = 30_000, patience_ms: int = 120_000
    ) -> None:
        self.brokers, self.topic = brokers, topic
        self.events = self.messages = self.bytes = self.failed = 0
        self._sent = 0
        self._patience_s = patience_ms / 1000
        self.failure: Exception | None = None
        try:
            self._producer: Any = KafkaProducer(
                **client(brokers),
                enable_idempotence=True,
                acks="all",
                linger_ms=_LINGER_MS,
                batch_size=_BATCH_BYTES,
                request_timeout_ms=request_timeout_ms,
                delivery_timeout_ms=max(patience_ms, request_timeout_ms + _LINGER_MS),
                max_block_ms=patience_ms,
            )
        except (KafkaError, OSError, ValueError) as error:
            raise unreachable(brokers, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        with suppress(KafkaError):
            self._producer.close(timeout=_CLOSE_S)

    def send(self, message: "Message", partition: int, events: int = 1) -> None:
        """Send a message that carries `events` events."""
        self._sent += events
        try:
            self._producer.send(
                self.topic,
                key=message.key,
                value=message.value,
                headers=list(message.headers),
                partition=partition,
            ).add_callback(self._arrived, events, len(message.value or b"")).add_errback(self._lost, events)
        except KafkaError as error:
            self._lost(events, error)

    def flush(self) -> None:
        """Wait until everything sent was acknowledged or has failed, or nothing has been for `patience_ms`.

        The client's own flush does not wait for the halves of a batch that was too large for the broker, and
        waits forever once the client (kafka-python 3.0.12) is stuck without a producer id, after a broker
        that was killed several times.
        """
        answered, heard_s = -1, 0.0
        while self.events + self.failed < self._sent:
            if self.events + self.failed > answered:
                answered, heard_s = self.events + self.failed, time.monotonic()
            elif time.monotonic() - heard_s > self._patience_s + _GRACE_S:
                self._give_up()
            with suppress(KafkaError):
                self._producer.flush(timeout=_LOOK_S)
            time.sleep(_LOOK_S)

    def _give_up(self) -> None:
        """What has no answer yet will have none."""
        self.failure = self.failure or TimeoutError(f"no answer for {self._patience_s:.0f} s")
        with suppress(KafkaError):
            self._producer.close(timeout=_CLOSE_S)
        self.failed = self._sent - self.events

    def _arrived(self, events: int, size: int, _: object) -> None:
        self.events += events
        self.messages += 1
        self.bytes += size

    def _lost(self, events: int, error: Exception) -> None:
        self.failed += events
        self.failure = self.failure or error


def consumer(brokers: str, **options: Any) -> Any:
    """kafka-python's consumer, of no group, which sees what is committed only. Raises InputError."""
    try:
        reach(brokers)
        defaults = {
            "isolation_level": "read_committed",
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "allow_auto_create_topics": False,
            "request_timeout_ms": TIMEOUT_MS,
        }
        return KafkaConsumer(**client(brokers), **{**defaults, **options})
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(brokers, error) from error


def known(held: Any, topic: str) -> tuple[frozenset[int], str | None]:
    """Partitions and id of a topic, as the consumer has last heard, without asking; none, if it is gone."""
    cluster = held._cluster  # its public words ask the broker, and wait, where a topic is gone
    topic_id = cluster.topic_id(topic)
    return frozenset(cluster.partitions_for_topic(topic) or ()), None if topic_id is None else str(topic_id)


def hear_anew(held: Any) -> None:
    """Ask for what `known` says, and wait for it. Raises KafkaError where nobody answers."""
    cluster = held._cluster
    for _ in range(1 + cluster.metadata_refresh_in_progress):  # what is under way was asked for before
        held._net.run(held._manager.wait_for, cluster.request_update(), TIMEOUT_MS)


def partition_at(topic: str, partition: int) -> Any:
    """kafka-python's name of a partition."""
    return TopicPartition(topic, partition)


@contextmanager
def asking(brokers: str) -> Iterator[None]:
    """What fails here is an InputError."""
    try:
        yield
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(brokers, error) from error


def client(brokers: str, security: Security | None = None) -> dict[str, Any]:
    """Options of every client: where the brokers are, and how to prove who we are (the environment's)."""
    secured = security or from_environment()
    return {
        "bootstrap_servers": brokers.split(","),
        "bootstrap_timeout_ms": TIMEOUT_MS,
        **secured.kafka_python(),
    }


def admin(brokers: str, security: Security | None = None) -> Any:
    """kafka-python's client for administration; to be closed."""
    return KafkaAdminClient(**client(brokers, security), request_timeout_ms=TIMEOUT_MS)
