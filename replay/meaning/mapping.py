"""Which column of a log plays which role.

A mapping is written as `role=column` pairs or as a TOML file of the same, and completed by guessing from
usual column names. Besides columns, `time` may be `@row` (the rows are the clock) or `DATE+CLOCK` (several
columns), and `tz` may be a number of minutes or the name of a zone (`America/New_York`).
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from replay.reading.usual_names import TIME_ENDINGS, USUAL, plain
from state.errors import InputError
from streams.schema import REQUIRED_ROLES, ROLES

ROW_ORDER = "@row"
"""The time of a log that has none: its rows are its clock, one tick each."""

TIME_UNITS = ("s", "ms", "us", "ns", "date", "tick")
EARLIEST, LATEST = "1990-01-01", "2100-01-01"
"""Times outside are no times of a log, unless the mapping says otherwise; not asked of ticks."""
_OPTIONS = ("time_unit", "time_format", "earliest", "latest")


@dataclass(frozen=True, slots=True)
class Mapping:
    """Role -> column, as far as it was said or found."""

    columns: dict[str, str] = field(default_factory=dict)
    """An empty column name says that the log has no such role, whatever its columns are called."""
    time_unit: str | None = None
    """One of TIME_UNITS; found from the values where None."""
    time_format: str | None = None
    """The form of times that are text, with strptime's directives; found from the values where None."""
    earliest: str | None = None
    latest: str | None = None
    """Times outside are no times of this log."""

    @classmethod
    def of(cls, pairs: Iterable[str], where: str = "--map") -> Self:
        """From `role=column` pairs. Raises InputError on an unknown or repeated role.

        >>> Mapping.of(["user=who", "time_unit=ms"]).columns
        {'user': 'who'}
        """
        column_of: dict[str, str] = {}
        for pair in pairs:
            role, equals, column = pair.partition("=")
            if not equals:
                raise InputError(f"{where} {pair!r}: expected ROLE=COLUMN")
            if role.strip() in column_of:
                raise InputError(f"{where} {pair!r}: role {role.strip()!r} was mapped already; map it once")
            column_of[role.strip()] = column.strip()
        return cls._from(column_of, where)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a TOML file of `role = "column"` lines. Raises InputError if it is missing or is none."""
        try:
            entries = tomllib.loads(path.read_text())
        except OSError as error:
            raise InputError(
                f"mapping {path}: {error.strerror}; give the TOML file of the mapping"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f'mapping {path}: no TOML ({error}); expected lines like user = "user_id"'
            ) from error
        wrong = [name for name, value in entries.items() if not isinstance(value, str | int | float)]
        if wrong:
            raise InputError(f'mapping {path}: {wrong[0]!r} must be text, like {wrong[0]} = "column"')
        return cls._from({name: str(value) for name, value in entries.items()}, f"mapping {path}")

    @classmethod
    def _from(cls, entries: dict[str, str], where: str) -> Self:
        for name in entries:
            if name not in ROLES and name not in _OPTIONS:
                known = ", ".join((*ROLES, *_OPTIONS))
                raise InputError(f"{where}: no role {name!r}; the roles are {known}")
        unit = entries.get("time_unit")
        if unit is not None and unit not in TIME_UNITS:
            raise InputError(f"{where}: time_unit {unit!r} is none of {', '.join(TIME_UNITS)}")
        options = {name: entries[name] for name in _OPTIONS if name in entries}
        return cls({role: entries[role] for role in ROLES if role in entries}, **options)

    def over(self, other: "Mapping") -> "Mapping":
        """This mapping, completed by `other` where this one says nothing."""
        options = {name: getattr(self, name) or getattr(other, name) for name in _OPTIONS}
        return Mapping(other.columns | self.columns, **options)

    def flags(self) -> list[str]:
        """The mapping as `role=column` pairs for `--map`."""
        options = {name: getattr(self, name) for name in _OPTIONS}
        return [f"{name}={value}" for name, value in {**self.columns, **options}.items() if value]

    def toml(self) -> str:
        """The mapping as the text of a TOML file."""
        quoted = (pair.partition("=") for pair in self.flags())
        return "".join(f'{role} = "{_escaped(column)}"\n' for role, _, column in quoted)


def _escaped(text: str) -> str:
    """Within the quotes of a TOML text."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain)


def guess(
    columns: Sequence[str], where: str, taken: Iterable[str] = (), roles: Iterable[str] = ROLES
) -> dict[str, str]:
    """Role -> column for `roles`, by usual names, leaving `taken` columns alone.

    Raises InputError where two columns have the same claim.
    """
    free = [column for column in columns if column not in set(taken)]
    column_of: dict[str, str] = {}
    for role in roles:
        for usual in USUAL[role]:
            claims = [column for column in free if plain(column) == usual]
            if len(claims) > 1:
                raise InputError(
                    f"{where}: columns {claims[0]!r} and {claims[1]!r} could both be the {role}; "
                    f"say which: --map {role}={claims[0]}"
                )
            if claims:
                column_of[role] = claims[0]
                free.remove(claims[0])
                break
        else:
            if role == "time":
                ends = [column for column in free if plain(column).endswith(TIME_ENDINGS)]
                if len(ends) == 1:
                    column_of[role] = ends[0]
                    free.remove(ends[0])
    return column_of


def time_columns(mapped: str, columns: Sequence[str]) -> list[str]:
    """The columns of a file that the role `time` is mapped to: one, or several with its parts.

    >>> time_columns("day+hour", ["day", "hour"]), time_columns("a+b", ["a+b"])
    (['day', 'hour'], ['a+b'])
    """
    return [mapped] if mapped in columns else [name.strip() for name in mapped.split("+")]


def resolve(given: Mapping, columns: Sequence[str], where: str) -> Mapping:
    """`given`, checked against the log's columns and completed by guessing.

    A log with sessions and no users has its sessions for users. Raises InputError on a column that is not
    there, a name that stands twice, and a required role that nothing plays.
    """
    twice = {column for column in columns if column and list(columns).count(column) > 1}
    if twice:
        raise InputError(f"{where}: column {sorted(twice)[0]!r} stands there twice; rename one")
    for role, column in given.columns.items():
        if not column or role == "tz" or (role == "time" and column == ROW_ORDER):
            continue
        for name in time_columns(column, columns) if role == "time" else [column]:
            if name not in columns:
                raise InputError(
                    f"{where}: no column {name!r} for the role {role!r}; there are {', '.join(columns)}"
                )
    open_roles = [role for role in ROLES if role not in given.columns]
    column_of = guess(columns, where, given.columns.values(), open_roles) | {
        k: v for k, v in given.columns.items() if v
    }
    if "user" not in column_of and "session" in column_of and "user" not in given.columns:
        column_of["user"] = column_of.pop("session")
    missing = [role for role in REQUIRED_ROLES if role not in column_of]
    if missing:
        hint = " (time=@row takes the order of the rows)" if missing == ["time"] else ""
        raise InputError(
            f"{where}: no column is the {' or the '.join(missing)}; say which one with "
            f"{' '.join(f'--map {role}=COLUMN' for role in missing)}{hint}; there are {', '.join(columns)}"
        )
    return replace(given, columns={role: column_of[role] for role in ROLES if role in column_of})
