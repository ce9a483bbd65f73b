"""`ebbtide bench`: what parts of the product are worth where the truth is known."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json

if TYPE_CHECKING:
    from ebbtide.simulated.cycles import Cycles, Figure

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
    screen = Console(stderr=True)
    with screen.status("loading torch ...") as line:

        def tell(what: str) -> None:
            if screen.is_terminal:
                line.update(f"{what} ...")
            else:
                screen.print(what, highlight=False)

        tell("loading torch")
        from ebbtide.simulated.cycles import bench as run

        found = run(seeds, tell)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _show(found)


def _show(found: "Cycles") -> None:
    table = Table("", "mean", "95%", box=None, header_style="dim")
    figures: dict[str, Figure] = {
        "explore slot's serendipity / epsilon": found.slot_vs_epsilon,
        "the same / Thompson, group prior": found.slot_vs_thompson,
        "the same / Novelty trained once": found.slot_vs_trained_once,
        "the same / without group identity": found.group_identity,
        "slate's serendipity / epsilon": found.slate_vs_epsilon,
        "accuracy, % against the worst of three": found.accuracy_change_percent,
        "confirmation gap": found.gap,
    }
    for name, figure in figures.items():
        bounds = "" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
        table.add_row(name, f"{figure.mean:.3f}", bounds)
    control, gate = found.control, found.gate
    for name, value in {
        "own labels replace feedback: gap": control.replace_gap,
        "the same: accuracy / with real feedback": control.replace_accuracy_ratio,
        "own labels added: gap": control.add_gap,
        "gate refuses swapped pairs": gate.swapped_refused,
        "gate refuses a reset Novelty": gate.reset_refused,
        "gate promotes a good cycle": gate.good_promoted,
        "gate promotes what is unchanged": gate.unchanged_promoted,
        "CPU seconds a cycle": found.cycle_cpu_seconds,
    }.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(f"A planted world, {found.seeds} seeds; a simulator, not users.", highlight=False)
    Console().print(table, highlight=False)
