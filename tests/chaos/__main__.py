"""`python -m tests.chaos --seeds 20`: one seed after another; exit code 1 if one failed."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from ebbtide.services import control
from replay.faults import TARGETS, PlannedFault, schedule
from tests import chaos
from tests.chaos import cycles
from tests.chaos.one_seed import FAULTS, RATE, SECONDS, run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=(chaos.__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=5, help="how many [5]")
    parser.add_argument("--first", type=int, default=0, help="the first [0]")
    parser.add_argument("--faults", type=int, default=FAULTS, help=f"of each seed [{FAULTS}]")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"that each lasts [{SECONDS:g}]")
    parser.add_argument("--rate", type=float, default=RATE, help=f"events a second [{RATE}]")
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS, help="what fails [all]")
    parser.add_argument("--schedule", type=Path, help="faults of your own, a JSON object a line")
    parser.add_argument("--engine", default="ingest", choices=("ingest", "flink"), help="who works [ingest]")
    parser.add_argument("--cycles", action="store_true", help="an audience, and a trainer killed in cycles")
    given = parser.parse_args()
    targets = tuple(target for target in given.targets if given.engine == "ingest" or target != "events")
    failed = []
    with tempfile.TemporaryDirectory(prefix="ebbtide-chaos-") as top:
        services = Path(top) / "services"
        try:
            for seed in range(given.first, given.first + given.seeds):
                folder = Path(top) / f"seed-{seed}"
                folder.mkdir()
                if given.cycles:
                    faults = []
                elif given.schedule is None:
                    faults = schedule(seed, given.seconds, given.faults, targets)
                else:
                    faults = msgspec.json.Decoder(PlannedFault).decode_lines(given.schedule.read_bytes())
                for fault in faults:
                    print(f"  {msgspec.json.encode(fault).decode()}")
                began_s = time.monotonic()
                try:
                    came_to = (
                        cycles.run(seed, services, folder)
                        if given.cycles
                        else run(
                            seed,
                            services,
                            folder,
                            faults,
                            **{"seconds": given.seconds, "rate": given.rate, "engine": given.engine},
                            tell=lambda line: print(line, flush=True),
                        )
                    )
                    print(f"seed {seed}: ok in {time.monotonic() - began_s:.0f} s: {came_to}", flush=True)
                except Exception as error:
                    failed.append(seed)
                    print(f"seed {seed}: FAILED: {error!r}", flush=True)
                    for log in sorted((*folder.glob("*.log"), *(services / "logs").iterdir())):
                        print(f"--- {log.name}\n{log.read_text()[-3000:]}", flush=True)
        finally:
            control.down(services)
    well = given.seeds - len(failed)
    print(f"{well} of {given.seeds} seeds ok" + (f"; failed: {failed}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
