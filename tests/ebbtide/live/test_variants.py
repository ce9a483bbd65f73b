"""Two variants side by side: who is served which, what came of it, and which wins."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from ebbtide.live.posted import RECOMMENDATION, of_body
from ebbtide.live.variants import FEWEST, VariantTally, verdict
from serving.connection import connect
from serving.run import Run
from serving.said import json_of
from state.arms import BASE, Arms, recommended_by
from state.errors import InputError
from state.store.contract import ItemRows, UserRows
from state.store.embedded import open_store
from streams.wire.message import Message
from tests.ebbtide.typed import run
from tests.serving.browser import launched, opened
from tests.serving.server import Served, served
from tests.serving.test_answers import ITEMS, MORNING, published

USERS = [f"user {n}" for n in range(12)]
TOPIC, TIME = "variant-events", "2026-11-27T18:00:00Z"


def test_the_split_is_even_the_same_everywhere_and_another_for_other_names() -> None:
    ids = [str(n) for n in range(6000)]
    two, three = Arms(["b"]), Arms(["c", "b"])
    assert all(1800 < count < 2200 for count in Counter(map(three.of, ids)).values())
    assert [three.of(one) for one in ids] == [Arms(["b", "c"]).of(one) for one in ids]
    moved = Counter((two.of(one), Arms(["d"]).of(one).replace("d", "b")) for one in ids)
    assert all(1350 < count < 1650 for count in moved.values())
    assert (recommended_by("b.12ab"), recommended_by("12ab")) == ("b", None)
    assert Arms([]).of("\ud800") == BASE
    with pytest.raises(InputError, match="expected a short name"):
        Arms(["a b"])


def events(random: np.random.Generator, chances: dict[str, float], users: int) -> Iterator[Message]:
    """Of users who take what they are shown with these chances, ten times each."""
    arms = Arms(["b"])
    for offset in range(users * 10):
        user = str(offset // 10)
        taken = random.random() < chances[arms.of(user)]
        said = {"user": user, "item": 1, "time": TIME, "event_id": f"e{offset}"}
        if taken:
            said["recommendation_id"] = f"{arms.of(user)}.{offset:x}"
        ((message, _),) = of_body(json.dumps(said).encode())
        yield Message(message.value, message.key, message.headers, 0, offset)


def test_who_is_better_wins_and_chance_does_not() -> None:
    random = np.random.default_rng(0)
    found = verdict(events(random, {BASE: 0.1, "b": 0.2}, 400), ["b"])
    assert (found.winner, found.said) == ("b", "b wins")
    ((pair),) = found.compared
    assert (pair.variant, pair.other) == ("b", BASE)
    assert pair.low < 1.0 < pair.high, "a tenth of ten events"
    assert found.arms[0].users + found.arms[1].users == 400
    worse = verdict(events(random, {BASE: 0.2, "b": 0.1}, 400), ["b"])
    assert worse.winner == BASE
    winners = [verdict(events(random, {BASE: 0.1, "b": 0.1}, 200), ["b"]).winner for _ in range(20)]
    assert winners.count(None) >= 17, "one in twenty by chance"


def test_what_is_read_on_is_counted_as_if_it_were_read_at_once() -> None:
    came, tally = list(events(np.random.default_rng(0), {BASE: 0.1, "b": 0.2}, 100)), VariantTally(["b"])
    for first in range(0, len(came), 300):
        assert tally.offsets.get(0, 0) == first
        tally.take(iter(came[first : first + 300]))
    assert tally.verdict() == verdict(iter(came), ["b"])


def test_what_does_not_count() -> None:
    arms = Arms(["b"])
    mine, other = ("b", BASE) if arms.of("ann") == "b" else (BASE, "b")

    def posted(number: int, by: str | None, **more: Any) -> Message:
        said = {"user": "ann", "item": 1, "time": TIME, "event_id": f"e{number}", **more}
        ((message, _),) = of_body(json.dumps(said).encode())
        headers = [*message.headers, *([(RECOMMENDATION, f"{by}.ab".encode())] if by else [])]
        return Message(message.value, message.key, headers, 0, number)

    came = [posted(0, mine), posted(0, mine), posted(1, other), posted(2, None), posted(3, mine, label=0)]
    came += [posted(4, mine, label=1), Message(b"no event", b"ann", [(RECOMMENDATION, b"\xff.x")], 0, 9)]
    found = verdict(iter(came), ["b"])
    (arm,) = (one for one in found.arms if one.name == mine)
    assert (arm.users, arm.events, arm.taken, arm.per_user) == (1, 5, 2, 2.0)
    assert found.said == f"too few users to tell: expected {FEWEST} of each variant"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each variant; their vectors differ."""
    found = {}
    for scale, name in enumerate((BASE, "b"), 1):
        found[name] = tmp_path_factory.mktemp(name)
        with open_store(found[name], create=True) as store:
            published(store)
            store.publish(
                5,
                UserRows(
                    ids=USERS,
                    event_time_ms_B=np.full(len(USERS), MORNING),
                    interests_BKD=np.full((len(USERS), 2, 4), scale, np.float32),
                ),
                ItemRows(
                    ids=list(ITEMS),
                    event_time_ms_B=np.full(len(ITEMS), MORNING),
                    vectors_BD=np.array(list(ITEMS.values()), np.float32) * np.float32(scale),
                ),
            )
    return found


@pytest.fixture(scope="module")
def web(folders: dict[str, Path], brokers: str, key: tuple[str, Path]) -> Iterator[tuple[Served, str]]:
    said, file = key
    options = ("--variant", f"b={folders['b']}", "--keys", str(file), "--brokers", brokers)
    with served(str(folders[BASE]), *options, "--events", TOPIC) as found:
        yield found, said


def test_each_user_is_served_by_one_and_what_comes_of_it_is_counted_for_that_one(
    web: tuple[Served, str], folders: dict[str, Path], brokers: str
) -> None:
    server, key = web
    arms, alone = Arms(["b"]), {name: connect(folder) for name, folder in folders.items()}
    assert {arms.of(user) for user in USERS} == {BASE, "b"}
    assert [one["name"] for one in server.ask("/variants").json()] == [BASE, "b"]
    expected = [json_of(alone[arms.of(user)].recommend(user, 3)) for user in USERS]
    assert isinstance(alone[BASE], Run)
    whole = server.ask("/recommendations:batch", {"users": USERS + USERS[:1], "k": 3}).json()
    assert whole["answers"] == expected + expected[:1]
    came = []
    for user, answer in zip(USERS, expected, strict=True):
        reply = server.ask(f"/users/{user.replace(' ', '%20')}/recommendations?k=3")
        assert reply.json() == answer
        path = f"/users/{user.replace(' ', '%20')}"
        assert server.ask(path).json() == json_of(alone[arms.of(user)].user(user))
        identifier = reply.headers["recommendation-id"]
        assert recommended_by(identifier) == arms.of(user)
        item = answer["items"][0]["item"]
        came.append({"user": user, "item": item, "time": TIME, "recommendation_id": identifier})
    for run_ in alone.values():
        run_.close()
    sent = server.ask("/events", came, headers={"authorization": f"Bearer {key}"})
    assert sent.status == 202
    said = json.loads(run("variants", "b", "--brokers", brokers, "--events", TOPIC, "--json").stdout)
    taken = {one["name"]: (one["users"], one["taken"]) for one in said["arms"]}
    assert taken == {name: (n, n) for name, n in Counter(map(arms.of, USERS)).items()}
    assert "too few users to tell" in said["said"]
    assert "base" in run("variants", "b", "--brokers", brokers, "--events", TOPIC).stdout
    assert server.ask("/variants/verdict").json() == said
    with launched() as browser, opened(browser, f"{server.url}/#/system") as page:
        card = page.locator(".card").filter(has=page.get_by_role("heading", name="Variants"))
        expect(card).to_contain_text("too few users to tell: expected 30 of each variant")
        cells = card.get_by_role("row").filter(has_text="base").get_by_role("cell")
        expect(cells).to_have_text(["5", *[str(taken[BASE][0])] * 3, "1.0000"])


@pytest.mark.parametrize("said", ["b", "b=", "a b=x", "b=nowhere"])
def test_a_variant_that_is_none_is_refused(said: str, folders: dict[str, Path]) -> None:
    refused = run("serve", "--from", folders[BASE], "--port", "0", "--variant", said, check=2).stderr
    assert "variant" in refused or "no embeddings there" in refused
