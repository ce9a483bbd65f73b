"""What has changed since a version: who follows has what the store has, in any form."""

import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from serving.web.changes import FeedHistory, Form
from serving.web.problems import Problem
from state.store import versions
from state.store.contract import EmbeddingStore, Gone, ItemRows
from state.store.embedded import EmbeddedStore, open_store
from state.store.in_memory import DictStore
from tests.patience import until
from tests.serving.server import Served, served
from tests.serving.test_answers import ITEMS, published

VECTORS = np.array(list(ITEMS.values()), np.float32)


def publish(store: EmbeddingStore, put: dict[str, list[float]], gone: list[str] | None = None) -> int:
    version = store.version() + 1
    vectors_BD = np.array(list(put.values()), np.float32).reshape(-1, 4)
    stamps = np.full(len(put), 10**9 + version)
    rows = ItemRows(
        ids=list(put),
        event_time_ms_B=stamps,
        vectors_BD=vectors_BD,
        gone=Gone(gone or [], 10**9 + version),
    )
    store.publish(version, items=rows)
    return version


@pytest.fixture
def store() -> EmbeddingStore:
    return published(DictStore())


def read(history: FeedHistory, since: int, number: Any = "f32") -> tuple[list[dict[str, Any]], bool]:
    found = history.since("items", since)
    lines = b"".join(Form("items", number, since).lines(found)).splitlines()
    return [json.loads(line) for line in lines], found.gone is not None


def test_a_copy_that_follows_is_the_store(store: EmbeddingStore) -> None:
    random, history = np.random.default_rng(0), FeedHistory(store)
    copy: dict[str, list[float]] = {}
    since = 0
    for step in range(30):
        history.note()
        lines, told = read(history, since)
        if not told:  # the first time after the server has begun
            assert step == 1
            copy.clear()
            lines, told = read(history, 0)
        for line in lines:
            if line.get("deleted"):
                copy.pop(line["item"], None)
            else:
                copy[line["item"]] = line["vector"]
        since = store.version()
        items = store.items()
        assert copy == dict(zip(items.ids, items.vectors_ND.tolist(), strict=True))
        put = {f"i{n}": random.normal(size=4).tolist() for n in random.integers(0, 9, step % 4)}
        publish(store, put, [f"i{n}" for n in random.integers(0, 9, 2) if f"i{n}" not in put])


def test_rows_of_a_version_that_is_not_pointed_at_yet_are_not_missed(store: EmbeddingStore) -> None:
    history = FeedHistory(store)
    for n in range(3):
        publish(store, {f"i{n}": [1.0] * 4})
        history.note()
    since = store.version()
    half = ItemRows(
        ids=["early"],
        event_time_ms_B=np.array([10**10]),
        vectors_BD=np.ones((1, 4), np.float32),
        gone=Gone(["i0"], 10**10),
    )
    store.remove("items", half.gone)
    store.put_items(since + 1, half)
    history.note()  # with half of the next version in the feed
    assert read(history, since) == ([], True)
    store.advance(since + 1)
    history.note()
    lines, told = read(history, since)
    assert told
    assert [
        (line["item"], line.get("deleted", False)) for line in lines if line["item"] in ("early", "i0")
    ] == [
        ("early", False),
        ("i0", True),
    ]


def test_nothing_has_changed_since_now(store: EmbeddingStore) -> None:
    history = FeedHistory(store)
    history.note()
    assert read(history, store.version()) == ([], True)


def test_what_is_too_long_ago_is_said_to_be(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "FEED", 3)
    history = FeedHistory(store)
    history.note()
    since = store.version()
    for n in range(6):
        publish(store, {f"new {n}": [1.0] * 4})
    lines, told = read(history, since)
    assert not told
    assert {line["item"] for line in lines} == {f"new {n}" for n in range(6)}
    assert read(history, 0)[1]


def test_a_store_that_begins_anew_is_read_anew(store: EmbeddingStore) -> None:
    history = FeedHistory(store)
    history.note()
    since = store.version()
    store.clear()
    publish(store, {"again": [1.0, 2.0, 3.0, 4.0]})
    history.note()
    with pytest.raises(
        Problem, match=f"version 1 is served, which is older than {since}: begin anew"
    ) as told:
        read(history, since)
    assert told.value.status == 409
    lines, _ = read(history, 0)
    assert [line["item"] for line in lines] == ["again"]


@pytest.mark.parametrize(("number", "error"), [("f32", 0.0), ("f16", 1e-3), ("int8", 2.0 / 127 / 2 + 1e-6)])
def test_every_form_says_the_same(store: EmbeddingStore, number: Any, error: float) -> None:
    publish(store, {}, ["42"])
    store.publish(6, items=ItemRows(
        ids=["42"], event_time_ms_B=np.array([10**12]), vectors_BD=VECTORS[-1:],
    ))  # fmt: skip
    history = FeedHistory(store)
    history.note()
    lines, _ = read(history, 0, number)
    named = {line["item"]: np.array(line["vector"]) * line.get("scale", 1.0) for line in lines}
    table = pq.read_table(io.BytesIO(Form("items", number, 0).parquet(history.since("items", 0))))
    rows = {row["id"]: np.array(row["vector"], float) * row["scale"] for row in table.to_pylist()}
    for (item, vector), given in itertools.product(ITEMS.items(), (named, rows)):
        np.testing.assert_allclose(given[item], np.array(vector, np.float32), atol=error)
    assert table.num_rows == len(lines) == len(ITEMS)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, EmbeddedStore]]:
    made = open_store(tmp_path_factory.mktemp("run"), create=True)
    assert isinstance(made, EmbeddedStore)
    published(made)
    with served(str(made).split("'")[1]) as found:
        yield found, made
    made.close()


def test_over_http(web: tuple[Served, EmbeddedStore]) -> None:
    server, store = web
    first = server.ask("/changes")
    assert first.headers["ebbtide-version"] == "4"
    assert first.headers["ebbtide-deleted"] == "listed"
    assert len(first.body.splitlines()) == len(ITEMS)
    users = [json.loads(line) for line in server.ask("/changes?kind=users").body.splitlines()]
    assert [(one["user"], len(one["interests"])) for one in users] == [("ann", 2)]
    assert server.ask("/changes?since=4").body == b""
    publish(store, {"before": [0.0] * 4})
    until(lambda: server.ask("/readyz").json()["version"] == 5)
    publish(store, {"new": [1.0, 2.0, 3.0, 4.0]}, ["tea"])
    publish(store, {"more": [0.0] * 4})
    until(lambda: server.ask("/readyz").json()["version"] == 7)
    lines = [json.loads(line) for line in server.ask("/changes?since=5").body.splitlines()]
    assert [(one["item"], one.get("deleted", False)) for one in lines] == [
        ("new", False),
        ("more", False),
        ("tea", True),
    ]
    parquet = server.ask("/changes?since=5&format=parquet&dtype=int8")
    assert parquet.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(io.BytesIO(parquet.body))["id"].to_pylist() == ["new", "more", "tea"]
    for query in ("since=-1", "kind=shoes", "format=xml", "dtype=f64", "since=x", "shoe=1"):
        assert server.ask(f"/changes?{query}").status == 422
