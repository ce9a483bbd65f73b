"""The page at `/` without a browser: what is served, that nothing is inline, that the wheel has it."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from serving.web.page import CSP, read
from state.store.embedded import open_store
from tests.serving import test_answers
from tests.serving.server import Served, served
from tests.test_architecture import ROOT

VOID = {"meta", "link", "img", "br", "input"}
FILES = sorted(path.name for path in (ROOT / "serving" / "page").iterdir())
MODULES = [name for name in FILES if name.endswith(".js")]
NEVER = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(.style"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    test_answers.published(open_store(made, create=True)).close()
    (made / "report.json").write_text('{"schema_version": 1}')
    (made / "report.html").write_text("<!doctype html><title>a report</title>")
    return made


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[Served]:
    with served(str(folder)) as found:
        yield found


class Checked(HTMLParser):
    """Every tag closed in turn; ids once; what is named, and what would run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and not given.get("src")) else []
        self.ids += [str(given["id"])] if "id" in given else []
        self.named += [str(given[name]) for name in ("src", "href") if name in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_document_is_whole_and_nothing_of_it_is_inline() -> None:
    page = Checked()
    page.feed(read()["index.html"].body.decode())
    assert (page.open, page.inline) == ([], [])
    assert len(set(page.ids)) == len(page.ids)
    there = {f"/page/{name}" for name in FILES} | {f"#{one}" for one in page.ids} | {"/openapi.json"}
    assert {name for name in page.named if not name.startswith("#/")} <= there


def test_every_file_is_served_under_a_policy_that_allows_nothing_from_elsewhere(web: Served) -> None:
    assert sorted(read()) == FILES
    for name in FILES:
        path = "/" if name == "index.html" else f"/page/{name}"
        answer = web.ask(path)
        assert (answer.status, answer.body) == (200, (ROOT / "serving" / "page" / name).read_bytes())
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert web.ask(path, headers={"if-none-match": answer.headers["etag"]}).status == 304
    assert "default-src 'self'" in CSP
    assert "unsafe" not in CSP
    assert web.ask("/page/nothing.js").status == 404
    assert web.ask("/page/..%2Fweb%2Fapp.py").status == 404


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_is_there_and_never_makes_markup_of_a_text(name: str) -> None:
    text = files("serving").joinpath("page", name).read_text()
    assert {path.removeprefix("./") for path in re.findall(r'from "([^"]+)"', text)} <= set(MODULES)
    assert not NEVER.search(text)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert len(text.splitlines()) < 250


def test_modules_are_all_reached() -> None:
    reached, waiting = set[str](), ["app.js"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        text = files("serving").joinpath("page", name).read_text()
        waiting += {path.removeprefix("./") for path in re.findall(r'from "([^"]+)"', text)} - reached
    assert sorted(reached) == MODULES


def test_the_wheel_has_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(Path(name).name for name in names if name.startswith("serving/page/")) == FILES


def test_the_report_of_a_served_folder_is_there(web: Served, folder: Path) -> None:
    assert web.ask("/report").json() == {"schema_version": 1}
    answer = web.ask("/report.html")
    assert b"a report" in answer.body
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    (folder / "report.json").unlink()
    gone = web.ask("/report")
    assert (gone.status, gone.headers["content-type"]) == (404, "application/problem+json")
