"""Limit of the speed of the tool and of all joints of a teleoperated arm."""

from __future__ import annotations

import numpy as np

from invdyn_ros.robots.ik_tasks import mink
from invdyn_ros.robots.robot import Robot
from invdyn_ros.teleop.filters import RateLimiter


class JointSpeeds:
    """Speeds in space of the tool and of the origins of all joints, which the guard limits."""

    def __init__(self, robot: Robot) -> None:
        """Set up the kinematics of an arm."""
        model = robot.model()
        self._configuration = mink.Configuration(model)
        self._bodies = np.array([*model.jnt_bodyid, model.body(robot.tip_link).id])

    def limit(self, q: np.ndarray, limiter: RateLimiter, speed: float, dt: float) -> np.ndarray:
        """Return joint positions on the way to q (n,) [rad], with no joint above a speed.

        All joints are slowed down alike, each at most as fast as it can brake.

        Args:
            q: (n,) next joint positions [rad].
            limiter: present state and limits.
            speed: largest speed [m/s].
            dt: time until then [s].
        """
        if np.isinf(speed):
            return q
        moved = self._points(q) - self._points(limiter.q)
        fraction = speed * dt / max(float(np.linalg.norm(moved, axis=1).max()), 1e-9)
        if fraction >= 1:
            return q
        change = limiter.bounds.acceleration * dt
        qd = np.clip(fraction * (q - limiter.q) / dt, limiter.qd - change, limiter.qd + change)
        return np.clip(limiter.q + qd * dt, limiter.bounds.lower, limiter.bounds.upper)

    def _points(self, q: np.ndarray) -> np.ndarray:
        """Return the positions (k, 3) of joints and tool at q (n,) [m], a copy."""
        self._configuration.update(q)
        return np.asarray(self._configuration.data.xpos[self._bodies])
