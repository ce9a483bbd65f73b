"""Topics as the tests read them back."""

from collections.abc import Iterator

from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped]

from streams.wire.message import Message


def messages(brokers: str, topic: str, partitions: int) -> list[Message]:
    """Everything in a topic, partition after partition."""
    consumer = KafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False)
    try:
        there = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(there)
        consumer.seek_to_beginning(*there)
        ends = consumer.end_offsets(there)
        return sorted(_until(consumer, ends), key=lambda message: (message.partition, message.offset))
    finally:
        consumer.close()


def _until(consumer: KafkaConsumer, ends: dict[TopicPartition, int]) -> Iterator[Message]:
    while any(consumer.position(one) < end for one, end in ends.items()):
        for records in consumer.poll(timeout_ms=500, max_records=5000).values():
            for r in records:
                yield Message(r.value, r.key, r.headers, r.partition, r.offset)
