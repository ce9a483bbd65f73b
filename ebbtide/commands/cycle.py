"""`ebbtide cycle`: cycles of co-evolution, in a run's folder or of a trainer that runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ebbtide.commands.output import print_json
from state.errors import InputError

if TYPE_CHECKING:
    from ebbtide.live.arriving.cycle_requests import Action
    from learners.coevolution.record import Coevolution, Record
    from state.progress import CycleAnswer

cycle = typer.Typer(
    help="Cycles of co-evolution: what moved, what was promoted or refused, and why.", no_args_is_help=True
)
Where = Annotated[
    str,
    typer.Argument(
        metavar="DIR|URL",
        help="A folder of `replay --out` or `train --checkpoint`, or a redis:// URL published to.",
    ),
]
Trainer = Annotated[
    str,
    typer.Argument(
        metavar="DIR|URL",
        help="The --checkpoint folder of an `ebbtide train` that runs, or the redis:// URL it publishes to.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@cycle.command(name="list")
def listed(where: Where, as_json: Json = False) -> None:
    """Every cycle in a row, and which version serves.

    Try:  ebbtide cycle list runs/coea
    """
    from ebbtide.report.cycles import IN_SHORT, answered, in_short, row_in_short

    evolved = _of(where)
    if as_json:
        from msgspec import to_builtins

        print_json(to_builtins(evolved))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*IN_SHORT, box=None, pad_edge=False)
    for record in evolved.cycles:
        table.add_row(*row_in_short(record))
    Console().print(in_short(evolved), highlight=False)
    Console().print(table)
    for answer in evolved.answers:
        Console().print(answered(answer), highlight=False)


@cycle.command()
def show(
    where: Where,
    number: Annotated[int | None, typer.Argument(metavar="N", help="Which; the last unless said.")] = None,
    as_json: Json = False,
) -> None:
    """One cycle: what Relevance expected, what moved, before and after, and the verdict.

    Try:  ebbtide cycle show runs/coea
    """
    evolved = _of(where)
    record = _chosen(evolved, number)
    if as_json:
        from msgspec import to_builtins

        print_json(to_builtins(record))
        return
    from rich.console import Console
    from rich.table import Table

    from ebbtide.report.cycles import largest

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in {**_said(record), "clusters": largest(evolved)}.items():
        table.add_row(name, text)
    Console().print(table, highlight=False)


@cycle.command()
def run(trainer: Trainer) -> None:
    """Let a trainer begin a cycle now, rather than when one is due.

    It begins with the next 64 events that are known, and its version serves `lag` events later, if it is
    promoted. Try:  ebbtide cycle run checkpoints
    """
    _ask(trainer, "run")


@cycle.command()
def rollback(trainer: Trainer) -> None:
    """Let a trainer serve the version before again, and withdraw the one that serves.

    At once nothing is explored by what it said; users' rows follow with their next events.

    Try:  ebbtide cycle rollback checkpoints
    """
    _ask(trainer, "rollback")


def _ask(where: str, action: "Action") -> None:
    """Raises InputError where no trainer is at work there, or it refuses."""
    from ebbtide.live.arriving.cycle_requests import answer, answers_in, ask_by
    from state.store.embedded import open_store

    if "://" in where:
        with open_store(where) as store:
            answered = answer(ask_by(store, action), lambda: answers_in(store))
    else:
        answered = _ask_folder(Path(where), action)
    if answered is None:
        print(f"asked the trainer, which is busy; `ebbtide cycle list {where}` says what comes of it")
    elif answered.refused:
        raise InputError(f"cycle {action}: {answered.said}")
    else:
        print(answered.said)


def _ask_folder(folder: Path, action: "Action") -> "CycleAnswer | None":
    from ebbtide.alone import holder
    from ebbtide.live.arriving.cycle_requests import answer, ask
    from ebbtide.report.cycle_file import CYCLES, read

    if holder(folder) is None:
        raise InputError(
            f"cycle {action}: no trainer is at work on {folder}; expected the --checkpoint folder of an "
            "`ebbtide train` that runs, or the redis:// URL that it publishes to"
        )
    if not (folder / CYCLES).exists():
        raise InputError(
            f"cycle {action}: the trainer of {folder} has no cycles, or has learned nothing yet; "
            "`ebbtide train --learner coea` has them"
        )
    return answer(ask(folder, action), lambda: read(folder).answers)


def _said(record: "Record") -> dict[str, str]:
    from ebbtide.report.cycles import between, moved, outcome
    from ebbtide.report.words import count, measure

    verified, verdict = record.verified, record.verdict
    explored = "nothing was explored"
    if verified.accepted is not None and verified.expected is not None:
        explored = (
            f"{measure(verified.accepted)} of {count(verified.slates)} explored were accepted, Relevance "
            f"expected {measure(verified.expected)}"
        )
    return {
        "cycle": f"{record.number}, from version {record.from_version}",
        "verified": explored,
        "moved": moved(record),
        "before": between(verdict.before),
        "after": between(verdict.after),
        "difference": between(verdict.difference),
        "judged by": f"{count(verdict.events)} explored events of held-back users, worth "
        f"{verdict.effective_events:,.0f} of the new version",
        "cost": "not known" if record.cpu_seconds is None else f"{record.cpu_seconds:.2f} CPU-seconds",
        "outcome": outcome(record),
    }


def _chosen(evolved: "Coevolution", number: int | None) -> "Record":
    by_number = {record.number: record for record in evolved.cycles}
    if not by_number:
        raise InputError("cycle show: no cycle yet; they come every [learners.coea.cycle] every events")
    if number is not None and number not in by_number:
        raise InputError(
            f"cycle show: no cycle {number} is kept; there are {min(by_number)} to {max(by_number)}"
        )
    return by_number[max(by_number) if number is None else number]


def _of(where: str) -> "Coevolution":
    """Raises InputError where it is of a run without cycles."""
    from ebbtide.report import report
    from ebbtide.report.cycle_file import CYCLES, read

    evolved: Coevolution | None
    if "://" in where:
        evolved = _published(where)
    elif (Path(where) / CYCLES).exists():
        return read(Path(where))
    else:
        evolved = report.read(Path(where) / "report.json").coevolution
    if evolved is None:
        raise InputError(f"{where}: a run of a learner without cycles; --learner coea has them")
    return evolved


def _published(url: str) -> "Coevolution | None":
    """What readers of a store are told. Raises InputError where nothing was published."""
    from msgspec import convert

    from learners.coevolution.record import Coevolution
    from state.store.embedded import open_store

    with open_store(url) as store:
        info = store.info()
    if info is None:
        raise InputError(f"{url}: nothing was published there yet")
    return None if info.coevolution is None else convert(info.coevolution, Coevolution)
