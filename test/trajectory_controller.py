"""Stand-in for joint_trajectory_controller: the newest trajectory by its stamp, in splines."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.trajectory_output import Waypoints
from invdyn_ros.typing import Array


class TrajectoryController:
    """Samples the newest trajectory as the controller of ros2_control does.

    Between two points it interpolates position, velocity and acceleration by a quintic polynomial;
    before the first point it starts from the state that it commanded last, after the last one it
    stays. A trajectory that ends in the past is refused.
    """

    def __init__(self, q: Array) -> None:
        zero = np.zeros_like(q)
        self.last = (q, zero, zero)
        self.points: list[tuple[float, tuple[Array, ...]]] = []
        self.waiting: list[tuple[float, Waypoints]] = []
        self.refused = 0

    def send(self, waypoints: Waypoints, arrival: float) -> None:
        """Send a trajectory that arrives at a time [s]."""
        self.waiting.append((arrival, waypoints))

    def _receive(self, waypoints: Waypoints, now: float) -> None:
        assert (np.diff(waypoints.time) > 0).all() and not waypoints.qd[-1].any()
        times = waypoints.start + waypoints.time
        if times[-1] < now:
            self.refused += 1
            return
        states = zip(waypoints.q, waypoints.qd, waypoints.qdd, strict=True)
        self.points = list(zip(times.tolist(), states, strict=True))
        if times[0] > now:
            self.points.insert(0, (now, self.last))

    def sample(self, now: float) -> Array:
        """Return the setpoint (n,) now."""
        for arrival, waypoints in self.waiting:
            if arrival <= now:
                self._receive(waypoints, now)
        self.waiting = [message for message in self.waiting if message[0] > now]
        if self.points:
            self.last = self._state(now)
        return self.last[0]

    def _state(self, now: float) -> tuple[Array, ...]:
        index = sum(time <= now for time, _ in self.points)
        if index == len(self.points):
            return self.points[-1][1]
        (start, first), (end, second) = self.points[index - 1 : index + 1]
        return quintic(first, second, end - start, now - start)


def quintic(first: tuple[Array, ...], second: tuple[Array, ...], T: float, t: float) -> tuple:
    """State after a time of the polynomial that joins two states in a duration."""
    q, v, a = first
    dq, dv, da = (
        y - x for x, y in zip((q + T * v + T * T / 2 * a, v + T * a, a), second, strict=True)
    )
    c = np.array([[10, -4, 0.5], [-15, 7, -1], [6, -3, 0.5]])
    c3, c4, c5 = (
        (row[0] * dq + row[1] * dv * T + row[2] * da * T * T) / T**k
        for k, row in zip((3, 4, 5), c, strict=True)
    )
    position = q + t * v + t * t / 2 * a + t**3 * (c3 + t * (c4 + t * c5))
    velocity = v + t * a + t * t * (3 * c3 + t * (4 * c4 + t * 5 * c5))
    acceleration = a + t * (6 * c3 + t * (12 * c4 + t * 20 * c5))
    return position, velocity, acceleration
