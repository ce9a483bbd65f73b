"""What a server says of itself that stands in the way of holding what it is given."""

from typing import Any, NamedTuple

KEEPS_ALL = "noeviction"
"""The one maxmemory-policy under which nothing that was published goes."""


class Flaw(NamedTuple):
    """Why a server does not hold what it is given."""

    sentence: str
    """What it is, with the cure."""
    closed: bool
    """Whether it takes nothing at all."""


def flaws_of(info: dict[str, Any], shown: str) -> list[Flaw]:
    """By what it answers to INFO; `shown` is how it is called."""
    flaws = []
    used, most, policy = info.get("used_memory", 0), info.get("maxmemory", 0), policy_of(info)
    if info.get("loading"):
        what = "is still reading its data from disk; it answers when that is done"
        flaws.append(Flaw(f"{shown}: {what}", closed=True))
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        what = f"is a replica of {master}, which takes no writes; name that one, or REPLICAOF NO ONE here"
        flaws.append(Flaw(f"{shown}: {what}", closed=True))
    if most and used >= most and policy == KEEPS_ALL:
        what = f"is full ({used / 1e6:,.1f} MB used, maxmemory {most / 1e6:,.1f} MB); give it more"
        flaws.append(Flaw(f"{shown}: {what}", closed=True))
    if policy not in (KEEPS_ALL, None):
        what = (
            f"may evict what it holds, all users of a run at once (maxmemory-policy {policy}); "
            f"CONFIG SET maxmemory-policy {KEEPS_ALL}"
        )
        flaws.append(Flaw(f"{shown}: {what}", closed=False))
    return flaws


def policy_of(info: dict[str, Any]) -> str | None:
    """What becomes of keys when the server is full; None if it won't say."""
    policy = info.get("maxmemory_policy")
    return None if policy is None else str(policy)
