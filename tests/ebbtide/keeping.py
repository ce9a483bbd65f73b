"""A trainer that removes no checkpoint and no journal: its order can be read when it has ended.

As a script it is `ebbtide`, so that a process can be killed that keeps everything.
"""

import shutil
from pathlib import Path

import pytest

import learners.systems
from ebbtide.commands.app import main
from ebbtide.live.arriving.journal import Journal
from state import checkpoint

PLANTED = Path(__file__).parent.parent / "planted_learners"
_FIRST = "checkpoint-000000000000"


def keep_everything(patch: pytest.MonkeyPatch) -> None:
    """In this process, and in those that it starts for checkpoints, from now on."""
    patch.setattr(checkpoint, "_KEEP", 1 << 30)
    patch.setattr(Journal, "prune", lambda *_: None)


def start_over(folder: Path) -> None:
    """Leave what the first trainer there began with, and the order in which was learned since."""
    kept = [folder / _FIRST, *folder.glob("journal-*")]
    for path in set(folder.iterdir()) - set(kept):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def program() -> None:
    """`ebbtide`, in a process that keeps everything (`tests.forked`)."""
    keep_everything(pytest.MonkeyPatch())
    main()


def planted() -> None:
    """The same, with the planted learners beside ours."""
    learners.systems.__path__.append(str(PLANTED))
    program()


if __name__ == "__main__":
    program()
