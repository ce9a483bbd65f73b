"""The page of a live path: what happens now by server-sent events, versions and the way back."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from learners.coevolution.record import Cluster, Coevolution, Record, Verdict, Verified
from state.drift_alarm import DriftAlarm, EmbeddingHealth
from state.progress import CycleAnswer, TrainerStatus, encode
from state.store.contract import EmbeddingStore
from state.store.embedded import open_store
from tests.patience import until
from tests.serving import test_answers
from tests.serving.browser import PATIENCE_MS, launched, opened
from tests.serving.server import Served, served
from tests.serving.test_answers import MORNING

KEY = "ebb_of-a-test"
expect.set_options(timeout=PATIENCE_MS)
ALARM = DriftAlarm(
    signal="log_loss", detector="adwin", event=7, time_ms=1, before=0.5, after=0.6, worse=True, open=True
)
HEALTH = EmbeddingHealth(
    event=9_000,
    time_ms=MORNING,
    items=1234,
    covered=0.5,
    norm=1.25,
    norm_95=2.0,
    width=64,
    effective_rank=30.5,
    centroid_shift=None,
    neighbour_churn=0.25,
)


def said(
    trained: int,
    updated_ms: int,
    trouble: str | None = None,
    lag: int = 3,
    cycle_answers: Sequence[CycleAnswer] = (),
) -> bytes:
    return encode(
        TrainerStatus(
            trained=trained,
            duplicates=2,
            version=4,
            offsets={},
            lag=lag,
            freshness_ms={"p50": 100.0, "p95": 200.0, "p99": 240.0},
            metrics={"recall@10": 0.25, "log_loss": 0.5},
            floor={"recall@10": 0.2, "log_loss": 0.4},
            checkpoint_ms=None,
            alarms=[ALARM],
            embeddings=HEALTH,
            trouble=trouble,
            cycle_answers=list(cycle_answers),
            started_ms=0,
            updated_ms=updated_ms,
            pid=1,
            host="here",
        )
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddingStore]:
    with test_answers.published(open_store(tmp_path_factory.mktemp("live"), create=True)) as made:
        yield made


@pytest.fixture(scope="module")
def web(
    browser: Browser, store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    keys: Path = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"page:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    store.put_status(said(1000, 1_000))
    with served(str(store).split("'")[1], "--keys", str(keys)) as found:
        yield found


def test_what_happens_is_shown_while_it_happens(browser: Browser, web: Served, store: EmbeddingStore) -> None:
    with opened(browser, f"{web.url}/#/system") as page:
        tile = page.locator(".tile").filter(has_text="duplicates dropped")
        expect(tile).to_contain_text("1,000")
        expect(page.locator(".tile").filter(has_text="freshness")).to_contain_text("240 ms")
        expect(page.locator(".card").filter(has_text="recall@10").first).to_contain_text(
            "beside 0.2000 of the best floor"
        )
        expect(page.locator("p b.good")).to_have_text("0.2500")
        expect(page.locator("p b.bad")).to_have_text("0.5000")  # a log loss above its floor's
        expect(page.locator("tr.bad")).to_contain_text("log_loss")
        expect(page.locator(".line.s1").first).to_be_attached()
        health = page.locator(".card").filter(has=page.get_by_role("heading", name="Embeddings"))
        expect(health).to_contain_text("50 %of a sample of 1,234 items")
        expect(health).to_contain_text("30.5of 64")
        expect(health).to_contain_text("25 %of the ten nearest")
        expect(health).not_to_contain_text("centre moved")
        expect(page.locator(".tile").filter(has_text="freshness")).not_to_contain_text("backlog")
        store.put_status(said(2500, 2_000, trouble="the disk is full", lag=5000))
        expect(tile).to_contain_text("2,500")
        expect(page.locator(".tile").filter(has_text="freshness")).to_contain_text("of a backlog")
        expect(page.get_by_role("alert").filter(has_text="the disk is full")).to_be_visible()


def test_readers_are_served_an_earlier_version_and_the_newest_again(
    browser: Browser, web: Served, store: EmbeddingStore
) -> None:
    kept = store.keep("before the sale")
    store.advance(kept + 5)
    with opened(browser, f"{web.url}/#/system") as page:
        expect(page.locator(".kept")).to_contain_text("before the sale")
        roll_back = page.get_by_role("button", name=f"Roll back to version {kept}")
        roll_back.click()
        expect(page.get_by_role("alert").filter(has_text="No valid key")).to_be_visible()
        page.get_by_label("Key", exact=True).fill(KEY)
        page.get_by_label("Key", exact=True).press("Tab")
        roll_back.click()
        expect(page.get_by_text(f"Readers are served version {kept}, an earlier one")).to_be_visible()
        page.get_by_role("button", name="Serve the newest again").click()
        expect(page.get_by_text(f"Readers are served the newest, {kept + 5}")).to_be_visible()


def test_cycles_are_told_with_their_reasons_and_their_trainer_is_asked(
    browser: Browser, web: Served, store: EmbeddingStore
) -> None:
    evolved = Coevolution(
        clusters_by="category",
        clusters=[Cluster(name=name, items=2, popular=["tea"]) for name in ("other", "drinks")],
        serving=2,
        running=True,
        cycles=[cycle(0, refused="12 explored events of held-back users, 1,000 are needed"), cycle(1)],
    )
    store.put_info(msgspec.structs.replace(test_answers.INFO, coevolution=msgspec.to_builtins(evolved)))
    until(lambda: web.ask("/cycles").json() is not None)
    with opened(browser, f"{web.url}/#/system") as page:
        card = page.locator(".card").filter(has=page.get_by_role("heading", name="Cycles"))
        expect(card).to_contain_text(
            "2 cycles, 1 promoted; 1 cluster of items by category; version 2 serves."
        )
        expect(card).to_contain_text("A cycle is running.")
        expect(card.locator("tbody tr").first).to_contain_text("1 → 2")
        expect(card.locator("tbody tr").first).to_contain_text("promoted")
        expect(card.locator("tbody tr").last).to_contain_text("refused 12 explored events")
        back = card.get_by_role("button", name="Explore by the version before")
        back.click()
        expect(card.get_by_role("alert")).to_contain_text("No valid key")
        card.get_by_label("Key").fill(KEY)
        card.get_by_label("Key").press("Tab")
        store.put_status(said(2500, 1_000))
        back.click()
        expect(card.get_by_role("alert")).to_contain_text("no trainer is at work")
        store.put_status(said(2500, 4_000_000_000_000))  # by its clock: never silent
        back.click()
        asked = until(store.request)
        assert asked is not None
        number, what = asked.decode().split()
        assert what == "rollback"
        why = "version 1 serves, and none before it is kept"
        refusal = CycleAnswer(request=number, what=what, time_ms=MORNING, said=why, refused=True)
        store.put_status(said(2500, 4_000_000_000_000, cycle_answers=[refusal]))
        expect(card.get_by_role("alert")).to_contain_text(why)
        store.put_info(
            msgspec.structs.replace(
                test_answers.INFO,
                coevolution=msgspec.to_builtins(
                    msgspec.structs.replace(evolved, serving=1, running=False, answers=[refusal])
                ),
            )
        )
        expect(card).to_contain_text("version 1 serves.")
        expect(card).to_contain_text(f"refused: {why}")
        card.get_by_text("Clusters", exact=True).click()
        expect(card).to_contain_text("drinks: 2 items, such as tea")


def cycle(number: int, refused: str | None = None) -> Record:
    return Record(
        number=number,
        time_ms=MORNING,
        from_version=1,
        to_version=1 if refused else 2,
        verified=Verified(slates=1234, accepted=0.25, expected=0.5, log_loss=0.5),
        lessons=7,
        codes_changed=0.125,
        divergence=0.5,
        expected_before=None,
        expected_after=None,
        verdict=Verdict(promoted=refused is None, reason=refused or "no lower", events=1000),
    )


def test_a_key_in_the_address_is_taken_out_of_it(browser: Browser, web: Served) -> None:
    with opened(browser, f"{web.url}/#key={KEY}") as page:
        expect(page).to_have_url(f"{web.url}/#/somebody")
        page.goto(f"{web.url}/#/system")
        expect(page.get_by_label("Key", exact=True)).to_have_value(KEY)
