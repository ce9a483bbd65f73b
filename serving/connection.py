"""The door from Python: a run's answers, wherever it was published."""

from pathlib import Path

from serving.recalled import Explain, evidence
from serving.run import Run
from state.store.embedded import open_store


def connect(target: str | Path, *, explain: Explain = evidence) -> Run:
    """The run published in a folder (`ebbtide replay --out DIR`) or at a Redis URL.

    Raises InputError if there is none. Close it, or use it in a `with` statement.
    """
    store = open_store(target)
    try:
        return Run(store, explain=explain)
    except BaseException:
        store.close()
        raise
