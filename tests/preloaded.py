"""What commands load before they begin, for processes that are forked (`tests.forked`)."""

from streams.engines.engine_config import EngineConfig
from streams.engines.partition import rehearse

rehearse(EngineConfig())
