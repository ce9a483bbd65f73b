"""A live training from its beginning to its end: alone on its checkpoints, going on where they end."""

import gc
import logging
import time
from collections.abc import Callable
from contextlib import closing, suppress

import msgspec
import numpy as np

from ebbtide.alone import alone
from ebbtide.config import RunConfig, fingerprint
from ebbtide.live.arriving.item_topic import ItemTopic
from ebbtide.live.arriving.micro_batches import ROWS, MicroBatches
from ebbtide.live.arriving.set_aside import Again, UnlearnableError, UnpublishableError
from ebbtide.live.arriving.side_tables import SideTables
from ebbtide.live.arriving.stream_facts import Stream, look
from ebbtide.live.parts import Parts
from ebbtide.live.settings import TrainerSettings
from ebbtide.live.trainer import LiveTrainer
from ebbtide.publishing import mirror
from ebbtide.running.learning import Learning
from state import checkpoint
from state.errors import InputError
from state.example_wire import Shipment
from state.examples import concat
from state.store.contract import EmbeddingStore
from state.store.in_memory import DictStore
from state.tree import Tree
from streams.kafka.reader import Reader

log = logging.getLogger("ebbtide.train")

_WAIT_MS = 20
_LOOK_S = 5.0
_REHEARSED = 256


def train(
    settings: TrainerSettings,
    config: RunConfig,
    store: EmbeddingStore,
    *,
    clear: bool,
    stop: Callable[[], bool],
    tell: Callable[[LiveTrainer], None],
) -> LiveTrainer | None:
    """Learn until `stop`, or what the settings say; `tell` is called every second or so.

    `clear` removes what an earlier run has published. Returns the trainer as it ended, or nothing if it was
    stopped before it knew the stream. Raises InputError.
    """
    with alone(settings.directory, "--checkpoint", "trainer learns"):
        newest = checkpoint.load(settings.directory)
        saved = None if newest is None else newest[1]
        sides = SideTables.of_tree(saved.get("sides")) if saved else _read(settings)
        if saved is None:
            _claim(store, clear=clear)
            mirror.remove(settings.directory)
        elif saved["settings"] != fingerprint(config):
            raise InputError(
                f"--checkpoint {settings.directory}: made with other settings; go on with the same, or begin "
                "with another folder"
            )
        else:
            sides.same_files(settings.items, settings.users)
        with suppress(InputError):  # a store that is away is the delivery's to say
            for flaw in store.flaws():
                log.warning("store: %s", flaw.sentence)
        with (
            Reader(settings.brokers, settings.topic, _offsets(saved), _topic_id(saved)) as reader,
            closing(mirror.Mirror(settings.directory)) as kept,
        ):
            feed = MicroBatches(reader)
            if saved is None:
                stream = _first(feed, config, stop)
                if stream is not None:
                    topic = ItemTopic(settings.brokers, settings.items_topic, settings.dead_letters)
                    sides.begin(topic.by_now(), settings.items_topic)
                    _rehearse(feed, stream, sides, config)
            else:
                stream = msgspec.json.decode(saved["stream"], type=Stream)
            if stream is None:
                return None
            parts = Parts(settings, config, stream, store, kept, sides)
            ended = _live(LiveTrainer(parts, saved), feed, stop, tell)
            while isinstance(ended, Again):
                newest = checkpoint.load(settings.directory)
                assert newest is not None, "a trainer saves itself before it learns"
                reader.rewind(_offsets(newest[1]))
                feed = MicroBatches(reader, alone=ended.alone)
                sides = SideTables.of_tree(newest[1].get("sides"))
                parts = Parts(settings, config, stream, store, kept, sides)
                ended = _live(LiveTrainer(parts, newest[1], ended), feed, stop, tell)
            return ended


def _offsets(saved: Tree | None) -> dict[int, int]:
    """Partition -> where a trainer that goes on from a checkpoint reads on."""
    return {} if saved is None else dict(saved["intake"]["offsets"].tolist())


def _topic_id(saved: Tree | None) -> str | None:
    """Of the topic that they are of, as far as the checkpoint knows."""
    return None if saved is None else saved["intake"].get("topic_id") or None


def _live(
    training: LiveTrainer, feed: MicroBatches, stop: Callable[[], bool], tell: Callable[[LiveTrainer], None]
) -> LiveTrainer | Again:
    """A trainer to its end, or how another is to begin where this one could not go on."""
    try:
        training.begin(feed)
        _run(training, stop, tell)
        training.finish()
    except (UnlearnableError, UnpublishableError) as error:
        return training.give_way(error)
    return training


def _run(training: LiveTrainer, stop: Callable[[], bool], tell: Callable[[LiveTrainer], None]) -> None:
    gc.freeze()  # or events wait .3 s whenever all that was compiled is looked through for garbage
    settings, came_s = training.settings, time.monotonic()
    at_most = settings.at_most or 1 << 62
    while not stop() and training.intake.events < at_most:
        idle = not training.step()
        if training.tick(idle=idle):
            tell(training)
        now_s = time.monotonic()
        came_s = came_s if idle else now_s
        if settings.until_idle_s is not None and now_s - came_s > settings.until_idle_s:
            return


def _first(feed: MicroBatches, config: RunConfig, stop: Callable[[], bool]) -> Stream | None:
    """What the stream is like, once there are enough examples to tell."""
    deadline_s, trouble = None, None
    while feed.rows < ROWS and (deadline_s is None or time.monotonic() < deadline_s):
        if stop():
            return None
        feed.gather(_WAIT_MS)
        if feed.rows and deadline_s is None:
            deadline_s = time.monotonic() + _LOOK_S
        if feed.reader.trouble != trouble and feed.reader.trouble is not None:
            log.info("%s", feed.reader.trouble)
        trouble = feed.reader.trouble
    shipments = _shipments(feed)
    stream = look(concat([shipment.batch for shipment in shipments]), config, shipments[0].made_by)
    log.info(
        "the stream, by its first %d examples: %s, with %s; [stream] in --config says otherwise",
        feed.rows,
        "labelled" if stream.labelled else "without labels",
        ", ".join(stream.roles),
    )
    return stream


def _shipments(feed: MicroBatches) -> list[Shipment]:
    """What waits, and is examples."""
    return [one.shipment for one in feed.waiting if one.shipment is not None and one.rows]


def _rehearse(feed: MicroBatches, stream: Stream, sides: SideTables, config: RunConfig) -> None:
    """The first examples through a learning of their own, so that every kernel is compiled.

    What cannot be learned is left to the trainer, which sets it aside.
    """
    quiet = msgspec.structs.replace(config, act=())
    learning = Learning(stream.subject(sides, config.operator.memory.expire_ms), quiet, DictStore())
    learning.trainer.rehearse(_REHEARSED // 4)
    batch = concat([shipment.batch for shipment in _shipments(feed)])
    if stream.labelled:
        batch = batch.take(np.flatnonzero(~np.isnan(batch.label_B)))
    for first in range(0, min(len(batch), _REHEARSED), _REHEARSED // 4):
        with suppress(Exception):
            learning.step(batch.take(slice(first, first + _REHEARSED // 4)))
            learning.publisher.flush()


def _read(settings: TrainerSettings) -> SideTables:
    return SideTables.read(settings.items, settings.users, settings.called)


def _claim(store: EmbeddingStore, *, clear: bool) -> None:
    """Raises InputError where a store holds what another run has learned."""
    info = store.info()
    if info is None:
        return
    if not clear:
        raise InputError(
            f"{store}: holds what {info.learner} learned of {info.log!r}, and --checkpoint has nothing to go "
            "on from; name another run (?run=NAME in the URL), or remove that with --clear"
        )
    version = store.version()
    store.clear()
    store.advance(version)
