"""`ebbtide bench`: what parts of the product are worth where the truth is known."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json

if TYPE_CHECKING:
    from ebbtide.simulated.cycles import Cycles
    from ebbtide.simulated.detection import Detection
    from ebbtide.simulated.over_seeds import MeanOverSeeds

bench = typer.Typer(
    help="What parts are worth where the truth is known: in simulators.", no_args_is_help=True
)


@bench.callback()
def _bench() -> None:
    """What parts are worth where the truth is known: in simulators."""


@bench.command("cycles")
def cycles(
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=100, help="Planted worlds; about a minute of CPU each.")
    ] = 5,
    as_json: Json = False,
) -> None:
    """Co-evolution cycles in a planted world. A simulator: it says nothing of real users."""
    with _telling("loading torch") as tell:
        from ebbtide.simulated.cycles import bench as run

        measured = run(seeds, tell)
    if as_json:
        print_json(msgspec.to_builtins(measured))
    else:
        _show(measured)


@bench.command("drift")
def drift(
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=100, help="Planted streams of each kind; 20 s of CPU each.")
    ] = 5,
    logs: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="LOG", help="Where the cost of acting is told. [movielens-100k]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """How soon planted drift is found, false alarms without it, what acting is worth and what it costs."""
    with _telling("loading") as tell:
        from ebbtide.simulated.detection import measure

        measured = measure(seeds, tell, logs=logs or ["movielens-100k"])
    if as_json:
        print_json(msgspec.to_builtins(measured))
    else:
        _show_drift(measured)


@contextmanager
def _telling(first: str) -> Iterator[Callable[[str], None]]:
    """Something to say how far it is: a moving line on a terminal, elsewhere a line each."""
    screen = Console(stderr=True)
    with screen.status(f"{first} ...") as line:

        def tell(what: str) -> None:
            if screen.is_terminal:
                line.update(f"{what} ...")
            else:
                screen.print(what, highlight=False)

        tell(first)
        yield tell


def _show_drift(detection: "Detection") -> None:
    table = Table("", "", box=None, show_header=False)
    for kind, events in detection.delay_events.items():
        table.add_row(
            f"events until an alarm, {kind} drift", "not found" if events is None else f"{events:,.0f}"
        )
    table.add_row("alarms a million events without drift", f"{detection.false_alarms_per_million:.2f}")
    ratio = detection.recovery_ratio
    bounds = "" if ratio.low is None else f" [{ratio.low:.2f}, {ratio.high:.2f}]"
    table.add_row("events to recover, without actions / with them", f"{ratio.mean:.2f}{bounds}")
    for log, differences in detection.cost.items():
        for metric, difference in differences.items():
            table.add_row(f"acting on {log}: {metric}", f"{difference:+.4f}")
    Console().print(f"Planted streams, {detection.seeds} seeds; a simulator.", highlight=False)
    Console().print(table, highlight=False)


def _show(cycles: "Cycles") -> None:
    table = Table("", "mean", "95%", box=None, header_style="dim")
    figures: dict[str, MeanOverSeeds] = {
        "explore slot's serendipity / epsilon": cycles.slot_vs_epsilon,
        "the same / Thompson, group prior": cycles.slot_vs_thompson,
        "the same / Novelty trained once": cycles.slot_vs_trained_once,
        "the same / without group identity": cycles.group_identity,
        "slate's serendipity / epsilon": cycles.slate_vs_epsilon,
        "accuracy, % against the worst of three": cycles.accuracy_change_percent,
        "confirmation gap": cycles.gap,
    }
    for name, figure in figures.items():
        bounds = "" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
        table.add_row(name, f"{figure.mean:.3f}", bounds)
    control, gate = cycles.control, cycles.gate
    for name, value in {
        "own labels replace feedback: gap": control.replace_gap,
        "the same: accuracy / with real feedback": control.replace_accuracy_ratio,
        "own labels added: gap": control.add_gap,
        "gate refuses swapped pairs": gate.swapped_refused,
        "gate refuses a reset Novelty": gate.reset_refused,
        "gate promotes a good cycle": gate.good_promoted,
        "gate promotes what is unchanged": gate.unchanged_promoted,
        "CPU seconds a cycle": cycles.cycle_cpu_seconds,
    }.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(f"A planted world, {cycles.seeds} seeds; a simulator, not users.", highlight=False)
    Console().print(table, highlight=False)
