"""People who take what their group likes, now and then change groups, and are asked by nobody but the server.

Shape suffixes: U users, C categories.
"""

from typing import Any, NamedTuple

import numpy as np

from tests.patience import until
from tests.serving.server import Reply, Served

USERS, GROUPS, CATEGORIES, ITEMS = 48, 3, 24, 96
LIKED = CATEGORIES // GROUPS
K = 10
"""Places of a list."""
_TAKES, _TAKES_OTHERS, _LEAVES = 0.6, 0.08, 0.04
_DAY_MS = 86_400_000
_BEGIN_MS = 1_700_000_000_000


class Answered(NamedTuple):
    """What came of a day."""

    events: int
    explored: int
    accepted: int
    """Of what was explored."""


class Audience:
    """One day of `visit` after another; every list is answered for place by place."""

    def __init__(self, seed: int, key: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.key = key
        self.group_U = self.rng.integers(GROUPS, size=USERS)
        self.day = self.sent = 0

    def begin(self, web: Served) -> None:
        """A few items each, that nobody has recommended."""
        shown = {user: self.rng.permutation(ITEMS)[:K].tolist() for user in range(USERS)}
        self._post(web, [self._event(user, str(item)) for user, items in shown.items() for item in items])

    def visit(self, web: Served) -> Answered:
        """Everybody asks for a list, and says what came of every place of it."""
        self.day += 1
        self.group_U = np.where(
            self.rng.random(USERS) < _LEAVES, self.rng.integers(GROUPS, size=USERS), self.group_U
        )
        events: list[dict[str, Any]] = []
        explored = accepted = 0
        for user in range(USERS):
            reply = _asked(web, user)
            for one in reply.json()["items"]:
                event = self._event(user, one["item"])
                event["recommendation_id"] = reply.headers["recommendation-id"]
                events.append(event)
                if one.get("source") == "explore":
                    assert 0.0 < one["propensity"] <= 1.0
                    explored, accepted = explored + 1, accepted + event["label"]
        self._post(web, events)
        return Answered(len(events), explored, accepted)

    def _event(self, user: int, item: str) -> dict[str, Any]:
        category = int(item) % CATEGORIES
        liked = category // LIKED == self.group_U[user]
        self.sent += 1
        return {
            "user": f"u{user}",
            "item": item,
            "category": f"c{category}",
            "time": _BEGIN_MS + self.day * _DAY_MS + self.sent,
            "label": int(self.rng.random() < (_TAKES if liked else _TAKES_OTHERS)),
        }

    def _post(self, web: Served, events: list[dict[str, Any]]) -> None:
        reply = web.ask("/events", events, headers={"authorization": f"Bearer {self.key}"})
        assert reply.status == 202, reply.body
        assert reply.json()["accepted"] == len(events)


def _asked(web: Served, user: int) -> Reply:
    """A list; the first version that is published may have nothing in it yet."""
    path = f"/users/u{user}/recommendations?k={K}"
    return until(lambda: web.ask(path), lambda said: said.status == 200 and said.json()["items"])
