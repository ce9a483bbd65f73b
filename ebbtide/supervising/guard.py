"""Run as a process beside `ebbtide up`: where that is killed, ends all that it has started.

Arguments: the folder, the killed one's process and when it began. It waits for the end of its input, which
comes with the end of its parent, however that comes about.
"""

import sys
from pathlib import Path


def main() -> None:
    """Wait, then end what is still there and still theirs."""
    folder, pid, began = sys.argv[1:]
    sys.stdin.buffer.read()
    from ebbtide.supervising.folder import Folder  # until now there was nothing to do: no memory for it

    there = Folder(Path(folder))
    holder = there.holder()
    if holder is not None and (str(holder.pid), holder.started) == (pid, began):
        there.end(holder)


if __name__ == "__main__":
    main()
