"""Random targets and disturbed joint states for the fuzz of the safety benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

ABSURD_VALUES = (np.nan, np.inf, -np.inf, 1e308, -1e308, 1e155, 1e18, 1e6, 5e-324)


class Disturbance(NamedTuple):
    """What happens to the joint states of a chunk of T ticks.

    Attributes:
        name: of the kind.
        offset: (T, n) added to the positions [rad].
        velocity_offset: (T, n) added to the velocities [rad/s].
        stamp_offset: (T,) added to the stamps [s].
        delivery: (T,) per tick: 1 delivers the state, 0 none, 2 the same message as before, 3 the
            values of before with a new stamp, 4 the states of this tick and of the one before in
            the wrong order.
        paused: (T,) whether the program stands still, watchdog included.
    """

    name: str
    offset: Array
    velocity_offset: Array
    stamp_offset: Array
    delivery: Array
    paused: Array


def random_disturbance(
    name: str, robot: Robot, count: int, rng: np.random.Generator
) -> Disturbance:
    """Return a disturbance of one kind, in a random window of a chunk.

    Args:
        name: key of `DISTURBANCES`.
        robot: the arm.
        count: number of ticks.
        rng: random generator.
    """
    zero = np.zeros((count, robot.n))
    disturbance = Disturbance(
        name, zero, zero.copy(), np.zeros(count), np.ones(count, int), np.zeros(count, bool)
    )
    start = int(rng.integers(count // 4, count // 2))
    longest = max(2, min(count - start - 1, round(0.5 * robot.rate)))
    window = slice(start, start + int(rng.integers(1, longest)))
    DISTURBANCES[name](disturbance, window, robot, rng)
    return disturbance


def _noise(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    d.offset[:] = rng.normal(0, 10 ** rng.uniform(-5, -3), d.offset.shape)
    d.velocity_offset[:] = rng.normal(0, 10 ** rng.uniform(-3, -1), d.offset.shape)


def _absurd(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    part = d.offset if rng.random() < 0.5 else d.velocity_offset
    part[window, rng.integers(robot.n)] = rng.choice(ABSURD_VALUES)


def _jump(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    d.offset[window, rng.integers(robot.n)] = rng.choice([-1, 1]) * 10 ** rng.uniform(-2.5, 1)


def _velocity_jump(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    d.velocity_offset[window, rng.integers(robot.n)] = rng.normal(0, 2)


def _stopped(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    d.delivery[window] = 0


def _lossy(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    d.delivery[rng.random(len(d.delivery)) < rng.uniform(0, 0.6)] = 0


def _frozen(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    d.delivery[window] = rng.choice([2, 3])


def _reordered(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    d.delivery[rng.random(len(d.delivery)) < 0.1] = rng.choice([2, 4])


def _clock(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    step = rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 4)
    d.stamp_offset[window.start :] = step if rng.random() < 0.5 else 0.0
    d.stamp_offset[window] = step


def _paused(d: Disturbance, window: slice, robot: Robot, rng: np.random.Generator) -> None:
    d.paused[window] = True


DISTURBANCES: dict[str, Callable[[Disturbance, slice, Robot, np.random.Generator], None]] = {
    "noise": _noise,
    "absurd": _absurd,
    "jump": _jump,
    "velocity jump": _velocity_jump,
    "stopped": _stopped,
    "lossy": _lossy,
    "frozen": _frozen,
    "reordered": _reordered,
    "clock": _clock,
    "paused": _paused,
}
"""Kind of disturbance -> function that writes it into a window of ticks."""


class TargetStream:
    """Random targets at a random rate, of one of several kinds."""

    def __init__(self, robot: Robot, rng: np.random.Generator) -> None:
        """Create the stream of an arm."""
        self.robot, self.rng = robot, rng
        self._goal = robot.home.copy()
        self._replayed: list[Target] = []

    def targets(self, times: Array) -> list[Target | None]:
        """Return the target that arrives at each time (T,) [s], or None."""
        rng, count = self.rng, len(times)
        kind = str(rng.choice(list(TARGET_KINDS)))
        every = int(rng.choice([1, 1, 2, 4, 8, round(self.robot.rate / 10)]))
        arrivals = np.flatnonzero(rng.random(count) < 0.9)[:: max(every, 1)]
        if kind == "replayed" and self._replayed:
            sent = [self._replayed[k % len(self._replayed)] for k in range(len(arrivals))]
        else:
            sent = TARGET_KINDS[kind](self, times[arrivals])
            self._replayed = sent[:200]
        targets: list[Target | None] = [None] * count
        for k, target in zip(arrivals.tolist(), sent, strict=True):
            targets[k] = target
        return targets

    def _states(self, q: Array, qd: Array, qdd: Array) -> list[State]:
        return [State(*rows) for rows in zip(q, qd, qdd, strict=True)]

    def _steps(self, times: Array) -> list[Target]:
        """Jumps between configurations, within the limits and beyond them."""
        robot, rng, shape = self.robot, self.rng, (len(times), self.robot.n)
        goals = rng.uniform(1.2 * robot.lower, 1.2 * robot.upper, (1 + len(times) // 40, robot.n))
        q = np.repeat(goals, 40, axis=0)[: len(times)]
        qd = np.zeros(shape)
        if rng.random() < 0.5:
            qd = rng.uniform(-1.5, 1.5, shape) * robot.velocity
        return self._packed(times, q, qd, np.zeros(shape), self._horizons(times))

    def _walk(self, times: Array) -> list[Target]:
        """A random walk near the last goal, with its velocity and acceleration."""
        robot, rng = self.robot, self.rng
        frequency = 2 * np.pi * rng.uniform(0.02, 1.5, robot.n)
        size = rng.uniform(0, 1.2) * robot.velocity / frequency
        phase = frequency * times[:, None] + rng.uniform(0, 6, robot.n)
        centre = self._goal = rng.uniform(robot.lower, robot.upper)
        q = centre + size * np.sin(phase)
        qd, qdd = size * frequency * np.cos(phase), -size * frequency**2 * np.sin(phase)
        return self._packed(times, q, qd, qdd, self._horizons(times))

    def _scatter(self, times: Array) -> list[Target]:
        """White noise in every component."""
        robot, rng, shape = self.robot, self.rng, (len(times), self.robot.n)
        width = 10 ** rng.uniform(-3, 1)
        q = self._goal + rng.normal(0, width, shape)
        qd = rng.normal(0, width, shape) * robot.velocity
        qdd = rng.normal(0, width, shape) * robot.acceleration
        return self._packed(times, q, qd, qdd, self._horizons(times))

    def _absurd(self, times: Array) -> list[Target]:
        """Values, horizons and stamps that no source means, among good ones."""
        rng, sent = self.rng, self._walk(times)
        for k in np.flatnonzero(rng.random(len(sent)) < 0.3):
            target, value = sent[k], float(rng.choice(ABSURD_VALUES))
            choice = rng.integers(5)
            if choice == 0:
                target.state[rng.integers(3)][rng.integers(self.robot.n)] = value
            elif choice == 1:
                sent[k] = target._replace(horizon=float(rng.choice([value, -1.0, 1e155, 1e-12])))
            elif choice == 2:
                shift = float(rng.choice([value, -3600, -1, 1, 3600]))
                sent[k] = target._replace(stamp=target.stamp + shift)
            elif choice == 3:
                short = State(*(part[:-1] for part in target.state))
                sent[k] = target._replace(state=short)
            else:
                sent[k] = target._replace(stamp=value)
        return sent

    def _limits(self, times: Array) -> list[Target]:
        """States at the limits of position and velocity, also towards the outside."""
        robot, rng, shape = self.robot, self.rng, (len(times), self.robot.n)
        q = np.where(rng.random(shape) < 0.5, robot.lower, robot.upper)
        q = q + rng.normal(0, 0.03, shape)
        qd = rng.choice([-1, 0, 1], shape) * robot.velocity * rng.uniform(0.9, 1.1)
        return self._packed(times, q, qd, np.zeros(shape), self._horizons(times))

    def _contradiction(self, times: Array) -> list[Target]:
        """Two sources with goals of their own, in turns."""
        robot, rng = self.robot, self.rng
        goals = rng.uniform(robot.lower, robot.upper, (2, robot.n))
        q = goals[np.arange(len(times)) % 2]
        zero = np.zeros_like(q)
        return self._packed(times, q, zero, zero, np.zeros(len(times)))

    def _horizons(self, times: Array) -> Array:
        rng = self.rng
        if rng.random() < 0.4:
            return np.zeros(len(times))
        return 10 ** rng.uniform(-4, 0, len(times))

    def _packed(
        self, times: Array, q: Array, qd: Array, qdd: Array, horizons: Array
    ) -> list[Target]:
        stamps = times - self.rng.choice([0.0, 0.02, 0.15])
        return [
            Target(float(stamp), state, float(horizon))
            for stamp, state, horizon in zip(
                stamps, self._states(q, qd, qdd), horizons, strict=True
            )
        ]


TARGET_KINDS: dict[str, Callable[[TargetStream, Array], list[Target]]] = {
    "steps": TargetStream._steps,
    "walk": TargetStream._walk,
    "scatter": TargetStream._scatter,
    "absurd": TargetStream._absurd,
    "limits": TargetStream._limits,
    "contradiction": TargetStream._contradiction,
    "replayed": TargetStream._walk,
}
"""Kind of targets -> function that makes them."""
