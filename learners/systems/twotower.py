"""The multi-interest unit alone (`learners.interests.unit`), which ranks by its vectors."""

from typing import ClassVar

from learners.interests.unit import InterestUnit


class TwoTower(InterestUnit):
    """The learner that embeddings are published from where the model has none."""

    name: ClassVar[str] = "twotower"
