"""Ranges of settings: a number that lies outside is refused where the settings are read."""

from typing import Annotated

from msgspec import Meta

Whole = Annotated[int, Meta(ge=0)]
Some = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
