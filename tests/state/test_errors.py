"""Errors are one line, whatever they quote."""

from state.errors import InputError


def test_an_error_shows_what_it_quotes_as_it_is_and_never_obeys_it() -> None:
    assert str(InputError("there are a\nb, \x1b[31mred, é")) == "there are a\\nb, \\x1b[31mred, é"


def test_a_long_error_keeps_its_beginning_and_what_to_do() -> None:
    said = str(InputError(f"a.csv: no column is the user; there are {'x' * 9000}; map another"))
    assert len(said) < 1100
    assert said.startswith("a.csv: no column is the user")
    assert said.endswith("map another")
