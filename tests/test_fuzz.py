"""Some of what `make fuzz` draws by the hundred thousand; each number says how to run its case alone."""

from pathlib import Path

import msgspec
import pytest

from tests.fuzz.campaign import Campaign, case, run, shrunk


@pytest.mark.parametrize(
    ("kind", "cases"), [("log", 130), ("twin", 100), ("side", 70), ("time", 170), ("message", 40)]
)
def test_nothing_from_outside_breaks_anything(kind: str, cases: int, tmp_path: Path) -> None:
    said: list[str] = []
    campaign = Campaign(0, tmp_path, (kind,))
    for number in range(cases):
        campaign.step(number, said.append)
    assert not said, "\n".join(said)


def test_a_case_is_the_same_whatever_ran_before() -> None:
    assert case(3, 17) == case(3, 17)
    assert len({str(case(3, number)) for number in range(20)}) == 20


class Planted(msgspec.Struct, frozen=True):
    """A fault that is known: a 3 among the numbers, and more than two rows."""

    numbers: tuple[int, ...]
    rows: int

    def check(self, folder: Path) -> None:
        assert not (3 in self.numbers and self.rows > 2), f"{self.numbers}"


def test_a_fault_is_found_and_made_smaller(tmp_path: Path) -> None:
    found = Planted((1, 2, 3, 4, 5), 40)
    failure = run(found, tmp_path)
    assert failure is not None
    assert "(1, 2, 3, 4, 5)" in failure.said
    assert shrunk(found, failure, tmp_path) == Planted((3,), 3)
    assert run(Planted((3,), 2), tmp_path) is None
