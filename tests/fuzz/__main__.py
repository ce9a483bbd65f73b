"""`python -m tests.fuzz --seconds 60 --seed 0`: cases until the time is over; exit code 1 if one failed."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.campaign import DRAW, Campaign

_SAY_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long [60]")
    parser.add_argument("--seed", type=int, default=0, help="of all cases [0]")
    parser.add_argument("--only", type=int, help="one case, by its number")
    parser.add_argument("--first", type=int, default=0, help="the first case [0]")
    parser.add_argument("--kind", action="append", choices=list(DRAW), help="only these; repeat [all]")
    parser.add_argument("--out", type=Path, help="where failing inputs go [a temporary folder]")
    given = parser.parse_args()
    out = given.out or Path(tempfile.mkdtemp(prefix="ebbtide-fuzz-"))
    campaign = Campaign(given.seed, out, tuple(given.kind or ()))

    def tell(line: str) -> None:
        print(line, flush=True)

    if given.only is not None:
        return 0 if campaign.step(given.only, tell) else 1
    began_s = said_s = time.monotonic()
    number = given.first
    while time.monotonic() - began_s < given.seconds:
        campaign.step(number, tell)
        number += 1
        if time.monotonic() - said_s > _SAY_S:
            said_s = time.monotonic()
            tell(f"{said_s - began_s:6.0f} s  {dict(campaign.checked)}, {campaign.failures.total()} failed")
    passed_s = time.monotonic() - began_s
    tell(
        f"seed {given.seed}: {number - given.first:,} cases in {passed_s:.0f} s {dict(campaign.checked)}, "
        f"{campaign.failures.total()} failed at {len(campaign.failures)} places"
    )
    for place, count in campaign.failures.most_common():
        tell(f"  {count:6,} x {place}")
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())
