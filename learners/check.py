"""Does a learner keep the contract? Behind `ebbtide.check`."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from learners.checks import answers, keeping
from learners.checks.bench import BrokenError, Case, MakeSource
from learners.contract import Learner, Settings
from state.errors import InputError

CHECKS: Mapping[str, Callable[[Case], None]] = {
    check.__name__: check
    for check in (
        keeping.what_it_declares_holds,
        answers.answers_are_in_range,
        answers.scoring_changes_nothing,
        answers.a_batch_is_its_rows,
        answers.the_seed_decides,
        answers.unknown_ids_are_no_trouble,
        answers.no_outcome_is_known_early,
        answers.what_is_the_items_own_moves_no_rank,
        keeping.vectors_fit,
        keeping.loaded_it_goes_on,
        keeping.doubting_is_felt_and_kept,
        keeping.no_gap_breaks_it,
        keeping.memory_is_bounded,
    )
}
"""By name."""


def cases(cls: type[Learner], make: MakeSource, config: Settings | None = None) -> Iterator[Case]:
    """A learner on every kind of log that it takes."""
    for labelled in (True, False) if cls.ranks else (True,):
        yield Case(cls, labelled, make, config)


def check(
    cls: type[Learner],
    make: MakeSource,
    *,
    config: Settings | None = None,
    exempt: Mapping[str, str] | None = None,
) -> None:
    """Run all checks on a learner, but for those that are exempt: name -> reason.

    Raises BrokenError with every property that it lacks.
    """
    for name, reason in (exempt or {}).items():
        if name not in CHECKS or not reason:
            raise InputError(
                f"exempt: expected a reason for some of {', '.join(CHECKS)}, got {name!r}: {reason!r}"
            )
    broken = [
        f"{name} ({'with' if case.labelled else 'without'} labels): {breach}"
        for case in cases(cls, make, config)
        for name in CHECKS
        if name not in (exempt or {}) and (breach := _broken(name, case)) is not None
    ]
    if broken:
        whole = f"{cls.__name__} breaks {len(broken)} promises of a learner"
        raise BrokenError(f"{whole}: {'; '.join(broken)}", broken)


def _broken(name: str, case: Case) -> str | None:
    """What a check says of it, or what it raises."""
    try:
        CHECKS[name](case)
    except BrokenError as error:
        return str(error)
    except Exception as error:
        trace, where = error.__traceback__, ""
        while trace is not None:
            where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
            trace = trace.tb_next
        return f"expected an answer, got {type(error).__name__}: {error} ({where})"
    return None
