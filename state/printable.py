"""Text from outside, as people may read it."""

_LONGEST, _TAIL = 1000, 300


def printable(text: str, longest: int = _LONGEST) -> str:
    """One line without what a terminal would obey; of a long one its beginning and its end.

    >>> printable("a\\nb\\x1b[31m"), printable("x" * 2000, 10)
    ('a\\\\nb\\\\x1b[31m', 'xxxxx ... xxxxx')
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(text) <= longest:
        return text
    tail = min(_TAIL, longest // 2)
    return f"{text[: longest - tail]} ... {text[-tail:]}"
