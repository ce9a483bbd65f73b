"""Versions through every door: commands, HTTP, a trainer's delivery."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebbtide.publishing.delivery import Delivery
from ebbtide.publishing.mirror import Mirror
from serving.run import Run
from serving.said import json_of
from state.store.contract import ItemRows, UserRows
from state.store.embedded import EmbeddedStore, open_store
from state.store.in_memory import DictStore
from tests.ebbtide.live.test_live_parts import delta
from tests.ebbtide.publishing.test_mirror import INFO
from tests.ebbtide.typed import run
from tests.patience import PATIENCE_S, until
from tests.serving.server import Reply, Served, served
from tests.serving.test_answers import ITEMS, MORNING, published


def publish(store: EmbeddedStore, version: int, scale: float) -> None:
    """All that there is, scaled: so that an answer of two versions could be told."""
    store.publish(
        version,
        UserRows(
            ids=["ann"],
            event_time_ms_B=np.array([MORNING]),
            interests_BKD=np.full((1, 2, 4), scale, np.float32),
        ),
        ItemRows(
            ids=list(ITEMS),
            event_time_ms_B=np.full(len(ITEMS), MORNING),
            vectors_BD=np.array(list(ITEMS.values()), np.float32) * np.float32(scale),
        ),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    store = open_store(tmp_path_factory.mktemp("run"), create=True)
    assert isinstance(store, EmbeddedStore)
    published(store)
    yield store
    store.close()


def at(store: EmbeddedStore) -> str:
    return str(store).split("'")[1]


def versions(store: EmbeddedStore, *words: object, check: int = 0) -> Any:
    said = run("versions", *words, "--store", at(store), "--json", check=check)
    return json.loads(said.stdout) if check == 0 else said.stderr


def test_a_version_is_kept_served_and_left_again_by_commands(folder: EmbeddedStore) -> None:
    newest = folder.version()
    assert versions(folder, "keep", "--note", "before the sale")["kept"][-1]["note"] == "before the sale"
    before = Run(folder).recommend("ann")
    publish(folder, newest + 1, 2.0)
    after = Run(folder).recommend("ann")
    assert after != before
    said = versions(folder, "rollback", newest)
    assert (said["version"], said["newest"]) == (newest, newest + 1)
    assert [one["version"] for one in said["kept"] if one["served"]] == [newest]
    assert Run(folder).recommend("ann") == before
    shown = json.loads(run("query", "recommend", "ann", "--from", at(folder), "--json").stdout)
    assert shown == json_of(before)
    shown = run("versions", "list", "--from", at(folder)).stdout
    assert "before the sale" in shown
    assert versions(folder, "resume")["version"] == newest + 1
    assert Run(folder).recommend("ann") == after
    refused = versions(folder, "rollback", 99, check=2)
    assert "version 99 is not kept, or not any longer; `ebbtide versions list` says which are" in refused


def test_nothing_published_is_nothing_to_keep(tmp_path: Path) -> None:
    open_store(tmp_path, create=True).close()
    said = run("versions", "keep", "--store", tmp_path, check=2).stderr
    assert "nothing was published that could be kept" in said
    assert "no embeddings there" in run("versions", "list", "--store", tmp_path / "x", check=2).stderr


@pytest.fixture(scope="module")
def web(folder: EmbeddedStore, key: tuple[str, Path]) -> Iterator[Served]:
    with served(at(folder), "--keys", str(key[1])) as found:
        yield found


def test_a_version_is_served_again_over_http(
    web: Served, folder: EmbeddedStore, key: tuple[str, Path]
) -> None:
    def post(path: str, with_key: str = key[0]) -> Reply:
        return web.ask(path, method="POST", headers={"authorization": f"Bearer {with_key}"})

    def answers() -> tuple[Any, ...]:
        paths = (
            "/users/ann",
            "/users/ann/recommendations",
            "/items/tea/similar",
            "/users/nobody/recommendations",
        )
        return tuple(web.ask(path).json() for path in paths)

    kept = folder.version()
    folder.keep("by a test")
    until(lambda: web.ask("/readyz").json()["version"] == kept)
    before, since = answers(), f"/changes?since={kept + 1}"
    publish(folder, kept + 1, 3.0)
    until(lambda: web.ask("/readyz").json()["version"] == kept + 1)
    after = answers()
    assert after[1] != before[1]
    assert post(f"/versions/{kept}:rollback", "nobody's").status == 401
    assert web.ask("/versions").json()["version"] == kept + 1
    reply = post(f"/versions/{kept}:rollback")
    assert reply.status == 200
    assert (reply.json()["version"], reply.json()["newest"]) == (kept, kept + 1)
    assert answers() == before
    publish(folder, kept + 2, 4.0)
    assert web.ask("/versions").json()["newest"] == kept + 2
    assert answers() == before
    refused = web.ask(since)
    assert refused.status == 409
    assert "begin anew, with since=0" in refused.json()["detail"]
    rows = [json.loads(line) for line in web.ask("/changes?since=0").body.splitlines()]
    assert {row["version"] for row in rows} == {kept}
    assert len(rows) == len(ITEMS)
    assert post("/versions/77:rollback").status == 404
    assert post("/versions/0:rollback").status == post("/versions/x:rollback").status == 422
    assert post("/versions:resume").json()["version"] == kept + 2
    assert web.ask("/users/ann").json()["version"] == kept + 2
    assert web.ask(since).status == 200
    assert web.ask("/events", {}).status == 404, "there is no broker"


def test_a_trainer_keeps_versions_unless_an_earlier_one_is_served(tmp_path: Path) -> None:
    store = DictStore()
    delivery = Delivery(store, Mirror(tmp_path))
    delivery.start()
    delivery.tell(INFO)

    def step(n: int) -> None:
        delivery.publish(0, *delta("u", n))
        delivery.keep("by the clock", n)
        assert delivery.drain(PATIENCE_S)

    step(1)
    step(2)
    assert [one.facts.clock_ms for one in store.kept()] == [1, 2]
    first = store.kept()[0].version
    store.rollback(first)
    step(3)
    assert [one.facts.clock_ms for one in store.kept()] == [1, 2]
    assert store.pointer().version == first
    found = store.user("u", first)
    assert found is not None
    assert found.event_time_ms == 1
    store.resume()
    step(4)
    assert [one.facts.clock_ms for one in store.kept()] == [1, 2, 4]
    store._mark = None  # as if it had lost its rows
    delivery.publish(0, *delta("u", 5))
    assert delivery.drain(PATIENCE_S)
    delivery.close()
    assert store.kept() == []
    assert delivery.trouble is None


def test_a_drift_that_calls_for_it_has_the_version_from_before_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = DictStore()
    delivery = Delivery(store, Mirror(tmp_path))
    delivery.start()
    delivery.tell(INFO)
    for clock_ms in (1000, 2000, 3000):
        delivery.publish(0, *delta("u", clock_ms))
        delivery.keep("by the clock", clock_ms)
        assert delivery.drain(PATIENCE_S)
    delivery.roll_back(2500)
    assert delivery.drain(PATIENCE_S)
    _, second, _ = store.kept()
    assert store.pointer().version == second.version
    delivery.roll_back(500)
    assert delivery.drain(PATIENCE_S)
    assert store.pointer().version == second.version
    assert "no version is kept from before the change" in caplog.text
    delivery.close()
