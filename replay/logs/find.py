"""From what the caller names, a path or a known log, to the log's files."""

from pathlib import Path

from replay.logs.folder import open_folder
from replay.logs.known import KNOWN, open_known
from replay.logs.log_files import LogFiles
from replay.logs.planted import PLANTED, open_planted
from replay.meaning.mapping import Mapping
from replay.reading.files import open_file
from state.errors import InputError


def find(log: str | Path, given: Mapping) -> LogFiles:
    """The files of a log. A path that is there comes before a known name. Raises InputError."""
    path, name = Path(log), str(log)
    if path.is_dir():
        return open_folder(path, given)
    if not path.exists():
        if name in KNOWN:
            return open_known(name)
        if name.partition(":")[0] == PLANTED:
            return open_planted(name)
        if path.suffix == "" and path.name == name:
            known = ", ".join([*KNOWN, PLANTED])
            raise InputError(f"{name}: no such file, and no known log; the known ones are {known}")
    file = open_file(path)
    return LogFiles(name=name, events=(file,))
