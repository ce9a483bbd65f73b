"""The terminal: a bar where it can move, an end to read, and silence where it is wanted."""

import io
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from ebbtide.report import terminal as console
from tests.ebbtide.made_report import report


class Recent:
    asked = 0

    def recent(self) -> Mapping[str, Mapping[str, float]]:
        self.asked += 1
        return {"gaussian": {"log_loss": 0.5512}}


def terminal(width: int = 120, tty: bool = True) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=tty, width=width, color_system=None), out


def test_the_end_shows_models_beside_floors_speed_files_and_what_to_try() -> None:
    screen, out = terminal()
    made = report(notes=["sorted by time"], dead_letters={"no user": 2})
    console.summary(screen, made, Path("runs/a"), ["ebbtide query recommend 7 --from runs/a"])
    said = out.getvalue()
    for words in (
        *("gaussian", "rates (floor)", "popular (floor)", "planted: 2,000 events scored"),
        *("4,000 of 4,002 rows, 2 dead letters", "8,000 events/s, 16,000 per CPU-second"),
        *("runs/a/report.html", "sorted by time", "ebbtide query recommend 7 --from runs/a"),
    ):
        assert words in said
    auc = made.metrics.scored.value("auc")
    assert auc is not None
    assert f"{auc:.4f} +" in said


def test_it_fits_a_narrow_terminal() -> None:
    screen, out = terminal(width=80)
    console.summary(screen, report(), Path("runs/a"))
    assert max(len(line) for line in out.getvalue().splitlines()) <= 80
    assert "…" not in out.getvalue()


def test_ids_are_text_not_markup() -> None:
    screen, out = terminal()
    console.summary(screen, report(100, name="[bold]log[/nope]", notes=["[red]x"]), Path("a[b]"))
    assert "[bold]log[/nope]" in out.getvalue()
    assert "[red]x" in out.getvalue()
    assert "a[b]/report.html" in out.getvalue()


def test_quiet_is_quiet() -> None:
    screen, out = terminal()
    console.summary(screen, report(100), Path("a"), quiet=True)
    with console.progress(screen, quiet=True) as tell:
        tell(5, 10, Recent())
    assert out.getvalue() == ""


def test_a_pipe_sees_no_bar() -> None:
    screen, out = terminal(tty=False)
    with console.progress(screen) as tell:
        tell(5, 10, Recent())
    assert out.getvalue() == ""


def test_a_terminal_sees_events_and_how_they_went() -> None:
    screen, out = terminal()
    recent, began_s = Recent(), time.monotonic()
    with console.progress(screen) as tell:
        for done in range(1000):
            tell(done + 1, 1000, recent)
    assert "events" in out.getvalue()
    assert "gaussian log loss 0.551" in out.getvalue()
    assert recent.asked <= 3 + time.monotonic() - began_s
