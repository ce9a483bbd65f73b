"""The peer of `benchmarks.live`: a Faust agent that counts events by user in a table, as Faust's manual does.

    python -m benchmarks.live_plain --brokers B --topic T --events N --seconds S --store URL

Prints one JSON object once it has had N events, or S seconds after its first.
"""

import argparse
import asyncio
import json
import tempfile
import time
import uuid
from typing import Any

import faust

from streams.kafka.client import ensure_topic

_LOOK_S = 0.1
_PATIENCE_S = 120.0


async def counted(brokers: str, topic: str, events: int, seconds: float, store: str) -> dict[str, float]:
    """How many increments there were between two moments, in epoch seconds."""
    first_s = last_s = 0.0
    done, name = 0, f"plain-{uuid.uuid4().hex[:8]}"
    partitions = ensure_topic(brokers, topic, None)
    ensure_topic(brokers, f"{name}-counts-changelog", partitions, configs={"cleanup.policy": "compact"})
    with tempfile.TemporaryDirectory(prefix="ebbtide-plain-") as folder:
        app = faust.App(
            name,
            broker=f"kafka://{brokers}",
            store=store,
            datadir=folder,
            consumer_auto_offset_reset="earliest",
            topic_partitions=partitions,
            topic_allow_declare=False,  # aiokafka's request to create a topic is too old for Kafka 4
            topic_disable_leader=True,
            web_enabled=False,
        )
        table: Any = app.Table("counts", default=int)

        @app.agent(app.topic(topic, value_serializer="json"))
        async def count(stream: Any) -> None:
            nonlocal first_s, last_s, done
            async for event in stream:
                table[str(event["user"])] += 1
                done += 1
                last_s = time.time()
                first_s = first_s or last_s

        began_s = time.time()
        await app.start()
        try:
            while done < events and (not done or time.time() - first_s < seconds):
                if not done and time.time() - began_s > _PATIENCE_S:
                    raise TimeoutError(f"no event of {topic} came in {_PATIENCE_S:.0f} s")
                await asyncio.sleep(_LOOK_S)
            return {"first_s": first_s, "last_s": last_s, "events": done - 1}
        finally:
            await app.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="A plain Faust agent: one increment an event.")
    for name, kind in (("brokers", str), ("topic", str), ("events", int), ("seconds", float), ("store", str)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    options = parser.parse_args()
    print(
        json.dumps(
            asyncio.run(
                counted(options.brokers, options.topic, options.events, options.seconds, options.store)
            )
        )
    )


if __name__ == "__main__":
    main()
