"""The check that every learner of P(action) makes."""

from learners.contract import Context
from state.errors import InputError


def require_labels(name: str, context: Context) -> None:
    """Raises InputError on a log without labels."""
    if not context.labelled:
        raise InputError(
            f"learner {name!r} learns P(action) and needs outcomes, but the log has no label; name one with "
            f"--label (say --label 'rating>=4' or --map label=COLUMN), or choose a learner that ranks"
        )
