"""What is going on now, over HTTP: as its trainer says it, and to the end of the server."""

import http.client
import json
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving.web.watched import Watched
from state.drift_alarm import DriftAlarm
from state.progress import encode
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer
from tests.contracts.test_every_store import server as server
from tests.ebbtide.commands.test_status import trainer
from tests.patience import PATIENCE_S, until
from tests.serving.server import Served, served
from tests.serving.test_answers import published

ALARM = DriftAlarm(
    signal="log_loss",
    detector="adwin",
    event=9,
    time_ms=5,
    before=0.5,
    after=0.6,
    open=True,
    means=(1.0, 2.0),
)


@contextmanager
def stream(web: Served) -> Iterator[Iterator[Any]]:
    """The documents of /status/stream as they come; then the server's own end of it."""
    with closing(http.client.HTTPConnection(*web.address, timeout=PATIENCE_S)) as connection:
        connection.request("GET", "/status/stream")
        answer = connection.getresponse()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield (json.loads(line[6:]) for line in answer if line.startswith(b"data: "))


def test_a_trainer_is_watched_and_whoever_watches_is_let_go(server: EmbeddedServer) -> None:
    url = "unix://" + server.ensure()
    now = trainer(alarms=[ALARM], lag=3, floor={"auc": 0.6})
    with RedisStore(url) as store, served(url, ready=False) as web:
        store.put_status(encode(now))
        waiting = until(lambda: web.ask("/status").json(), lambda said: said["live"] is not None)
        assert (waiting["ready"], waiting["live"]["trained"]) == (False, 40)
        published(store)
        said = until(lambda: web.ask("/status").json(), lambda said: said["ready"] and said["users"])
        assert (said["users"], said["items"], said["version"]) == (1, 5, 4)
        assert said["live"] | {"alarms": None} == said["live"] | {"alarms": None, "trained": 40, "lag": 3} | {
            "metrics": {"auc": 0.71},
            "floor": {"auc": 0.6},
            "freshness_ms": now.freshness_ms,
            "drift_open": 1,
        }
        assert [alarm["means"] for alarm in said["live"]["alarms"]] == [[]]
        assert [point["trained"] for point in said["history"]] == [40]
        drift = web.ask("/drift").json()
        assert drift == {"drift": [json.loads(msgspec.json.encode(ALARM))], "actions": []}
        with stream(web) as documents:
            first = next(documents)
            assert {*first} == {*said} - {"history"}
            store.put_status(
                encode(msgspec.structs.replace(now, trained=90, updated_ms=now.updated_ms + 2000))
            )
            moved = next(one for one in documents if one["live"]["trained"] == 90)
            assert moved["live"]["events_per_s"] == 25.0
            web.process.terminate()
            for _ in documents:  # which the server ends
                pass


def test_of_a_run_in_a_folder_its_report_tells_and_of_others_nobody(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    with RedisStore(f"unix://{server.ensure()}?run=other") as store:
        report = tmp_path / "report.json"
        watched = Watched(store, report)
        watched.note()
        assert watched.live(0) is None
        with pytest.raises(Exception, match="nobody has watched for drift"):
            watched.drift()
        report.write_bytes(msgspec.json.encode({"schema_version": 1, "drift": [ALARM], "actions": []}))
        assert watched.drift().drift == [ALARM]
        report.write_bytes(b"{")
        with pytest.raises(Exception, match="expected a run's report"):
            watched.drift()


def test_a_clock_that_jumps_makes_no_rate_and_no_time_negative(server: EmbeddedServer) -> None:
    with RedisStore(f"unix://{server.ensure()}?run=jumps") as store:
        published(store)
        watched = Watched(store, None)
        for trained, updated_ms in ((100, 10_000), (200, 2_000), (300, 3_000), (400, 10**13), (500, 4_000)):
            store.put_status(encode(trainer(trained=trained, updated_ms=updated_ms)))
            watched._looked_s = -math.inf
            watched.note()
            live = watched.live(now_ms=1_000)
            assert live is not None
            assert live.trained == trained
            assert 0.0 <= live.events_per_s <= 100.0
            assert live.silent_s == 0.0
