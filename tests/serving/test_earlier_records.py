"""Records from before they said what their score is made of: they read, and answer as they did.

`earlier_records.json` was made then: what the store held of a run, and what it answered.
"""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.run import Run
from serving.said import json_of
from state.evidence import FIRST
from state.store.contract import KINDS, RunInfo
from state.store.copy_score import CopyScore
from state.store.in_memory import DictStore
from state.store.records import Packed

EARLIER: dict[str, Any] = json.loads((Path(__file__).parent / "earlier_records.json").read_text())
INFO = msgspec.convert(EARLIER["info"], RunInfo)
COPY = INFO.copy
assert COPY is not None


def run(info: RunInfo = INFO) -> Run:
    store = DictStore()
    store.put_info(info)
    for kind in KINDS:
        rows = [base64.b64decode(row) for row in EARLIER[kind].values()]
        start_B1 = np.cumsum([0, *map(len, rows)])
        store.put(kind, Packed([name.encode() for name in EARLIER[kind]], start_B1, b"".join(rows)))
    store.advance(EARLIER["version"])
    return Run(store)


def near(expected: Any) -> Any:
    """The same, to the single precision that vectors have."""
    if isinstance(expected, dict):
        return {name: near(value) for name, value in expected.items()}
    if isinstance(expected, list):
        return [near(value) for value in expected]
    return pytest.approx(expected, rel=2e-6, abs=2e-6) if isinstance(expected, float) else expected


@pytest.mark.parametrize(
    ("asked", "copy"),
    [(asked, COPY) for asked in EARLIER["by_copy_score"]]
    + [(asked, None) for asked in EARLIER["by_interests"]],
    ids=lambda value: f"{value['user']} {value['asked']}" if isinstance(value, dict) else "",
)
def test_answers_are_what_they_were(asked: dict[str, Any], copy: CopyScore | None) -> None:
    answer = run(msgspec.structs.replace(INFO, copy=copy)).recommend(asked["user"], 5, **asked["asked"])
    assert json_of(answer) == near(asked["answer"])


def test_a_record_without_a_specification_has_the_one_of_its_time() -> None:
    assert "specification" not in EARLIER["info"]["copy"]
    assert COPY is not None
    assert COPY.specification == FIRST


def test_what_is_published_now_says_what_it_is_made_of() -> None:
    said = json.loads(msgspec.json.encode(INFO))["copy"]["specification"]
    assert {kernel["name"] for kernel in said["kernels"]} == {*EARLIER["info"]["copy"]["memory"]}
    assert msgspec.json.decode(msgspec.json.encode(INFO), type=RunInfo) == INFO


def test_a_reader_goes_by_the_record_not_by_what_it_knows() -> None:
    """Kernels of other names, in another order: the answer is the same. With another half-life it is not."""
    assert COPY is not None
    called = {kernel.name: f"k{k}" for k, kernel in enumerate(FIRST.kernels)}
    kernels = [
        msgspec.structs.replace(kernel, name=called[kernel.name]) for kernel in reversed(FIRST.kernels)
    ]
    by = msgspec.structs.replace(
        FIRST,
        kernels=tuple(kernels),
        own={called[name]: share for name, share in FIRST.own.items()},
        whole=called[FIRST.whole],
    )
    memory = {called[name]: weight for name, weight in COPY.memory.items()}
    other = msgspec.structs.replace(COPY, specification=by, memory=memory)
    expected, found = (
        run(msgspec.structs.replace(INFO, copy=copy)).recommend("u0", 5) for copy in (COPY, other)
    )
    assert json_of(found) == near(json_of(expected))
    quick = [msgspec.structs.replace(kernel, half_life_s=60.0) for kernel in FIRST.kernels]
    by = msgspec.structs.replace(FIRST, kernels=tuple(quick))
    forgets = run(
        msgspec.structs.replace(INFO, copy=msgspec.structs.replace(COPY, specification=by))
    ).recommend("u0", 5)
    assert json_of(forgets) != near(json_of(expected))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"memory": {"own_1d": 1.0}}, "weights and kernels do not fit together: after, after_gap, count"),
        ({"specification": {"kernels": [{"name": "moon", "moon_h": 1.0}]}}, "unknown field `moon_h`"),
    ],
)
def test_a_score_that_this_reader_cannot_evaluate_is_refused(change: dict[str, Any], said: str) -> None:
    """Rather than answered without a factor that it has never heard of."""
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({**EARLIER["info"], "copy": {**EARLIER["info"]["copy"], **change}}, RunInfo)
