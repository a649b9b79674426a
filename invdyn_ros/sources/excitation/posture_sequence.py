"""Motions from one random posture to the next, with a rest at each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from invdyn_ros.control.motion_profile import State
from invdyn_ros.robots.quintic import PEAK_ACCELERATION, PEAK_VELOCITY, quintic
from invdyn_ros.typing import Array

REST = 0.3  # [s] after each move
MAX_DRAWS = 300  # of a posture that is reached without contact
CHECK_INTERVAL = 0.1  # [s] between states that are checked for contact


class SmoothMotion(ABC):
    """A desired motion of all joints with continuous acceleration.

    Attributes:
        duration: [s].
    """

    duration: float

    @abstractmethod
    def motion(self, time: Array) -> tuple[Array, Array, Array]:
        """Return position, velocity and acceleration, each (T, n), at times (T,) [s]."""

    def state_at(self, time: float) -> State:
        """Return the desired state at a time [s]."""
        return State(*(part[0] for part in self.motion(np.array([time]))))


class PostureLimits(NamedTuple):
    """Range and largest derivatives of moves, each (n,).

    Attributes:
        middle: of the range [rad].
        reach: half of the range [rad].
        velocity: [rad/s].
        acceleration: [rad/s2].
    """

    middle: Array
    reach: Array
    velocity: Array
    acceleration: Array

    def posture(self, random: np.random.Generator) -> Array:
        """Return a random posture (n,)."""
        posture: Array = self.middle + self.reach * random.uniform(-1, 1, self.middle.size)
        return posture

    def duration(self, way: Array) -> float:
        """Return the shortest duration [s] of a move of a way (n,) [rad]."""
        by_velocity = float(np.max(PEAK_VELOCITY * np.abs(way) / self.velocity))
        by_acceleration = float(
            np.sqrt(np.max(PEAK_ACCELERATION * np.abs(way) / self.acceleration))
        )
        return max(by_velocity, by_acceleration)


class PostureSequence(SmoothMotion):
    """Quintic moves from posture to posture.

    Attributes:
        moves: start [s], duration [s], first posture and way of each.
    """

    def __init__(
        self,
        limits: PostureLimits,
        duration: float,
        random: np.random.Generator,
        is_free: Callable[[Array], bool] = lambda q: True,
        min_speed: float = 1.0,
    ) -> None:
        """Draw moves until a duration is over; the last one may be cut off.

        Args:
            limits: of the moves.
            duration: [s].
            random: random generator.
            is_free: whether the arm touches nothing at positions (T, n).
            min_speed: of the random speed of each move, relative to the fastest one.

        Raises:
            ValueError: there is no way to another posture without contact.
        """
        self.duration = duration
        self.moves: list[tuple[float, float, Array, Array]] = []
        time, posture = 0.0, limits.posture(random)
        while not is_free(posture[None]):
            posture = limits.posture(random)
        while time < duration:
            way, seconds = self._move(posture, limits, random, is_free, min_speed)
            self.moves.append((time, seconds, posture, way))
            time, posture = time + seconds + REST, posture + way

    @staticmethod
    def _move(
        posture: Array,
        limits: PostureLimits,
        random: np.random.Generator,
        is_free: Callable[[Array], bool],
        min_speed: float,
    ) -> tuple[Array, float]:
        """Return way (n,) [rad] and duration [s] of a random move from a posture (n,)."""
        for _ in range(MAX_DRAWS):
            way = limits.posture(random) - posture
            seconds = limits.duration(way)
            if min_speed < 1:
                seconds /= random.uniform(min_speed, 1.0)
            x = np.linspace(0, 1, max(3, round(seconds / CHECK_INTERVAL)))[:, None]
            if is_free(posture + way * x):
                return way, seconds
        raise ValueError(
            f"{MAX_DRAWS} ways between random postures touch the arm itself; give a smaller "
            "range_fraction or max_amplitude"
        )

    def motion(self, time: Array) -> tuple[Array, Array, Array]:
        """Return position, velocity and acceleration, each (T, n), at times (T,) [s]."""
        starts, durations, postures, ways = map(np.array, zip(*self.moves, strict=True))
        k = np.clip(np.searchsorted(starts, time, side="right") - 1, 0, len(starts) - 1)
        x = np.clip((time - starts[k]) / durations[k], 0.0, 1.0)[:, None]
        part, rate, curvature = quintic(x, 1.0)
        way, seconds = ways[k], durations[k, None]
        return postures[k] + way * part, way * rate / seconds, way * curvature / seconds**2
