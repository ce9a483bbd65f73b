"""From the log to the learners: who may compare with a row's own place."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ebbtide import api
from ebbtide.config import RunConfig
from ebbtide.running.plan import operator_of, plan, subject, trainer_of
from learners.training.trainer import Trainer
from replay.log import Log
from state.examples import BY_ENTRY
from streams.operator import Operator, OperatorConfig
from tests.replay.events import START_S, write_csv


@pytest.fixture(scope="module")
def venues(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Users go from one of thirty venues to any other."""
    path = tmp_path_factory.mktemp("venues")
    item = np.random.default_rng(0).integers(0, 30, 900)
    rows = [f"{n % 11},{i},{START_S + 60 * n},4{i % 7}.5,{i}.5" for n, i in enumerate(item.tolist())]
    return Log.open(write_csv(path / "log.csv", "user,item,time,lat,lon", rows))


def made(config: RunConfig, log: Log) -> tuple[Operator, Trainer]:
    """The operator and the trainer of a run."""
    found = subject(config, log)
    trainer = trainer_of(plan(config, found), config, found)
    return operator_of(trainer, found), trainer


def test_a_place_of_the_items_is_not_the_requests(venues: Log) -> None:
    config = RunConfig(floors=False)
    assert "here" not in subject(config, venues).roles
    operator, trainer = made(config, venues)
    assert not operator.config.own_place
    assert all("here" not in learner.context.roles for learner in trainer.learners.values())


def test_a_place_of_its_own_is_unless_the_settings_say_otherwise() -> None:
    shops = api.open_log("planted:users=20,items=30,events=600")
    assert "here" in subject(RunConfig(), shops).roles
    operator, _ = made(RunConfig(), shops)
    assert operator.config.own_place
    assert "here" not in subject(RunConfig(operator=OperatorConfig(own_place=False)), shops).roles


def test_without_places_there_is_no_here(tmp_path: Path) -> None:
    rows = [f"{n % 3},{n % 7},{START_S + n}" for n in range(50)]
    log = Log.open(write_csv(tmp_path / "log.csv", "user,item,time", rows))
    assert "here" not in subject(RunConfig(), log).roles


def test_the_window_does_not_tell_where_the_item_is(venues: Log) -> None:
    """Had any other item been taken, the example would look the same but for what is the item's own."""
    config = RunConfig(floors=False)
    events = next(iter(venues.batches(900)))
    other = events.take(slice(None))
    last = len(events) - 1
    for name in ("item_B", "lat_B", "lon_B"):
        column = getattr(other, name).copy()
        column[last] = getattr(events, name)[0]
        object.__setattr__(other, name, column)
    assert events.item_B[0] != events.item_B[last]
    found = []
    for stream in (events, other):
        operator, _ = made(config, venues)
        examples = operator.process(stream, 0)
        assert examples.window is not None
        found.append((examples.window.take(slice(last, None)), int(examples.tz_min_B[last])))
    assert found[0][1] == found[1][1]
    told = ("length_B", *BY_ENTRY)  # the others say what the row's own event leaves behind, for the publisher
    columns = [pa.table({f: [str(getattr(w, f).tolist())] for f in told}) for w, _ in found]
    assert columns[0].equals(columns[1])
