"""With this folder in PYTHONPATH the planted learners are found beside ours, in whatever process."""

from pathlib import Path

import learners.systems

learners.systems.__path__.append(str(Path(__file__).parent.parent))
