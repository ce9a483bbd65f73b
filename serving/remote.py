"""A run that `ebbtide serve` answers for: the same questions, answers and errors as of a `Run`, over HTTP."""

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any, Unpack
from urllib.parse import quote, urlencode, urlsplit

from serving.answers import (
    Answers,
    Asked,
    Because,
    Explored,
    ItemAnswer,
    PastEvent,
    RecommendAnswer,
    Recommended,
    Similar,
    SimilarAnswer,
    UnknownUserError,
    UserAnswer,
    Visit,
)
from serving.reasons import Reasons, iso
from state.errors import InputError, UnknownIdError

SCHEMES = ("http://", "https://")
_PATIENCE_S = 30.0


class RemoteRun(Answers):
    """One connection that stays, for one thread at a time; nothing is asked before the first question."""

    def __init__(self, url: str) -> None:
        """`url`: http:// or https://, of the server. Raises InputError where it is none."""
        parts = urlsplit(url)
        self._url, self._base = url, parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            if not parts.hostname:
                raise ValueError("no host")
            self._connection = kind(parts.hostname, parts.port, timeout=_PATIENCE_S)
        except (ValueError, http.client.InvalidURL) as error:
            raise InputError(f"{url}: expected http://HOST:PORT ({error})") from error

    @property
    def titles(self) -> Mapping[str, str]:
        """What people call items: a server does not say."""
        return {}

    def user(self, identifier: str | int) -> UserAnswer:
        """Raises UnknownIdError for a user of whom nothing was published."""
        return UserAnswer(**self._get(f"/users/{_quoted(identifier)}"))

    def item(self, identifier: str | int) -> ItemAnswer:
        """Raises UnknownIdError for an item without a vector."""
        return ItemAnswer(**self._get(f"/items/{_quoted(identifier)}"))

    def similar(self, identifier: str | int, k: int = 10) -> SimilarAnswer:
        """The k items with the largest cosine. Raises UnknownIdError for an item without a vector."""
        reply = self._get(f"/items/{_quoted(identifier)}/similar", {"k": k})
        return SimilarAnswer(reply["item"], [Similar(**one) for one in reply["items"]])

    def recommend(self, identifier: str | int, k: int = 10, **asked: Unpack[Asked]) -> RecommendAnswer:
        """As `serving.run.Run.recommend`: UnknownUserError, with what is popular, for an unknown user."""
        reply = self._get(f"/users/{_quoted(identifier)}/recommendations", {"k": k, **_form(asked)})
        answer = _recommended(reply)
        if answer.by == "popularity":
            raise UnknownUserError(f"unknown user {str(identifier)!r} at {self._url}", answer)
        return answer

    def recommend_after(
        self, history: Sequence[Visit], k: int = 10, **asked: Unpack[Asked]
    ) -> RecommendAnswer:
        """To somebody without an id who has this history. Raises InputError for none."""
        events = [
            {
                "item": visit.item,
                "time": iso(visit.time_ms),
                "lat": visit.lat,
                "lon": visit.lon,
                "tz": visit.tz_min,
                "label": visit.label,
            }
            for visit in history
        ]
        body = {"events": events, "k": k, **_form(asked)}
        return _recommended(self._ask("POST", "/sessions/recommendations", body))

    def close(self) -> None:
        self._connection.close()

    def _get(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
        return self._ask("GET", path + (f"?{urlencode(query, doseq=True)}" if query else ""))

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        sent = None if body is None else json.dumps(body).encode()
        headers = {} if sent is None else {"content-type": "application/json"}
        status, text = self._response(method, self._base + path, sent, headers)
        try:
            reply: dict[str, Any] = json.loads(text)
        except ValueError:
            raise InputError(f"{self._url}: answers {status}, and no JSON; is it `ebbtide serve`?") from None
        if status == 200:
            return reply
        detail = ": ".join([str(reply.get("detail", reply)), *map(str, reply.get("errors", []))])
        raise (UnknownIdError if status == 404 else InputError)(f"{self._url}: {detail}")

    def _response(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        for last_try in (False, True):
            try:
                self._connection.request(method, path, body, dict(headers))
                response = self._connection.getresponse()
                return response.status, response.read()
            except (http.client.HTTPException, OSError) as error:
                idle = isinstance(error, http.client.RemoteDisconnected | ConnectionError)
                self._connection.close()
                if last_try or not idle:  # a server ends connections on which nothing comes
                    raise InputError(
                        f"{self._url}: cannot be reached ({error}); start `ebbtide serve` there"
                    ) from error
        raise AssertionError


def _quoted(identifier: str | int) -> str:
    return quote(str(identifier), safe="", errors="surrogatepass")


def _form(asked: Asked) -> dict[str, Any]:
    """As routes take it."""
    form: dict[str, Any] = {
        name: asked[name]
        for name in ("lat", "lon", "exclude_seen", "page", "diversity")
        if asked.get(name) is not None
    }
    at_ms = asked.get("at_ms")
    if at_ms is not None:
        form["at"] = iso(at_ms)
    if only := asked.get("only"):
        form["filter"] = [f"{column}:{value}" for column, values in only.items() for value in values]
    return form


def _recommended(reply: Mapping[str, Any]) -> RecommendAnswer:
    items = [_item(item) for item in reply["items"]]
    return RecommendAnswer(reply["user"], reply["version"], items, reply["by"])


def _item(item: Mapping[str, Any]) -> Recommended | Explored:
    common = item["item"], item["score"], _reasons(item["why"])
    return (
        Explored(*common, item["source"], item["propensity"])
        if "propensity" in item
        else Recommended(*common)
    )


def _reasons(reasons: Sequence[Mapping[str, Any]]) -> Reasons:
    return [Because(**reason) if "reason" in reason else PastEvent(**reason) for reason in reasons]
