"""A checkpoint is there whole or not at all, and is believed only if its digests match."""

import errno
from pathlib import Path

import numpy as np
import pytest

from state import checkpoint
from state.checkpoint import CheckpointWarning
from state.errors import InputError
from state.tree import Tree, digest

TREE: Tree = {
    "a": {"weights": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.zeros(0, np.int64)},
    "flags": np.array([True, False]),
    "n": 3,
    "name": "café",
    "rate": 0.1,
    "nothing": None,
    "by name": {"of nobody yet": {}},
}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 100, TREE)
    found = checkpoint.load(tmp_path)
    assert found is not None
    events, tree = found
    assert events == 100
    assert digest(tree) == digest(TREE)
    assert tree["by name"] == TREE["by name"]


def test_an_empty_directory_has_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.load(tmp_path / "missing") is None


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for events in (100, 200, 300, 1000):
        checkpoint.save(tmp_path, events, TREE | {"n": events})
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "checkpoint-000000000300",
        "checkpoint-000000001000",
    ]
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[1]["n"] == 1000


@pytest.mark.parametrize("name", ["state.safetensors", "manifest.json"])
@pytest.mark.parametrize("harm", ["truncated", "altered", "missing", "empty"])
def test_a_harmed_checkpoint_is_refused_and_the_one_before_it_used(
    tmp_path: Path, name: str, harm: str
) -> None:
    checkpoint.save(tmp_path, 100, TREE)
    file = checkpoint.save(tmp_path, 200, TREE) / name
    data = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        middle = len(data) // 2
        changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        file.write_bytes({"truncated": data[:-5], "altered": changed, "empty": b""}[harm])
    with pytest.warns(CheckpointWarning, match=r"checkpoint-000000000200: refused"):
        found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[0] == 100


@pytest.mark.filterwarnings("ignore::state.checkpoint.CheckpointWarning")
def test_if_none_is_whole_it_says_so(tmp_path: Path) -> None:
    (checkpoint.save(tmp_path, 100, TREE) / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="no checkpoint is whole; start again without --resume"):
        checkpoint.load(tmp_path)


def test_a_full_disk_leaves_the_old_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A disk cannot be filled in a test without harm to others, so the sync fails the way a full one does.
    checkpoint.save(tmp_path, 100, TREE)

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "_sync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, 200, TREE)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000000100"]
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert digest(found[1]) == digest(TREE)


@pytest.mark.parametrize(
    "other",
    [
        TREE | {"n": 4},
        TREE | {"flags": np.array([True, True])},
        TREE | {"flags": np.array([1, 0])},
        TREE | {"extra": 1},
        {key: value for key, value in TREE.items() if key != "rate"},
    ],
)
def test_another_state_has_another_digest(other: Tree) -> None:
    assert digest(other) != digest(TREE)


def test_a_number_that_is_an_array_stays_one(tmp_path: Path) -> None:
    """Of no dimension: the step of an optimiser, which does not load with one."""
    checkpoint.save(tmp_path, 1, {"step": np.array(7.0), "row": np.array([7.0])})
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert (found[1]["step"].shape, found[1]["row"].shape) == ((), (1,))
