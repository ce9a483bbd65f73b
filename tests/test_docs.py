"""Pages and docstrings keep their word: what they show runs, and what they point at is there."""

import doctest
import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

import ebbtide
import learners.systems
from learners.check import CHECKS
from learners.contract import Learner
from learners.registry import learner
from tests.contracts.test_every_learner import Bench

DOCS = Path(__file__).parent.parent / "docs"
INSTALLED = ("ebbtide", "learners", "monitor", "replay", "serving", "state", "streams")
OF_FLINK = {"streams.engines.flink", "streams.engines.flink_export"}
"""What can be loaded in `.venv-flink` alone."""


def modules() -> dict[str, str]:
    """Name -> source of every module that is installed."""
    top = DOCS.parent
    paths = [path for package in INSTALLED for path in sorted((top / package).rglob("*.py"))]
    dotted = {".".join(path.relative_to(top).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path.read_text() for name, path in dotted.items()}


MODULES = modules()


def block(language: str) -> str:
    """The one block of that language in the page on learners."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", (DOCS / "learners.md").read_text(), re.DOTALL)
    return str(found)


@pytest.mark.parametrize("name", [name for name, source in MODULES.items() if ">>> " in source])
def test_the_examples_of_a_docstring_are_so(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert (failed, tried > 0) == (0, True)


def test_every_module_can_be_loaded() -> None:
    for name in MODULES.keys() - OF_FLINK:
        if not name.endswith("__main__"):
            importlib.import_module(name)


def test_files_that_the_pages_and_docstrings_name_are_there() -> None:
    top = DOCS.parent
    packages = [path.parent.name for path in top.glob("*/__init__.py")]
    files = [path for package in packages for path in (top / package).rglob("*.py")]
    there = "\n".join(str(path) for path in files)
    dotted = re.compile(rf"`((?:{'|'.join(packages)})(?:\.\w+)+)(?<!\.safetensors)`")
    missing = []
    for path in [*files, top / "README.md", *DOCS.glob("*.md")]:
        text = path.read_text()
        missing += [
            f"{path}: {file}" for file in re.findall(r"`([\w/]+\.py)`", text) if f"/{file}" not in there
        ]
        missing += [f"{path}: {module}" for module in dotted.findall(text) if not _resolves(top, module)]
    assert not missing


def _resolves(top: Path, dotted: str) -> bool:
    """Whether it is a package, a module, or a name that stands in one."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        place = top.joinpath(*parts[:size])
        sources = [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()]
        if sources:
            return parts[size:] == [] or parts[size] in sources[0].read_text()
    return False


@contextmanager
def installed(name: str, language: str, folder: Path) -> Iterator[type[Learner]]:
    """A learner of the page: one more file in the package, and no edit elsewhere."""
    (folder / f"{name}.py").write_text(block(language))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learners.systems, "__path__", [*learners.systems.__path__, str(folder)])
        yield learner(name)
    del sys.modules[f"learners.systems.{name}"]


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Learner]]:
    with installed("echo", "python", tmp_path_factory.mktemp("learners")) as found:
        yield found


def test_the_network_of_the_page_keeps_the_contract(tmp_path: Path) -> None:
    with installed("average", "py", tmp_path) as average:
        ebbtide.check(average)


def test_what_the_page_says_of_the_contract_is_so(echo: type[Learner]) -> None:
    names = {**vars(sys.modules[echo.__module__])}
    example = doctest.DocTestParser().get_doctest(block("pycon"), names, "learners.md", None, 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert not said, "".join(said)
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "learners.md").read_text(), re.MULTILINE)
    assert rows == list(CHECKS)


def test_it_runs_with_the_settings_of_the_page(echo: type[Learner], tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(block("toml"))
    log = "planted:users=30,items=60,events=1500"
    report = ebbtide.replay(log, tmp_path / "out", config=tmp_path / "run.toml", ablate=True)
    assert report.ranker == "echo"
    assert report.config["learners"] == {"echo": {"window": 128}}
    assert report.ablation is not None
    assert [variant.name for variant in report.ablation.variants] == ["no crowd"]


def test_it_learns_how_often_users_repeat_themselves(echo: type[Learner]) -> None:
    bench = Bench(echo, labelled=False).run()
    again, all_rows = bench.learner.tree()["repeats"]
    assert 0.4 < again / all_rows < 0.95


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: str(page.name))
def test_what_a_page_points_at_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("http"):
            name, _, heading = target.partition("#")
            found = page.parent / name if name else page
            assert found.exists(), target
            titles = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE) if heading else []
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert not heading or heading in anchors, target


@pytest.mark.parametrize("drawing", sorted(DOCS.glob("*.svg")), ids=lambda drawing: str(drawing.name))
def test_a_drawing_is_whole_and_fetches_nothing(drawing: Path) -> None:
    root = ElementTree.fromstring(drawing.read_text())
    assert root.tag.endswith("svg")
    assert root.find("{*}title") is not None
    assert not re.search(r"(?i)<script|<image|\bhref=|url\(\s*['\"]?http", drawing.read_text())
