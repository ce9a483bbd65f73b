"""A question loads nothing that learns or compiles: neither the command, nor the answer itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.test_answers import folder as folder
from tests.test_architecture import ROOT, SERVES_WITHOUT

HEAVY = {*SERVES_WITHOUT, "replay"} - {"ebbtide", "streams"}
"""`streams.times` reads what --at says."""
COMMAND = f"""
import json, sys
from ebbtide.commands.app import main
try:
    main()
finally:
    print(json.dumps(sorted({HEAVY} & set(sys.modules))), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "asked",
    [
        ("user", "ann"),
        ("item", "tea"),
        ("similar", "coffee"),
        ("recommend", "ann", "--at", "1970-01-31T02:00:00Z", "--lat", "40.68", "--lon", "-73.94"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_that_asks(folder: Path, asked: tuple[str, ...]) -> None:
    words = ["query", *asked, "--from", str(folder)]
    ended = subprocess.run([sys.executable, "-c", COMMAND, *words], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert asked[1] in ended.stdout
    assert json.loads(ended.stderr.splitlines()[-1]) == []
