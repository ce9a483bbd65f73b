"""`ebbtide new-key`: a key for writing over HTTP."""

from typing import Annotated

import typer

from ebbtide.commands.live_options import Json


def new_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is.")], as_json: Json = False
) -> None:
    """A new key for `POST /events`, shown this once; the line below it is for `ebbtide serve --keys FILE`.

    Try:  ebbtide new-key shop
    """
    from ebbtide.commands.output import print_json
    from ebbtide.live import api_keys

    key = api_keys.new()
    kept = api_keys.line(name, key)
    if as_json:
        print_json({"key": key, "line": kept})
    else:
        print(f"{key}\n{kept}")
