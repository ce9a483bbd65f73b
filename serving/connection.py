"""The door from Python: a run's answers, wherever it was published."""

from pathlib import Path

from serving.answers import Answers
from serving.remote import SCHEMES, RemoteRun
from serving.run import Run
from serving.scoring.recalled import Explain, evidence
from state.store.embedded import open_store


def connect(target: str | Path, *, explain: Explain = evidence) -> Answers:
    """The run published in a folder (`ebbtide replay --out DIR`), at a Redis URL, or served at an HTTP URL.

    `explain` is for the first two. Raises InputError if there is none. Close it, or use it in a `with`
    statement.
    """
    if str(target).startswith(SCHEMES):
        return RemoteRun(str(target))
    store = open_store(target)
    try:
        return Run(store, explain=explain)
    except BaseException:
        store.close()
        raise
