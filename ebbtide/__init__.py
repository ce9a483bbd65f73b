"""Ebbtide, a streaming online-learning recommender.

>>> import ebbtide, tempfile
>>> with tempfile.TemporaryDirectory() as out:
...     report = ebbtide.replay("planted:users=20,events=500", out)
...     with ebbtide.connect(out) as run:
...         answer = run.recommend("u1", k=3)
>>> report.events.used, len(answer.items)
(500, 3)

Names are imported when first used, so that a command that needs little starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebbtide.api import check, open_log, replay
    from learners.contract import Context, Learner, Needs, Outcome, Settings, Step
    from serving.connection import connect
    from state.errors import EbbtideError, InputError, UnknownIdError

__all__ = [
    "Context",
    "EbbtideError",
    "InputError",
    "Learner",
    "Needs",
    "Outcome",
    "Settings",
    "Step",
    "UnknownIdError",
    "check",
    "connect",
    "open_log",
    "replay",
]
_HOMES = {
    "serving.connection": ("connect",),
    "ebbtide.api": ("check", "open_log", "replay"),
    "learners.contract": ("Context", "Learner", "Needs", "Outcome", "Settings", "Step"),
    "state.errors": ("EbbtideError", "InputError", "UnknownIdError"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'ebbtide' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
