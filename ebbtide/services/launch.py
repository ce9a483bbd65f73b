"""Run as a script, becomes a service: detaches, writes down who it is, lets go of the lock, runs the command.

With `--child` in front it stays its caller's child, in a session of its own.

It writes before it runs, and holds its caller's lock until then: whatever happens to the caller, whoever gets
the lock next finds every service that was started. The standard library is all it uses, so it starts at once.
"""

import json
import os
import subprocess
import sys

CHILD = "--child"


def started(pid: int) -> str:
    """When process `pid` began, as no other process with this number did; empty if there is none.

    A zombie is none, unless other threads of it are not gone yet: they still hold its ports and its files.
    """
    if os.path.exists("/proc/self/stat"):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        with open("/proc/sys/kernel/random/boot_id") as file:
            gone = fields[0] in b"ZX" and int(fields[17]) <= 1
            return "" if gone else f"{file.read().strip()} {fields[19].decode()}"
    plain = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}  # the same words whoever asks
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    listed = subprocess.run(command, env=plain, capture_output=True, text=True)
    state, _, began = listed.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else began.strip()


def main() -> None:
    """Arguments: the file for the record, the descriptor of the lock, the command."""
    arguments = sys.argv[1:]
    child = arguments[0] == CHILD
    record, lock, *command = arguments[child:]
    if not child and os.fork():
        os._exit(0)
    os.setsid()
    with open(f"{record}.new", "w") as file:
        json.dump({"pid": os.getpid(), "started": started(os.getpid()), "command": command}, file)
    os.replace(f"{record}.new", record)
    os.close(int(lock))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
