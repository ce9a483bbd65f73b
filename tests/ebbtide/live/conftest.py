"""What tests of routes for those who have a key share."""

import json
from pathlib import Path

import pytest

from tests.ebbtide.typed import run


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A key, and the file of those that are known."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    said = json.loads(run("new-key", "shop", "--json").stdout)
    file.write_text(f"{said['line']}\n")
    return said["key"], file
