"""Cycles of a trainer that runs, on a real broker and a real store: killed in one, and asked for one."""

import json
import shutil
import signal
from pathlib import Path

from ebbtide import config as settings
from ebbtide.live.arriving import cycle_requests
from ebbtide.live.trainer import LiveTrainer
from ebbtide.report import cycle_file
from tests.ebbtide import dying_in_a_cycle, keeping
from tests.ebbtide.live import test_train as trained
from tests.ebbtide.live.test_train import EVENTS, InProcess, ended
from tests.ebbtide.sent_examples import batches, log, send

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


def test_killed_in_a_cycle_it_makes_the_same_cycles(here: InProcess, tmp_path: Path) -> None:
    (tmp_path / "coea.toml").write_text(COEA)
    options = ("--learner", "coea", "--config", tmp_path / "coea.toml", "--every", "600")
    send(here.brokers, here.topic, batches(2, 25))
    ended(here, *options, code=-signal.SIGKILL, program=dying_in_a_cycle.program)
    killed = json.loads(ended(here, *options, "--for", EVENTS)[0].splitlines()[-1])
    cycles = cycle_file.read(here.folder).cycles

    keeping.start_over(here.folder)
    whole = here.train(at_most=EVENTS, config=settings.read(tmp_path / "coea.toml"))
    assert whole.digest() == killed["state_digest"]
    found = cycle_file.read(here.folder).cycles
    assert [one.verdict for one in found] == [one.verdict for one in cycles]
    assert len(found) > 5
    called = {one.name for one in cycle_file.read(here.folder).clusters}
    assert called <= {"other", *dict(log().names.items()).values()}
    assert len(called) > 5


def test_what_is_asked_for_is_answered_and_made_again_at_the_same_place(
    here: InProcess, tmp_path: Path
) -> None:
    """Without its newest checkpoint a trainer goes through all that its journal says."""
    (tmp_path / "coea.toml").write_text(COEA.replace("every = 512", "every = 100000"))
    config = settings.read(tmp_path / "coea.toml")
    send(here.brokers, here.topic, batches(2, 25))
    here.folder.mkdir()
    asked = [cycle_requests.ask(here.folder, "rollback")]

    def ask_for_one(trainer: LiveTrainer) -> None:
        if len(trainer.parts.learning.cycle_answers) == len(asked) == 1:
            asked.append(cycle_requests.ask(here.folder, "run"))

    whole = here.train(at_most=EVENTS, config=config, tell=ask_for_one)
    assert cycle_requests.waiting(here.folder) is None
    found = cycle_file.read(here.folder)
    assert found.cycles
    assert [one.request for one in found.answers] == [one.identifier for one in asked]
    assert [one.refused for one in found.answers] == [True, False]
    assert found.answers[0].said == "version 0 serves, and none before it is kept"
    assert whole.status().cycle_answers == found.answers
    shutil.rmtree(here.folder / f"checkpoint-{EVENTS:012d}")
    (here.folder / f"journal-{EVENTS:012d}").unlink(missing_ok=True)
    again = here.train(at_most=EVENTS, config=config)
    assert again.digest() == whole.digest()
    assert cycle_file.read(here.folder).answers == found.answers
