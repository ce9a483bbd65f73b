"""Pictures of the page for the README: `make screenshots` writes them into docs/images.

Run by hand (`python -m tests.serving.screenshots [DIR]`), on two known logs: films with titles, and purchases
with hours; and of `ebbtide up`, a minute after it began.
"""

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

import ebbtide
from tests.serving.browser import Look, launched, opened
from tests.serving.server import served

ROOT = Path(__file__).parent.parent.parent
QUALITY = 80
LIKED = ("star wars", "alien", "blade runner", "terminator 2", "empire strikes")


def shot(page: Page, path: Path) -> None:
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    taken = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot", {"format": "webp", "quality": QUALITY}
    )
    path.write_bytes(base64.b64decode(taken["data"]))
    print(f"{path}: {path.stat().st_size:,} bytes")


def somebody(page: Page, path: Path) -> None:
    page.wait_for_selector(".recommendations > li")
    for number, title in enumerate(LIKED, 1):
        page.get_by_label("Find").fill(title)
        page.locator(".choices button", has_text=title.title()).first.click()
        page.wait_for_function("n => document.querySelectorAll('.trail li').length === n", arg=number)
    page.get_by_label("Find").fill("")
    shot(page, path)


def user(page: Page, path: Path) -> None:
    page.wait_for_selector(".interests")
    page.get_by_role("slider", name="Weekday").fill("4")
    page.get_by_role("slider", name="Hour").fill("18")
    page.wait_for_function("() => document.querySelector('.told').textContent.includes(' 18:00')")
    shot(page, path)


@contextmanager
def up(folder: Path) -> Iterator[str]:
    """Where `ebbtide up` answers: films as what happens now."""
    command = [sys.executable, "-m", "ebbtide", "up", "--dir", str(folder), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGINT)


def live(page: Page, path: Path) -> None:
    page.wait_for_function("n => document.querySelectorAll('.line').length >= n", arg=4)
    page.wait_for_timeout(60_000)
    shot(page, path)


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as held, launched() as browser:
        films, shop = Path(held, "films"), Path(held, "shop")
        ebbtide.replay("movielens-100k", films, limit=30_000)
        ebbtide.replay("completejourney", shop, limit=40_000)
        looks: tuple[tuple[str, Look], ...] = (("", "light"), ("-dark", "dark"), ("-phone", "phone"))
        with served(str(films)) as web:
            for name, look in looks:
                with opened(browser, web.url, look) as page:
                    somebody(page, out / f"somebody{name}.webp")
        with served(str(shop)) as web, opened(browser, f"{web.url}/#/users/1639") as page:
            user(page, out / "user.webp")
        with up(Path(held, "up")) as url, opened(browser, f"{url}/#/system") as page:
            live(page, out / "system.webp")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
