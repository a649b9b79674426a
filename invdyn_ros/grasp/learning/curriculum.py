"""Curriculum that enlarges the block area and the noise as the success rate rises."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pydantic import PositiveInt

from invdyn_ros.config import Fraction, Probability, Validated


@dataclass(frozen=True)
class CurriculumConfig(Validated):
    """Settings of a curriculum.

    Attributes:
        initial_area: fraction of the block area's length and width at level 0; 1: the whole area.
        initial_noise: fraction of the noise at level 0.
        promotion_threshold: success rate at which the level rises.
        window: number of episodes at the same level over which the success rate is measured.
        increment: increase of the level at each promotion.
    """

    initial_area: Fraction = 1.0
    initial_noise: Probability = 1.0
    promotion_threshold: Probability = 0.7
    window: PositiveInt = 40
    increment: Fraction = 0.2


class Curriculum:
    """Raise the difficulty of a task with the success rate.

    Attributes:
        level: difficulty from 0, the easiest, to 1, the whole task.
    """

    def __init__(self, config: CurriculumConfig, level: float = 0.0) -> None:
        """Start at a level; at level 1 if the settings do not make the task easier."""
        self.config = config
        self.level = 1.0 if config.initial_area == config.initial_noise == 1 else level
        self._successes: deque[bool] = deque(maxlen=config.window)

    @property
    def success_rate(self) -> float:
        """Success rate over the last episodes at this level, at most `window` of them."""
        return sum(self._successes) / max(len(self._successes), 1)

    @property
    def fractions(self) -> tuple[float, float]:
        """Fractions of the block area and of the noise at this level."""
        config, level = self.config, self.level
        return (
            config.initial_area + level * (1 - config.initial_area),
            config.initial_noise + level * (1 - config.initial_noise),
        )

    def update(self, success: bool) -> bool:
        """Record the outcome of an episode; return whether the level rose."""
        self._successes.append(success)
        full = len(self._successes) == self.config.window
        if self.level >= 1 or not full or self.success_rate < self.config.promotion_threshold:
            return False
        self.level = min(self.level + self.config.increment, 1.0)
        self._successes.clear()
        return True
