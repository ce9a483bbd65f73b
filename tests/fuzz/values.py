"""What ends up in cells, fields and headers that should not."""

from random import Random

CELLS: tuple[object, ...] = (
    *(
        None,
        "",
        " ",
        "-",
        "nan",
        "NaN",
        "NULL",
        "null",
        "None",
        "\\N",
        "inf",
        "-inf",
        "1e400",
        "-0",
        "0",
        "1",
    ),
    *("-1", "007", "7", "7.0", "7,5", "1.234,5", "1e3", "0x1f", "9" * 30, "-" + "9" * 30, "A" * 5000),
    *(
        "\0",
        "é",
        "日本",
        "\U0001f600",
        "\u202e",
        "\ufeff",
        "\x1b[31m",
        '"',
        'a"b',
        "a,b",
        "a;b",
        "a|b",
        "a::b",
        "a\tb",
    ),
    *("a\nb", "a\r\nb", "a\rb", "=1+1", "{}", "[]", "true", "no", "\\", "%s", "{0}", "[bold]x[/bold]"),
    *(
        "2024-01-02",
        "2024-02-30",
        "2099-01-01",
        "0001-01-01",
        "9999-12-31T23:59:59Z",
        "10000-01-01",
        "14/11/2023 22:13",
    ),
    *(
        "2024-01-01T00:00:60Z",
        "2024-01-01T12:00:00+99:00",
        "12:00",
        "1500000000",
        "1500000000000",
        "1500000000000000",
    ),
    *("1500000000000000000", "20240131", "-1500000000", "4102444800", "253402300800"),
    *(True, False, 0, 1, -1, 7, 2**31, 2**53 + 1, 2**62, -(2**62), 2**63 - 1, -(2**63), 2**63, 2**64, 10**40),
    *(1_500_000_000, 1_500_000_000_000, 4_102_444_800_000, 0.5, 1.5, -0.0, 7.0, 1e18, 1e300),
    *(float("nan"), float("inf"), float("-inf")),
    *([], ["a"], ["a", None], [1, 2], [[1]], {}, {"a": 1}, {"a": {"b": [1]}}),
)
"""Cells of a table and values of a JSON field. New ones go to the end, so that old seeds keep their cases."""

HEADERS = (
    *(
        "",
        " ",
        "user",
        "USER",
        "time",
        "item",
        "label",
        "rating",
        '"user"',
        "'item'",
        "user ",
        "\ufefftime",
        "7",
        "1.5",
    ),
    *(
        "a,b",
        "a;b",
        "a\tb",
        'a"b',
        "a\nb",
        "é",
        "日本",
        "x" * 3000,
        "\x1b[31mred",
        "[bold]",
        "user:token",
        "__index__",
    ),
    *("[/]", "time\\", "@row", "=user", "a\x07b", "time zone"),
)

FOLDERS = ("log", "lög [/b]", "a b", "100%", "[red]", "day=x", "a\x1b[31mb", "x.csv")

LITTER = (
    *(
        b'"',
        b"\n",
        b"\r\n",
        b"\r",
        b",",
        b";",
        b"\t",
        b"\xff",
        b"\0",
        b"\xfe\xff",
        b"{",
        b"}",
        b"[",
        b"]",
        b"nan",
        b"-",
    ),
    *(
        b"9" * 30,
        b"\xc3\xa9",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"PAR1",
        b"ARROW1",
        b"\x1f\x8b",
    ),
    *(b"\xff\xff\xff\xff", b"\x00\x00\x00\x07", b"A" * 3000, b"\xff\xff\xff\x7f", b"\x01"),
)


def one_of(rng: Random, among: tuple[object, ...]) -> int:
    """The place of a value drawn from `among`: what a case keeps of it."""
    return rng.randrange(len(among))
