"""The page at `/` as a reader has it: in a real browser, on a replayed log with habits."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import ebbtide
from state.store.contract import ItemRows, UserRows
from state.store.embedded import open_store
from tests.serving.browser import LOOKS, PATIENCE_MS, Look, launched, opened
from tests.serving.server import Served, served

EVIL = '<img src=x onerror="alert(1)">'
VIEWS = ("somebody", "users", "users/u1", "items", "items/i7", "system")
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def web(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Habits with hours and places; titles, and among them what must never be markup."""
    folder = tmp_path_factory.mktemp("run")
    ebbtide.replay("planted:users=30,items=60,events=1500,days=40", folder)
    with open_store(folder) as store:
        info = store.info()
        assert info is not None
        titles = {item: f"Thing {item}" for item in store.items().ids} | {EVIL: EVIL}
        popular = ((EVIL, 1e6), *info.popular)
        store.put_info(
            msgspec.structs.replace(info, titles=titles, popular=popular, columns={EVIL: {EVIL: (EVIL,)}})
        )
        version, now = store.version() + 1, np.array([1_700_000_000_000])
        item_BD = np.full((1, info.width), 0.1, np.float32)
        user_BKD = np.full((1, len(info.interests), info.width), 0.1, np.float32)
        store.publish(
            version,
            UserRows(ids=[EVIL], event_time_ms_B=now, interests_BKD=user_BKD),
            ItemRows(ids=[EVIL], event_time_ms_B=now, vectors_BD=item_BD),
        )
    with served(str(folder)) as found:
        yield found


def order(page: Page) -> list[str]:
    return page.locator(".recommendations > li .item").all_inner_texts()


def choices(page: Page) -> Locator:
    return page.locator(".choices button")


def after_a_click(page: Page) -> None:
    """Until the list that is shown is of a click."""
    expect(page.locator(".told[data-ms]:not([data-ms=''])")).to_be_visible()


def test_somebody_new_clicks_five_things_and_the_list_goes_by_them(browser: Browser, web: Served) -> None:
    with opened(browser, web.url) as page:
        expect(page.locator(".recommendations > li")).to_have_count(10)
        expect(page.locator(".told")).to_contain_text("What is popular")
        seen = [order(page)]
        for clicks, choice in enumerate((3, 5, 7, 9, 11), 1):
            choices(page).nth(choice).click()
            expect(page.locator(".trail li")).to_have_count(clicks)
            after_a_click(page)
            seen.append(order(page))
        assert len(set(map(tuple, seen))) > 3
        expect(page.locator(".told")).to_contain_text("/sessions/recommendations")
        assert page.locator(".recommendations > li .why li").count() >= 10
        expect(page.locator("#told")).to_contain_text("moved")
        expect(page.locator(".move").first).to_be_visible()
        page.locator(".trail .drop").first.click()
        expect(page.locator(".trail li")).to_have_count(4)


def test_somebody_of_the_log_is_recommended_to_by_what_they_remember_and_click(
    browser: Browser, web: Served
) -> None:
    with opened(browser, web.url) as page:
        page.get_by_label("A user of the log").fill("u1")
        page.get_by_role("button", name="Be this user").click()
        expect(page.get_by_text("remembered event")).to_be_visible()
        before = order(page)
        choices(page).nth(4).click()
        after_a_click(page)
        assert order(page) != before
        page.get_by_role("button", name="Anybody").click()
        expect(page.locator(".trail li")).to_have_count(0)


def test_things_are_found_by_their_titles_and_chosen_by_the_keyboard(browser: Browser, web: Served) -> None:
    with opened(browser, web.url) as page:
        page.get_by_label("Find").fill("thing i12")
        expect(choices(page).first).to_contain_text("Thing i12")
        page.get_by_label("Find").press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator(".trail li")).to_contain_text(["Thing i12"])
        page.get_by_label("Find").fill("nothing is called so")
        expect(choices(page)).to_have_count(0)


def test_another_time_and_place_are_asked_for_by_sliders(browser: Browser, web: Served) -> None:
    with opened(browser, f"{web.url}/#/users/u1") as page:
        expect(page.locator(".memory")).not_to_have_count(0)
        expect(page.locator(".spot")).not_to_have_count(0)
        assert page.locator(".hour").count() == 168
        told = page.locator(".told")
        weekday = page.get_by_role("slider", name="Weekday")
        weekday.focus()
        page.keyboard.press("Home")
        expect(told).to_contain_text("As of Mon ")
        page.get_by_role("slider", name="Hour").fill("19")
        expect(told).to_contain_text(" 19:00")
        page.locator(".hour").nth(4 * 24 + 18).click()
        expect(told).to_contain_text("As of Fri ")
        expect(page.locator(".when")).to_contain_text("Friday, 18:00")
        page.get_by_role("combobox", name="Place").select_option(index=1)
        expect(page.locator(".spot.here")).to_have_count(1)
        page.get_by_role("button", name="As of the last event").click()
        expect(page.locator(".when")).to_contain_text("moment of the last event")
        expect(page.locator(".spot.here")).to_have_count(0)


def test_an_item_is_shown_with_what_is_like_it(browser: Browser, web: Served) -> None:
    with opened(browser, f"{web.url}/#/items") as page:
        choices(page).nth(2).click()
        expect(page.get_by_role("heading", name="Like it")).to_be_visible()
        assert page.locator(".bars li").count() > 5
        expect(page.locator(".facts")).to_contain_text("last event")


def test_a_run_is_shown_beside_its_floors(browser: Browser, web: Served) -> None:
    with opened(browser, f"{web.url}/#/system") as page:
        expect(page.get_by_role("heading", name="recall@10")).to_be_visible()
        expect(page.locator(".tile").filter(has_text="recall@10")).to_contain_text("best floor")
        assert page.locator(".line.s0").count() >= 2
        page.get_by_role("link", name="The whole report").click()
        expect(page).to_have_title(re.compile("^Ebbtide: planted"))


def test_a_refusal_is_told_in_the_words_of_the_server(browser: Browser, web: Served) -> None:
    with opened(browser, f"{web.url}/#/users/nobody%2Fat%20all") as page:
        expect(page.get_by_role("alert")).to_contain_text("unknown user 'nobody/at all'")


def test_what_comes_from_outside_is_never_markup(browser: Browser, web: Served) -> None:
    with opened(browser, web.url) as page:
        choices(page).filter(has_text=EVIL).first.click()
        expect(page.locator(".trail")).to_contain_text(EVIL)
        page.get_by_label("A user of the log").fill(EVIL)
        page.get_by_role("button", name="Be this user").click()
        page.locator("p").get_by_role("link", name=EVIL).click()
        expect(page.get_by_role("heading", name=f"User {EVIL}")).to_be_visible()
        page.goto(f"{web.url}/#/items/{EVIL}")
        expect(page.get_by_role("heading", name=EVIL)).to_be_visible()
        assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize("look", [look for look in LOOKS if look != "light"])  # a phone is light, too
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    browser: Browser, web: Served, look: Look
) -> None:
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    with opened(browser, web.url, look) as page:
        page.evaluate(axe)
        for view in VIEWS:
            page.goto(f"{web.url}/#/{view}")
            settled(page, view)
            found: dict[str, Any] = page.evaluate("axe.run()")
            assert not [(one["id"], [n["html"] for n in one["nodes"]]) for one in found["violations"]], view
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def settled(page: Page, view: str) -> None:
    """Until a view is drawn."""
    last = {
        "somebody": ".recommendations > li",
        "users": ".cloud",
        "users/u1": ".interests",
        "items": ".choices button",
    }
    expect(page.locator(last.get(view, ".bars li, .tile")).first).to_be_visible()


def test_the_skip_link_leads_past_the_menu(browser: Browser, web: Served) -> None:
    with opened(browser, web.url) as page:
        expect(page.locator(".recommendations > li").first).to_be_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        expect(page.locator(".recommendations > li").first).to_be_visible()
