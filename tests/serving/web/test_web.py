"""Answers over HTTP: the same as in process, whoever asks, and a clear word to whoever asks nonsense."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
import uvicorn

from serving.answers import Asked, UnknownUserError, Visit
from serving.connection import connect
from serving.remote import RemoteRun
from serving.run import Run
from serving.said import json_of
from serving.web import doors, server
from serving.web.metrics import Metrics
from serving.web.problems import Problem
from state.errors import InputError, UnknownIdError
from state.store.contract import Gone, ItemRows, UserRows
from state.store.embedded import EmbeddedStore, open_store
from tests.ebbtide.typed import run, typed
from tests.patience import until
from tests.serving.scoring import test_scoring
from tests.serving.scoring.test_scoring import NEXT_FRIDAY, copy_score
from tests.serving.server import Served, served
from tests.valkeys import free_port

ODD = ["a/b", 'quo"ted', "nul\0", "per%cent", "日本", "x" * 10_000, "a?b#c", ".", "..", "\ud800"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A run with a copy score, places and columns, and users of odd names."""
    made = open_store(tmp_path_factory.mktemp("run"), create=True)
    assert isinstance(made, EmbeddedStore)
    run = test_scoring.published(made, copy_score(interest=0.5, near=-0.1))
    columns = {"kind": {"drink": ("bar", "cafe"), "none": ("dull",)}, "category": {"a": ("hit", "bar")}}
    made.put_info(msgspec.structs.replace(run.info, columns=columns, popular=(("hit", 3.0), ("bar", 2.0))))
    rows = np.ones((len(ODD), 1, 3), np.float32)
    made.put_users(1, UserRows(ids=ODD, event_time_ms_B=np.ones(len(ODD), np.int64), interests_BKD=rows))
    yield made
    made.close()


@pytest.fixture(scope="module")
def web(store: EmbeddedStore) -> Iterator[Served]:
    with served(str(store).split("'")[1]) as found:
        yield found


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("k=2", {"k": 2}),
    ("k=1000", {"k": 1000}),
    ("at=2017-09-22T19:00&k=5", {"at_ms": NEXT_FRIDAY, "k": 5}),
    ("lat=40.8&lon=-73.9", {"lat": 40.8, "lon": -73.9}),
    ("exclude_seen=true", {"exclude_seen": True}),
    ("exclude_seen=false&diversity=.7", {"exclude_seen": False, "diversity": 0.7}),
    ("filter=kind:drink&filter=kind:none", {"only": {"kind": ["drink", "none"]}}),
    ("category=a&filter=kind:drink", {"only": {"category": ["a"], "kind": ["drink"]}}),
    ("page=0&k=2", {"page": 0, "k": 2}),
    ("page=1&k=2", {"page": 1, "k": 2}),
]


@pytest.mark.parametrize(("query", "asked"), ASKED, ids=lambda value: str(value)[:40])
def test_recommendations_are_those_of_the_command(
    web: Served, store: EmbeddedStore, query: str, asked: dict[str, Any]
) -> None:
    expected = Run(store).recommend("ann", **asked)
    reply = web.ask(f"/users/ann/recommendations?{query}")
    assert reply.status == 200
    assert reply.json() == json_of(expected)
    with connect(web.url) as remote:
        assert remote.recommend("ann", **asked) == expected


def test_every_question_has_the_same_answer_near_and_far(web: Served, store: EmbeddedStore) -> None:
    here = Run(store)
    with RemoteRun(web.url) as there:
        assert there.user("ann") == here.user("ann")
        assert there.item("bar") == here.item("bar")
        assert there.similar("bar", 3) == here.similar("bar", 3)
        history = [Visit("bar", NEXT_FRIDAY, 40.75, -73.99, -240), Visit("cafe", NEXT_FRIDAY + 1000)]
        assert there.recommend_after(history, 3) == here.recommend_after(history, 3)
        for ask in ("user", "item", "similar"):
            with pytest.raises(UnknownIdError, match="unknown"):
                getattr(there, ask)("nobody")
        places: tuple[Asked, ...] = ({}, {"lat": 40.9, "lon": -73.8})
        for place in places:
            answers = []
            for run in (here, there):
                with pytest.raises(UnknownUserError) as refused:
                    run.recommend("bob", 3, **place)
                answers.append(refused.value.answer)
            assert answers[0] == answers[1]
        with pytest.raises(InputError, match="no column 'x'"):
            there.recommend("ann", only={"x": ["y"]})
        with pytest.raises(InputError, match="greater than or equal to 1"):
            there.recommend("ann", 0)


def test_query_asks_a_server_too(web: Served, store: EmbeddedStore) -> None:
    folder = str(store).split("'")[1]
    for asked in (("user", "ann"), ("item", "bar"), ("similar", "bar"), ("recommend", "ann", "-k", "3")):
        far, near = (run("query", *asked, "--from", source, "--json").stdout for source in (web.url, folder))
        assert json.loads(far) == json.loads(near)
        assert asked[1] in run("query", *asked, "--from", web.url).stdout
    unknown = run("query", "recommend", "bob", "--from", web.url, "--json", check=3)
    assert json.loads(unknown.stdout)["by"] == "popularity"
    assert "unknown user 'bob'" in unknown.stderr


def test_a_user_as_query_prints_it_and_how_old_that_is(web: Served, store: EmbeddedStore) -> None:
    reply = web.ask("/users/ann")
    assert reply.json() == json_of(Run(store).user("ann"))
    assert list(reply.json()) == ["user", "version", "event_time", "interests"]
    assert abs(int(reply.headers["age"]) - (time.time() - test_scoring.LAST_MS / 1000)) < 3600


@pytest.mark.parametrize("identifier", ODD, ids=lambda one: ascii(one)[:12])
def test_any_text_is_an_id(web: Served, identifier: str) -> None:
    path = f"/users/{quote(identifier, safe='', errors='surrogatepass')}"
    if identifier in (".", ".."):
        path = path.replace(".", "%2E")
    assert web.ask(path).json()["user"] == identifier
    assert web.ask(f"{path}/recommendations?k=1").json()["by"] == "copy score"
    assert web.ask(path + "%2Fmore").status == 404


@pytest.mark.parametrize("path", ["/users/ann", "/items/bar", "/users/bob", "/users/%FF", "/users/a%2Fb"])
def test_a_row_is_the_same_the_short_way_and_the_long_one(web: Served, path: str) -> None:
    """Past the framework (`serving.web.quick`), and, with a query, through it."""
    short, long = web.ask(path), web.ask(f"{path}?")
    assert (short.status, short.body) == (long.status, long.body)
    assert {**short.headers, "date": ""} == {**long.headers, "date": ""}


@pytest.mark.parametrize("ways", [f"{n:03b}" for n in range(8)])
def test_answers_come_in_the_order_of_the_questions(web: Served, ways: str) -> None:
    """Asked all at once, each the short way or the long one; the last ends the connection."""
    names, said = ("ann", "bob", "a%2Fb"), b""
    for name, way in zip(names, ways, strict=True):
        said += f"GET /users/{name}{'?' * int(way)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    answered = web.raw(said + b"GET /users/ann HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answered) == [b"200", b"404", b"200", b"200"]
    assert re.findall(rb'{"user":"([^"]+)"', answered) == [b"ann", b"a/b", b"ann"]


def test_somebody_unknown_gets_what_is_popular_but_is_no_user(web: Served) -> None:
    reply = web.ask("/users/bob/recommendations?k=1")
    why = [{"reason": "unknown user 'bob': popular with everybody"}]
    item = {"item": "hit", "score": 3.0, "why": why}
    assert reply.json() == {"user": "bob", "version": 1, "items": [item], "by": "popularity"}
    near = web.ask("/users/bob/recommendations?k=1&lat=40.6&lon=-73.7").json()
    assert near["items"][0]["why"] == [{"reason": "unknown user 'bob': popular near there"}]
    long = web.ask(f"/users/{'y' * 10_000}/recommendations?k=2")
    assert len(long.body) < 11_000
    assert web.ask("/users/bob").status == 404


def test_a_batch_is_its_singles(web: Served) -> None:
    users = ["ann", "bob", "a/b"]
    body = {"users": users, "k": 2, "lat": 40.8, "lon": -73.9}
    singles = [web.ask(f"/users/{quote(u, safe='')}/recommendations?k=2&lat=40.8&lon=-73.9") for u in users]
    assert web.ask("/recommendations:batch", body).json() == {"answers": [one.json() for one in singles]}


def test_a_session_without_times_is_now(web: Served) -> None:
    asked = "/sessions/recommendations", {"events": [{"item": "cafe"}], "k": 2}
    form = web.ask(*asked, headers={"content-type": "application/x-www-form-urlencoded"})  # as curl -d says
    assert form.json()["errors"] == [
        "expected Content-Type: application/json, got application/x-www-form-urlencoded"
    ]
    answer = web.ask(*asked).json()
    assert answer["user"] == ""
    assert answer["items"][0]["item"] == "cafe"


NONSENSE = [
    ("/users/ann/recommendations?k=0", 422, "k: Input should be greater than or equal to 1"),
    ("/users/ann/recommendations?k=1000000000", 422, "k: Input should be less than or equal to 1000"),
    ("/users/ann/recommendations?k=many", 422, "k: Input should be a valid integer"),
    ("/users/ann/recommendations?lat=91&lon=0", 422, "lat: Input should be less than or equal to 90"),
    ("/users/ann/recommendations?lat=nan&lon=0", 422, "lat: Input should be"),
    ("/users/ann/recommendations?lat=inf&lon=0", 422, "lat: Input should be"),
    ("/users/ann/recommendations?lat=1", 422, "expected both lat and lon, or neither"),
    ("/users/ann/recommendations?at=yesterday", 400, "at: expected a time such as"),
    ("/users/ann/recommendations?at=99999999999999999999", 400, "at: expected a time such as"),
    ("/users/ann/recommendations?filter=drink", 422, "filter: expected COLUMN:VALUE, got 'drink'"),
    ("/users/ann/recommendations?filter=colour:red", 400, "no column 'colour' was published"),
    ("/users/ann/recommendations?page=-1", 422, "page: Input should be greater"),
    ("/users/ann/recommendations?diversity=2", 422, "diversity: Input should be less"),
    ("/users/ann/recommendations?kk=2", 422, "kk: Extra inputs are not permitted"),
    ("/items/bar/similar?k=0", 422, "k: Input should be greater than or equal to 1"),
    ("/items/nothing", 404, "unknown item 'nothing'"),
    ("/users/%FF", 400, "expected UTF-8, percent-encoded"),
    ("/users/", 404, "no such route"),
    ("/nothing/here", 404, "no such route: /nothing/here"),
]


@pytest.mark.parametrize(("path", "status", "said"), NONSENSE, ids=lambda value: str(value)[-30:])
def test_nonsense_is_a_problem_with_a_clear_word(web: Served, path: str, status: int, said: str) -> None:
    reply = web.ask(path)
    problem = reply.json()
    assert (reply.status, problem["status"], problem["type"]) == (status, status, "about:blank")
    assert reply.headers["content-type"] == "application/problem+json"
    assert said in " ".join([problem["detail"], *problem.get("errors", [])])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/recommendations:batch", {"users": []}, 422),
        ("/recommendations:batch", {"users": ["u"] * 65}, 422),
        ("/recommendations:batch", b"{", 422),
        ("/recommendations:batch", b"\xff\xfe", 422),
        ("/recommendations:batch", b"[" * 50_000, 400),
        ("/sessions/recommendations", {"events": []}, 422),
        ("/sessions/recommendations", {"events": [{"item": "a", "lat": 91, "lon": 1}]}, 422),
        ("/sessions/recommendations", {"events": [{"item": "a", "time": "never"}]}, 400),
        ("/sessions/recommendations", b" " * 1_000_001, 413),
        ("/users/ann", {}, 405),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_of_nonsense_too(web: Served, path: str, body: object, status: int) -> None:
    reply = web.ask(path, body)
    assert (reply.status, reply.json()["status"]) == (status, status)
    assert b"Traceback" not in reply.body


def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent(web: Served) -> None:
    head = b"POST /recommendations:batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with closing(socket.create_connection(web.address)) as held:
        held.sendall(head + b"Content-Length: 1000000000\r\n\r\n")
        assert held.recv(65536).startswith(b"HTTP/1.1 413 ")
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with closing(socket.create_connection(web.address)) as endless:
        endless.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with suppress(OSError):  # whichever way the connection is ended
            while sent < 1e9:
                endless.sendall(chunk)
                sent += len(chunk)
        assert server.BEYOND_BYTES < sent < 1e8


def test_what_is_no_http_is_turned_away(web: Served) -> None:
    assert web.raw(b"\x16\x03\x01\x02\x00nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert web.raw(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * (2 * server.HEAD_BYTES)) == b""
    assert web.ask("/healthz").status == 200


def test_routes_are_declared_and_need_no_other_host(web: Served) -> None:
    declared = web.ask("/openapi.json").json()
    assert {
        *("/users/{id}", "/users/{id}/recommendations", "/items/{id}", "/items/{id}/similar", "/versions"),
        *("/recommendations:batch", "/sessions/recommendations", "/healthz", "/readyz", "/metrics"),
    } <= {*declared["paths"]}
    for route in declared["paths"].values():
        for method in route.values():
            assert method["description"]
    assert "http" not in json.dumps(declared).replace("http://", "")
    assert web.ask("/docs").status == 404


def test_nothing_that_is_declared_or_not_brings_an_answer_that_is_not(web: Served, tmp_path: Path) -> None:
    """What is asked is made from the declaration by schemathesis: within it, and against it."""
    rules = ["--config-file", str(Path(__file__).with_name("schemathesis.toml"))]
    command = [str(Path(sys.executable).with_name("schemathesis")), *rules, "run", f"{web.url}/openapi.json"]
    options = ["--max-examples", "5", "--no-color", "--generation-deterministic"]
    options += ["--report-dir", str(tmp_path)]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_metrics_tell_routes_apart_and_what_was_found(web: Served) -> None:
    def count(name: str) -> float:
        lines = web.ask("/metrics").body.decode().splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)

    watched = {
        'ebbtide_serve_seconds_count{route="/users/{id}",status="200"}': "/users/ann",
        'ebbtide_serve_looked_up_total{found="no",kind="user"}': "/users/bob",
        'ebbtide_serve_looked_up_total{found="yes",kind="item"}': "/items/bar",
    }
    for name, path in watched.items():
        before = count(name)
        web.ask(path)
        assert count(name) == before + 1
    assert count("ebbtide_serve_ready ") == 1.0


def test_a_new_item_is_there_at_once_and_one_that_left_is_not(web: Served, store: EmbeddedStore) -> None:
    vectors_BD = np.array([[5.0, 0.0, 0.0]], np.float32)

    def publish(ids: list[str], gone: list[str]) -> None:
        rows = ItemRows(
            ids=ids,
            event_time_ms_B=np.full(len(ids), 10),
            vectors_BD=vectors_BD[: len(ids)],
            gone=Gone(gone, 11),
        )
        store.publish(store.version() + 1, items=rows)

    def like_cafe() -> list[str]:
        return [one["item"] for one in web.ask("/items/cafe/similar?k=9").json()["items"]]

    publish(["brand new"], [])
    assert until(like_cafe, lambda ids: "brand new" in ids)[0] == "brand new"
    assert web.ask("/items/brand%20new").json()["vector"] == [5.0, 0.0, 0.0]
    publish([], ["brand new"])
    until(like_cafe, lambda ids: "brand new" not in ids)
    assert web.ask("/items/brand%20new").status == 404


def test_a_port_in_use_is_said(web: Served, store: EmbeddedStore) -> None:
    host, port = web.address
    with pytest.raises(InputError, match=rf"serve at {host}:{port}: cannot listen there \(Address already"):
        server.listening(host, port)


def test_an_address_asks_no_faster_than_its_rate() -> None:
    now_s = 0.0
    rates = doors.RequestRates(2.0, lambda: now_s)
    rates.take("a")
    rates.take("a")
    with pytest.raises(Problem, match="more than 2 requests a second") as refused:
        rates.take("a")
    assert refused.value.status == 429
    rates.take("b")
    now_s = 0.5
    rates.take("a")
    now_s = -1000.0  # a clock that jumps back takes nothing away for good
    with pytest.raises(Problem):
        rates.take("a")
    now_s = -999.0
    rates.take("a")


def test_a_client_that_dawdles_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience costs time: here it is short, in a server of this process."""
    monkeypatch.setattr(server, "HEAD_S", 0.1)

    async def read(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            raise AssertionError("the body was never whole")

    app = doors.Doors(read, doors.Limits(body_s=0.1), Metrics())

    async def dawdle(sent: bytes) -> bytes:
        held = server.listening("127.0.0.1", 0)
        config = uvicorn.Config(app, http=server.Guarded, lifespan="off", log_config=None)
        running = server._Server(config)
        task = asyncio.create_task(running.serve([held]))
        while not running.started:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*held.getsockname()[:2])
        writer.write(sent)
        said = await reader.read()
        writer.close()
        running.should_exit = True
        await task
        return said

    assert asyncio.run(dawdle(b"GET / HTTP/1.1\r\nX-Slow: lor")) == b""
    slow_body = asyncio.run(dawdle(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"))
    assert slow_body.startswith(b"HTTP/1.1 408 ")
    assert b"no whole body within 0.1 s" in slow_body


def test_a_folder_without_a_run_and_an_address_that_is_none(tmp_path: Path) -> None:
    found = typed("serve", "--from", str(tmp_path), "--port", "0", check=2)
    assert "no embeddings there" in found.stderr
    with pytest.raises(InputError, match="expected http://HOST:PORT"):
        connect("http://:80")
    port = free_port()
    with connect(f"http://127.0.0.1:{port}") as nobody, pytest.raises(InputError, match="cannot be reached"):
        nobody.user("ann")
