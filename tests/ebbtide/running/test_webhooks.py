"""Webhooks of rules about drift: signed as the specification says, tried again, and never waited for."""

import base64
import hmac
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import ebbtide
from ebbtide.running import webhooks as hooks
from ebbtide.running.webhooks import SECRET, URL, Webhooks
from ebbtide.simulated.drifting import lived
from monitor.actions import Rule
from state.drift_alarm import DriftAction
from tests.patience import PATIENCE_S, until

KEY = b"k" * 32


@dataclass
class Heard:
    """What a server was sent, and what it answers: a status each time, the last one for ever; None hangs."""

    url: str = ""
    answers: list[int | None] = field(default_factory=lambda: [200])
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is waited for as long as a slow machine needs."""
    monkeypatch.setattr(hooks, "_TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def heard() -> Iterator[Heard]:
    told = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.headers.append({name.lower(): value for name, value in self.headers.items()})
            told.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            answer = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if answer is None:
                told.release.wait()
                return
            self.send_response(answer)
            if answer == 302:
                self.send_header("location", f"{told.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}/hook?token=private"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told
    told.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def action(event: int = 512) -> DriftAction:
    return DriftAction(
        do="webhook", event=event, time_ms=event * 1000, on="log_loss", alarm_event=500, before=0.5, after=0.6
    )


def sender(url: str, pauses_s: tuple[float, ...] = (0.0, 0.0)) -> Webhooks:
    return Webhooks(url, KEY, "clicks", pauses_s)


def test_a_message_says_what_was_done_and_is_signed_as_the_specification_says(heard: Heard) -> None:
    one = sender(heard.url)
    one.send(action())
    one.close(PATIENCE_S)
    (body,), (headers,) = heard.bodies, heard.headers
    said = json.loads(body)
    assert said["type"] == "drift.action"
    assert said["timestamp"] == "1970-01-01T00:08:32+00:00"
    assert said["data"]["log"] == "clicks"
    assert (said["data"]["on"], said["data"]["event"], said["data"]["after"]) == ("log_loss", 512, 0.6)
    assert "log loss went from 0.500 to 0.600" in said["data"]["sentence"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_what_fails_is_tried_again_and_then_what_comes_after_it(heard: Heard) -> None:
    heard.answers[:] = [500, 302, 200]
    one = sender(heard.url)
    one.send(action(512))
    one.send(action(1024))
    one.close(PATIENCE_S)
    assert [json.loads(body)["data"]["event"] for body in heard.bodies] == [512, 512, 512, 1024]
    ids = [headers["webhook-id"] for headers in heard.headers]
    assert len(set(ids[:3])) == 1
    assert ids[3] != ids[0]
    assert one.trouble is None


def test_what_is_never_taken_is_given_up_and_said_without_the_address(
    heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    heard.answers[:] = [500]
    one = sender(heard.url)
    with caplog.at_level(logging.WARNING, "ebbtide.webhooks"):
        one.send(action())
        one.close(PATIENCE_S)
    assert len(heard.bodies) == 3
    assert "expected a status of 200 to 299, got 500" in caplog.text
    assert "webhook given up" in caplog.text
    assert "private" not in caplog.text


def test_one_that_hangs_holds_nobody_up_and_waits_in_the_state(heard: Heard) -> None:
    heard.answers[:] = [None, 200]
    one = sender(heard.url)
    one.send(action(512))
    one.send(action(1024))
    until(lambda: heard.bodies)
    left = one.tree()
    one.close(0.0)
    again = sender(heard.url)
    heard.release.set()
    again.load(left)
    again.close(PATIENCE_S)
    events = [json.loads(body)["data"]["event"] for body in heard.bodies]
    assert events[-2:] == [512, 1024]


def test_nobody_there_is_a_trouble_and_no_more() -> None:
    one = sender("http://127.0.0.1:9/")
    one.send(action())
    one.close(PATIENCE_S)
    assert one.trouble is not None
    assert one.trouble.startswith("webhook: expected an answer, got ")


def test_a_replay_calls_it(heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, f"whsec_{base64.b64encode(KEY).decode()}")
    monkeypatch.setenv(URL, heard.url)
    pq.write_table(lived(3, 18_000, 14_000).events, tmp_path / "log.parquet")
    rule = Rule(on="log_loss", do="webhook")
    report = ebbtide.replay(
        tmp_path / "log.parquet", tmp_path, learner="gaussian", floors=False, rank_share=0.0, act=[rule]
    )
    (done,) = report.actions
    assert done.do == "webhook"
    assert json.loads(heard.bodies[0])["data"]["event"] == done.event
    assert "a webhook was called" in (tmp_path / "report.html").read_text()
    assert "private" not in (tmp_path / "report.json").read_text()


@pytest.mark.parametrize("secret", ["", "whsec_c2hvcnQ=", "not base64!", "a" * 200])
def test_without_a_good_secret_nothing_begins(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "https://example.org/")
    monkeypatch.setenv(SECRET, secret)
    with pytest.raises(ebbtide.InputError, match="expected EBBTIDE_WEBHOOK_SECRET to hold 24 to 64 random"):
        hooks.webhooks([Rule(on="log_loss", do="webhook")], "clicks")


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "https://", "https://a:b@c/", "http://c:port/"])
def test_without_a_good_address_nothing_begins(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, url)
    with pytest.raises(ebbtide.InputError, match="expected EBBTIDE_WEBHOOK_URL to hold http://HOST"):
        hooks.webhooks([Rule(on="log_loss", do="webhook")], "clicks")
