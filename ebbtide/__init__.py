"""Ebbtide, a streaming online-learning recommender.

>>> import ebbtide, tempfile
>>> with tempfile.TemporaryDirectory() as out:
...     report = ebbtide.replay("planted:users=20,events=500", out)
...     with ebbtide.connect(out) as run:
...         answer = run.recommend(next(iter(run.store.items().ids)) and "u1", k=3)
>>> report.events.used
500
"""

from ebbtide.answers import connect
from ebbtide.api import open_log, replay
from learners.contract import Context, Learner, Needs, Outcome, Settings, Step
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
    "connect",
    "open_log",
    "replay",
]
