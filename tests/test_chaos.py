"""A seed of what `make chaos` plays by the hundred: in it, everything that can fail does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ebbtide.services import control
from replay.faults import TARGETS, schedule
from tests.chaos.one_seed import run


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Services that may be killed: not those of the other tests."""
    folder = tmp_path_factory.mktemp("mortal")
    yield folder
    control.down(folder)


@pytest.mark.parametrize("seed", [350])
def test_nothing_is_lost_doubled_or_taken_back(seed: int, mortal: Path, tmp_path: Path) -> None:
    faults = schedule(seed, 8.0, len(TARGETS))
    print(faults)
    assert {fault.target for fault in faults} == set(TARGETS)
    run(seed, mortal, tmp_path, faults, seconds=8.0)
