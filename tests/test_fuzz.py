"""Some of what `make fuzz` draws by the hundred thousand; each number says how to run its case alone."""

from pathlib import Path

import pytest

from tests.fuzz.campaign import Campaign


@pytest.mark.parametrize(
    ("kind", "cases"), [("log", 300), ("twin", 200), ("side", 150), ("time", 400), ("message", 60)]
)
def test_nothing_from_outside_breaks_anything(kind: str, cases: int, tmp_path: Path) -> None:
    said: list[str] = []
    campaign = Campaign(0, tmp_path, (kind,))
    for number in range(cases):
        campaign.step(number, said.append)
    assert not said, "\n".join(said)
