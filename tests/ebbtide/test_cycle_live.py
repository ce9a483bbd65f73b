"""Cycles of a trainer that runs, on a real broker and a real store: promoted, killed, asked for."""

import shutil
from pathlib import Path

from ebbtide import config as settings
from ebbtide.live.arriving import cycle_requests
from ebbtide.live.trainer import LiveTrainer
from ebbtide.report import cycle_file
from tests.chaos import cycles
from tests.ebbtide import test_train as trained
from tests.ebbtide.sent_examples import batches, send
from tests.ebbtide.test_train import EVENTS, InProcess

here, store, topic = trained.here, trained.store, trained.topic
COEA = """
learner = "coea"
drift = false
floors = false
[learners.coea]
explore = true
most_clusters = 16
codes = [4, 2]
lag = 448
[learners.coea.cycle]
every = 512
"""


def test_from_what_is_explored_to_a_version_that_serves_and_back_through_kills(
    services: Path, tmp_path: Path
) -> None:
    """As `python -m tests.chaos --cycles`, with fewer events."""
    print(cycles.run(0, services, tmp_path, least_events=60))


def test_a_cycle_that_is_asked_for_is_made_again_at_the_same_place(here: InProcess, tmp_path: Path) -> None:
    """Without its newest checkpoint a trainer goes through all that its journal says."""
    (tmp_path / "coea.toml").write_text(COEA.replace("every = 512", "every = 100000"))
    config = settings.read(tmp_path / "coea.toml")
    send(here.brokers, here.topic, batches(2, 25))
    here.folder.mkdir()
    cycle_requests.ask(here.folder, "run")

    def ask_again(trainer: LiveTrainer) -> None:
        if trainer.intake.events > 2000 and not cycle_file.read(here.folder).cycles:
            cycle_requests.ask(here.folder, "run")

    whole = here.train(at_most=EVENTS, config=config, tell=ask_again)
    assert whole.parts.asked
    assert cycle_requests.waiting(here.folder) is None
    assert cycle_file.read(here.folder).cycles
    shutil.rmtree(here.folder / f"checkpoint-{EVENTS:012d}")
    (here.folder / f"journal-{EVENTS:012d}").unlink(missing_ok=True)
    again = here.train(at_most=EVENTS, config=config)
    assert again.digest() == whole.digest()
