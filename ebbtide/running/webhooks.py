"""Webhooks of the rules about drift: signed, sent by a thread of their own, tried again, never waited for.

Bodies and signatures follow the Standard Webhooks specification: `webhook-id`, `webhook-timestamp` and
`webhook-signature`, HMAC-SHA256 over all three. The id is that of the action, so that a receiver knows again
what a run that was killed sends twice.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ebbtide.report.words import action_sentence
from monitor.actions import Rule
from state.drift_alarm import DriftAction
from state.errors import InputError
from state.tree import Tree

log = logging.getLogger("ebbtide.webhooks")

URL, SECRET = "EBBTIDE_WEBHOOK_URL", "EBBTIDE_WEBHOOK_SECRET"
"""In the environment rather than in the settings, which reports and checkpoints show."""
_PREFIX = "whsec_"
_PAUSES_S = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Before another try; after the last one it is given up."""
_TIMEOUT_S = 5.0
_WAITING = 100
"""Messages at most; more push the oldest out."""


class Webhooks:
    """Sends the actions of rules that say `do = "webhook"`, in order."""

    def __init__(self, url: str, secret: bytes, name: str, pauses_s: Sequence[float] = _PAUSES_S) -> None:
        """`name` is the log's or the stream's."""
        self.trouble: str | None = None
        """Why the newest try failed, without the URL, which may hold a secret."""
        self._url, self._secret, self._name, self._pauses_s = url, secret, name, tuple(pauses_s)
        self._open = urllib.request.build_opener(_NoRedirect)
        self._todo: deque[DriftAction] = deque()
        self._changed = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    def send(self, action: DriftAction) -> None:
        """Send it soon, if it is for here."""
        if action.do != "webhook":
            return
        with self._changed:
            if len(self._todo) == _WAITING:
                oldest = action_sentence(self._todo.popleft())
                log.error("webhook given up, since %d wait: %s", _WAITING, oldest)
            self._todo.append(action)
            self._changed.notify_all()

    def close(self, patience_s: float) -> None:
        """Send what waits, for so long; what is not sent by then is said and lost."""
        with self._changed:
            self._changed.wait_for(lambda: not self._todo, patience_s)
            self._ends = True
            lost = list(self._todo)
            self._changed.notify_all()
        for action in lost:
            log.error("webhook not sent: %s; %s", action_sentence(action), self.trouble)

    def tree(self) -> Tree:
        """What has not arrived."""
        with self._changed:
            return {"todo": msgspec.json.encode(list(self._todo)).decode()}

    def load(self, tree: Tree) -> None:
        for action in msgspec.json.decode(tree["todo"], type=list[DriftAction]):
            self.send(action)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._todo or self._ends)
                if self._ends:
                    return
                action = self._todo[0]
            self._deliver(action)
            with self._changed:
                if self._todo and self._todo[0] is action:
                    self._todo.popleft()
                self._changed.notify_all()

    def _deliver(self, action: DriftAction) -> None:
        """Until it has arrived, or is given up."""
        for pause_s in (*self._pauses_s, None):
            self.trouble = self._post(action)
            if self.trouble is None:
                return
            if pause_s is None:
                log.error("webhook given up: %s; %s", action_sentence(action), self.trouble)
                return
            log.warning("webhook failed, again in %.0f s: %s", pause_s, self.trouble)
            with self._changed:
                if self._changed.wait_for(lambda: self._ends, pause_s):
                    return

    def _post(self, action: DriftAction) -> str | None:
        """Why it failed, or None."""
        try:
            request = urllib.request.Request(self._url, *message(action, self._name, self._secret))
            with self._open.open(request, timeout=_TIMEOUT_S):
                return None
        except urllib.error.HTTPError as error:
            with error:
                return f"webhook: expected a status of 200 to 299, got {error.code}"
        except (OSError, HTTPException) as error:
            return (
                f"webhook: expected an answer, got {getattr(error, 'reason', error) or type(error).__name__}"
            )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signed message goes where the settings say, and nowhere else."""

    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


def message(action: DriftAction, name: str, secret: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers."""
    data = {"log": name, "sentence": action_sentence(action), **msgspec.to_builtins(action)}
    when = datetime.fromtimestamp(action.time_ms / 1000, UTC).isoformat()
    body = msgspec.json.encode({"type": "drift.action", "timestamp": when, "data": data})
    of = hashlib.sha256(f"{name}\0{action.rule}\0{action.event}\0{action.alarm_event}".encode()).hexdigest()
    headers = {"webhook-id": f"drift_{of[:24]}", "webhook-timestamp": f"{time.time():.0f}"}
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    signature = base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
    return body, {
        "content-type": "application/json",
        "user-agent": "ebbtide",
        "webhook-signature": f"v1,{signature}",
        **headers,
    }


def webhooks(rules: Sequence[Rule], name: str) -> Webhooks | None:
    """What the rules need, with address and secret of the environment. Raises InputError without."""
    if not any(rule.do == "webhook" for rule in rules):
        return None
    url, encoded = os.environ.get(URL, ""), os.environ.get(SECRET, "")
    if not _good(url):
        raise InputError(
            f"act: expected {URL} to hold http://HOST/... or https://HOST/..., without a user or password"
        )
    try:
        secret = base64.b64decode(encoded.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not 24 <= len(secret) <= 64:
        raise InputError(
            f"act: a webhook is signed; expected {SECRET} to hold 24 to 64 random bytes in base64, such as "
            "`openssl rand -base64 32` prints"
        )
    return Webhooks(url, secret, name)


def _good(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
