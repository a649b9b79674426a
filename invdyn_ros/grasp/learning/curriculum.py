"""From easy to hard: successes enter, how much of the task an environment shows leaves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pydantic import PositiveInt

from invdyn_ros.config import Fraction, Probability, Validated


@dataclass(frozen=True)
class CurriculumConfig(Validated):
    """How a task grows.

    Attributes:
        area: share of the area's length and width where blocks lie at first; 1: all of it.
        noise: share of the noise at first.
        promote: success rate at which the task grows.
        window: episodes over which that rate is taken, anew after each growth.
        stride: how much of the way to the whole task one growth goes.
    """

    initial_area: Fraction = 1.0
    initial_noise: Probability = 1.0
    promotion_threshold: Probability = 0.7
    window: PositiveInt = 40
    increment: Fraction = 0.2


class Curriculum:
    """Counts successes and lets the task grow.

    Attributes:
        level: from 0, as easy as it gets, to 1, the whole task.
    """

    def __init__(self, config: CurriculumConfig, level: float = 0.0) -> None:
        """Begin at a level; a task that never was eased is at the end at once."""
        self.config = config
        self.level = 1.0 if config.initial_area == config.initial_noise == 1 else level
        self._last: deque[bool] = deque(maxlen=config.window)

    @property
    def success_rate(self) -> float:
        """Success rate over the last episodes, at most a window of them."""
        return sum(self._last) / max(len(self._last), 1)

    @property
    def fractions(self) -> tuple[float, float]:
        """Shares of area and noise now."""
        c, level = self.config, self.level
        return c.initial_area + level * (1 - c.initial_area), c.initial_noise + level * (
            1 - c.initial_noise
        )

    def update(self, success: bool) -> bool:
        """Note the outcome of an episode; say whether the task grew."""
        self._last.append(success)
        full = len(self._last) == self.config.window
        if self.level >= 1 or not full or self.success_rate < self.config.promotion_threshold:
            return False
        self.level = min(self.level + self.config.increment, 1.0)
        self._last.clear()
        return True
