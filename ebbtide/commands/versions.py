"""`ebbtide versions`: which are kept, and which one readers are served."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json

if TYPE_CHECKING:
    from state.store.contract import EmbeddingStore

versions = typer.Typer(
    help="Keep versions of what is published, and serve readers an earlier one.", no_args_is_help=True
)
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        "--from",
        metavar="DIR|URL",
        help="A folder of `replay --out`, or a redis:// URL. [EBBTIDE_STORE, or services that are up]",
    ),
]


@versions.command("list")
def list_(store: Store = None, as_json: Json = False) -> None:
    """The newest version, those that are kept, and which one readers are served."""
    _do(store, as_json, lambda _: None)


@versions.command()
def keep(
    store: Store = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for people.")] = "by hand",
    as_json: Json = False,
) -> None:
    """Keep the newest version, to return to. The oldest goes when there are too many."""
    _do(store, as_json, lambda held: held.keep(note))


@versions.command()
def rollback(
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="One of `ebbtide versions list`.")],
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Serve readers a version that was kept, at once and until `resume`.

    What is learned is published below meanwhile, and seen after `resume`.
    """
    _do(store, as_json, lambda held: held.rollback(version))


@versions.command()
def resume(store: Store = None, as_json: Json = False) -> None:
    """Serve readers the newest version again."""
    _do(store, as_json, lambda held: held.resume())


def _do(store: str | None, as_json: bool, what: "Callable[[EmbeddingStore], Any]") -> None:
    from ebbtide.commands import addresses
    from serving.said import versions_of
    from state.store.embedded import open_store

    with open_store(store or addresses.store(None)) as held:
        what(held)
        versions = versions_of(held)
    if as_json:
        print_json(versions)
    else:
        Console().print(_table(versions))


def _table(versions: dict[str, Any]) -> Table:
    rows = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("version", "kept", "learned until", "bytes"):
        rows.add_column(name, justify="right" if name in ("version", "bytes") else "left", no_wrap=True)
    rows.add_column("why")
    rows.add_column()
    for kept in versions["kept"]:
        cells = [str(kept["version"]), kept["made"][:19], (kept["clock"] or "-")[:19], f"{kept['bytes']:,}"]
        rows.add_row(*cells, Text(kept["note"]), "served" if kept["served"] else "")
    newest = "" if any(kept["served"] for kept in versions["kept"]) else "served"
    rows.add_row(str(versions["newest"]), "", "", "", "the newest", newest)
    return rows
