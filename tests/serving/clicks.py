"""How long it takes from a click on the page until the list has changed, in Chromium.

python -m tests.serving.clicks http://127.0.0.1:8080 50            # clicks that are sent along
python -m tests.serving.clicks 'http://127.0.0.1:8080/#key=KEY'    # clicks as events, learned from
"""

import sys

import numpy as np

from tests.serving.browser import launched, opened

CLICKS = 30
PERCENTILES = (50, 95, 100)


def main(url: str, clicks: int) -> None:
    """Prints percentiles of milliseconds, as the page itself has measured and tells them."""
    with launched() as browser, opened(browser, url) as page:
        page.wait_for_selector(".recommendations > li")
        taken_ms = []
        for number in range(1, clicks + 1):
            page.locator(".choices button").nth(number % 18).click()
            page.wait_for_function("n => document.querySelectorAll('.trail li').length === n", arg=number)
            taken_ms.append(int(page.locator(".told").get_attribute("data-ms") or 0))
        said = ", ".join(f"p{p} {np.percentile(taken_ms, p):,.0f} ms" for p in PERCENTILES)
        print(f"{clicks} clicks: {said}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else CLICKS)
