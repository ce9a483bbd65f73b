"""A real Chromium, driven by Playwright, that reports what a reader of the page would not see."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATH = "EBBTIDE_CHROMIUM"
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
PATIENCE_MS = 600_000
"""Of what a slow machine does; a test does not fail by the clock."""
Look = Literal["light", "dark", "phone"]
LOOKS: tuple[Look, ...] = ("light", "dark", "phone")


def chromium() -> str | None:
    """Where one is: named, or on the path."""
    return os.environ.get(PATH) or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Skips where there is no Chromium: what can be tested without one is in `test_page`."""
    path = chromium()
    if path is None:
        pytest.skip(f"no Chromium: apt-get install chromium, or name one in {PATH}")
    options = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else QUIET
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, look: Look = "light") -> Iterator[Page]:
    """A fresh page; whatever it logs as an error, raises, or asks of another host fails the test."""
    phone = look == "phone"
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 900},
        color_scheme="dark" if look == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []

    def logged(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    page.on("console", logged)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    host = url.partition("#")[0]
    page.on("request", lambda asked: None if asked.url.startswith(host) else wrong.append(asked.url))
    page.goto(url)
    yield page
    context.close()
    assert not wrong
