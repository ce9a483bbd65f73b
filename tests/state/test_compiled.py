"""Where compiled kernels are kept: by what they could have seen, not by where the sources lie."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
SUMS = """
import numpy as np
from state.compiled import compiled, inner, inner_reordered

@inner_reordered
def dense(x_FC, weight_F, out_C):
    out_C[:] = 0.0
    for f in range(len(x_FC)):
        for c in range(x_FC.shape[1]):
            out_C[c] += weight_F[f] * x_FC[f, c]

@inner_reordered
def layers(x_FC, weight_LF, work_C, out_C):
    top = np.float32(-np.inf)
    for layer in range(len(weight_LF)):
        dense(x_FC, weight_LF[layer], work_C)
        for c in range(len(work_C)):
            out_C[c] += np.exp(work_C[c] * weight_LF[layer, 0])
            top = max(top, out_C[c])
    total = np.float32(0.0)
    for c in range(len(out_C)):
        total += out_C[c] / top
    return total

@compiled
def once(x_FC, weight_LF):
    work_C, out_C = np.zeros(x_FC.shape[1], np.float32), np.zeros(x_FC.shape[1], np.float32)
    return layers(x_FC, weight_LF, work_C, out_C)

@compiled
def often(x_FC, weight_LF):
    out_C = np.zeros(x_FC.shape[1], np.float32)
    total = np.float32(0.0)
    for _ in range(3):
        total += layers(x_FC, weight_LF[:3], np.zeros(x_FC.shape[1], np.float32), out_C)
        total -= layers(x_FC, weight_LF[1:4], np.zeros(x_FC.shape[1], np.float32), out_C)
    return total

@inner
def refuse(number):
    if number > 1:
        raise ValueError("too many")
    return number

@compiled
def checked(number):
    return refuse(number) + 1
"""
SUMMED = """
import sys
import numpy as np
from state.compiled import compiled_here
from state import sums
rng = np.random.default_rng(0)
normal = lambda *size: rng.normal(size=size).astype("f")
logs = [(normal(17, size), normal(5, 17)) for size in (7, 333, 1001)]
for name in sys.argv[1:]:
    print(name, *(float(getattr(sums, name)(*log)).hex() for log in logs))
print(compiled_here())
"""
REFUSED = """
from state import sums
try:
    print(sums.checked(1), sums.checked(2))
except ValueError as error:
    print(error)
"""
ARRAYS = """
from typing import NamedTuple
import numpy as np
from numpy.typing import NDArray
from state.compiled import compiled, inner

class Pair(NamedTuple):
    a_N: NDArray[np.float64]
    b_N: NDArray[np.float64]

@inner
def half(pair: Pair, which: int) -> Pair:
    return Pair(pair.a_N[2:], pair.b_N) if which else Pair(pair.b_N, pair.a_N[1:])

@inner
def total(pair: Pair, first: int) -> float:
    summed = 0.0
    for one_N in (pair.a_N[first:], pair.b_N):
        for number in one_N:
            summed += number
    return summed

@compiled
def lean(pair: Pair, first: int) -> float:
    return total(pair, first) + total(Pair(pair.b_N, pair.a_N), 0)

@compiled
def trading(pair: Pair, first: int) -> float:
    return total(half(pair, first), first) + lean(half(half(pair, 1), 0), 0)

@compiled
def giving(pair: Pair, first: int) -> NDArray[np.float64]:
    made_N = np.zeros(3)
    made_N[0] = trading(Pair(made_N, pair.b_N), first)
    return half(Pair(pair.a_N, made_N), 0).a_N
"""
COUNTED = """
import sys, weakref
import numpy as np
from state.pairs import Pair, giving, half, lean, total, trading
pair, calls = Pair(np.arange(6.0), np.ones(4)), (lean, trading, giving)
counts = [sys.getrefcount(array_N) for array_N in pair]
for _ in range(100):
    given = [call(pair, 1) for call in calls]
print(*given)
print(*(kernel.__name__ for kernel in (half, total, *calls) if kernel.targetoptions["_nrt"]))
print([sys.getrefcount(array_N) for array_N in pair] == counts)
gone = [weakref.ref(array_N) for array_N in pair]
del pair, given
print([one() for one in gone])
"""
TOP = Path(__file__).parent.parent.parent
DOOR = {name: (TOP / "state" / f"{name}.py").read_text() for name in ("compiled", "machine_code")}


def _answer(checkout: Path, cache: Path, shift: int) -> str:
    """What a process in `checkout` computes, and whether it had to compile."""
    sources = {
        "kernel": KERNEL,
        "near": "from state.far import SHIFT as SHIFT",
        "far": f"SHIFT = {shift}",
        "unrelated": f"ANYTHING = {checkout.name!r}",
    }
    return _said(checkout, cache, sources, ASKED).strip()


def _said(checkout: Path, cache: Path, sources: dict[str, str], asked: str, *words: str) -> str:
    """What a process in `checkout` says that runs `asked`."""
    room = checkout / "state"
    room.mkdir(parents=True, exist_ok=True)
    for name, text in {"__init__": "", **DOOR, **sources}.items():
        (room / f"{name}.py").write_text(text)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # two versions of one second and length are one to Python
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", asked, *words]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


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


def test_kernels_count_references_if_they_make_or_trade_arrays_and_nothing_is_lost_or_kept(
    tmp_path: Path,
) -> None:
    said = _said(tmp_path, tmp_path / "kept", {"pairs": ARRAYS}, COUNTED).splitlines()
    assert said == ["38.0 48.0 [12.  0.  0.]", "half trading giving", "True", "[None, None]"]


def test_a_change_in_what_is_imported_far_away_is_seen(tmp_path: Path) -> None:
    assert _answer(tmp_path / "first", tmp_path / "kept", 10) == "11 True"
    assert _answer(tmp_path / "first", tmp_path / "kept", 20) == "21 True"
    assert _answer(tmp_path / "first", tmp_path / "kept", 10) == "11 False"


def test_a_kernel_says_the_same_to_the_last_bit_whatever_else_was_compiled_or_loaded(tmp_path: Path) -> None:
    """Both have copies of one reordered sum, optimised for each."""

    def summed(cache: str, *names: str) -> tuple[set[str], bool]:
        *sums, compiled = _said(tmp_path, tmp_path / cache, {"sums": SUMS}, SUMMED, *names).splitlines()
        return set(sums), compiled == "True"

    expected, compiled = summed("kept", "once", "often")
    assert compiled
    assert summed("kept", "once", "often") == (expected, False)
    assert summed("kept", "often", "once") == (expected, False)
    alone, compiled = summed("kept", "often")
    assert (alone < expected, compiled) == (True, False)
    assert summed("other", "often", "once") == (expected, True)


@pytest.mark.parametrize("door", ["inner", "compiled"])
def test_what_a_kernel_raises_far_within_reaches_python(tmp_path: Path, door: str) -> None:
    sums = SUMS.replace("@inner\ndef refuse", f"@{door}\ndef refuse")
    for _ in ("compiled", "loaded"):
        assert _said(tmp_path, tmp_path / "kept", {"sums": sums}, REFUSED) == "too many\n"
