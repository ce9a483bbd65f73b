"""Markup that cannot be forgotten to be escaped: whatever is not `Markup` already is text."""

from collections.abc import Sequence
from html import escape


class Markup(str):
    """Finished markup, to be put in as it is."""

    __slots__ = ()


Child = str | int | None
Attribute = str | float | None


def el(name: str, *children: Child, **attributes: Attribute) -> Markup:
    """One element. Children that are no Markup are escaped, None is left out; `class_` is `class`.

    >>> el("p", "a < b", el("b", "!"), class_="x", stroke_width=2)
    '<p class="x" stroke-width="2">a &lt; b<b>!</b></p>'
    """
    named = (
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{''.join(named)}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Children one after another."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(str(child))
            for child in children
            if child is not None
        )
    )


def _plain(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def meter(share: float) -> Markup:
    """A bar that is full at 1."""
    bar = el("span", style=f"width:{min(max(share, 0.0), 1.0):.1%}")
    return el("span", bar, class_="meter", aria_hidden="true")


def meters(head: Sequence[str], rows: Sequence[Markup]) -> Markup:
    """A table of bars."""
    names = el("thead", el("tr", *(el("th", name) for name in head)))
    return el("div", el("table", names, el("tbody", *rows), class_="meters"), class_="scroll", tabindex=0)
