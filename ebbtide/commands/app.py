"""The command line. Exit codes: 0; 1 where what was asked about does not hold, or the fault is ours; 2 for
what the caller can mend; 3 for an unknown id; 4 while an alarm is open.

What is heavy (numba, river) is imported by the command that needs it, so that `--help` answers at once.
"""

import atexit
import gc
import os
import sys
import warnings

import typer

from ebbtide.commands import (
    bench,
    cycle,
    data,
    dead_letters,
    doctor,
    ingest,
    mend,
    monitor,
    new_key,
    query,
    replay,
    serve,
    services,
    state_moves,
    status,
    train,
    up,
    variants,
    versions,
)
from ebbtide.commands.flink import app as flink
from state.errors import EbbtideError

app = typer.Typer(
    help="Replay logged events, learn from every one, watch drift, query the latest embeddings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(replay.replay)
app.add_typer(query.query, name="query")
app.add_typer(data.data, name="data")
app.add_typer(bench.bench, name="bench")
app.add_typer(cycle.cycle, name="cycle")
app.add_typer(services.services, name="services")
app.add_typer(flink.app, name="flink")
app.add_typer(state_moves.moves, name="state")
app.command()(up.up)
app.add_typer(versions.versions, name="versions")
app.command()(variants.variants)
app.command()(ingest.ingest)
app.command()(train.train)
app.command()(status.status)
app.command()(monitor.monitor)
app.command()(mend.mend)
app.command()(serve.serve)
app.command()(new_key.new_key)
app.command()(doctor.doctor)
app.add_typer(dead_letters.dead_letters, name="dead-letters")


def main() -> None:
    """The entry point: one clear line instead of a traceback for every error of ours."""
    warnings.showwarning = _warn
    atexit.register(_leave)
    try:
        app()
    except EbbtideError as error:
        _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        _fail(
            f"the package {error.name} is not installed; `make setup` brings all, as `ebbtide doctor` says", 2
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 2)


def _leave() -> None:
    """Or the interpreter looks once more through all that was compiled; torch's compiler would say that it
    was left alone."""
    if "triton" not in sys.modules:
        gc.freeze()


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"ebbtide: {message}\n")
    sys.exit(code)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"ebbtide: warning: {message}\n")
