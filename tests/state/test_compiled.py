"""Where compiled kernels are kept: by what they could have seen, not by where the sources lie."""

import os
import subprocess
import sys
from pathlib import Path

from state.compiled import digest

KERNEL = """
from state.compiled import compiled
from state.near import SHIFT

@compiled
def add(x):
    return x + SHIFT
"""
ASKED = """
from state.compiled import compiled_here
from state.kernel import add
print(add(1), compiled_here())
"""
TOP = Path(__file__).parent.parent.parent
DOOR = TOP / "state" / "compiled.py"


def _answer(checkout: Path, cache: Path, shift: int) -> str:
    """What a process in `checkout` computes, and whether it had to compile."""
    room = checkout / "state"
    room.mkdir(parents=True, exist_ok=True)
    sources = {
        "__init__": "",
        "compiled": DOOR.read_text(),
        "kernel": KERNEL,
        "near": "from state.far import SHIFT as SHIFT",
        "far": f"SHIFT = {shift}",
        "unrelated": f"ANYTHING = {checkout.name!r}",
    }
    for name, text in sources.items():
        (room / f"{name}.py").write_text(text)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", ASKED]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_file_with_kernels_is_known_by_its_content() -> None:
    rooms = [room for room in TOP.iterdir() if room.is_dir() and room.name[0] != "."]
    files = [path for room in rooms for path in room.rglob("*.py") if "runs" not in path.parts]
    with_kernels = [path for path in files if "\nfrom state.compiled import " in path.read_text()]
    modules = [".".join(path.relative_to(TOP).with_suffix("").parts) for path in with_kernels]
    assert "learners.tables.catalogue" in modules
    nothing = digest("no.such.module")
    assert [module for module in modules if digest(module) == nothing] == []


def test_another_checkout_of_the_same_sources_compiles_nothing(tmp_path: Path) -> None:
    assert _answer(tmp_path / "first", tmp_path / "kept", 10) == "11 True"
    assert _answer(tmp_path / "first", tmp_path / "kept", 10) == "11 False"
    assert _answer(tmp_path / "second", tmp_path / "kept", 10) == "11 False"


def test_a_change_in_what_is_imported_far_away_is_seen(tmp_path: Path) -> None:
    assert _answer(tmp_path / "first", tmp_path / "kept", 10) == "11 True"
    assert _answer(tmp_path / "first", tmp_path / "kept", 20) == "21 True"
    assert _answer(tmp_path / "first", tmp_path / "kept", 10) == "11 False"
