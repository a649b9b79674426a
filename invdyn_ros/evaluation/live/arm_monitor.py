"""Distances and speeds of an arm, for display; the motion guard has its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.collision_geometry import TABLE
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


class ArmMonitor:
    """Distances of an arm to its obstacles and to itself, and the speed of its tool."""

    def __init__(self, robot: Robot, obstacles: Obstacles) -> None:
        """Load the shapes of an arm.

        Raises:
            ValueError: a mesh of the URDF does not exist or cannot be read.
        """
        self.robot = robot
        self._collision = CollisionModel(robot, obstacles)
        names = {TABLE, *(box.name for box in obstacles.boxes)}
        is_obstacle = np.array([bool(names & set(pair)) for pair in self._collision.pairs], bool)
        self._kinds = {"obstacles": is_obstacle, "itself": ~is_obstacle}

    def clearances(self, q: Array) -> dict[str, dict[str, Any]]:
        """Return the closest pair to obstacles and of the arm itself at q (n,) [rad].

        `distance` is the distance beyond the margin that the guard keeps [m]; None beyond the
        range in which distances are computed.
        """
        clearances = self._collision.clearances(q)
        result: dict[str, dict[str, Any]] = {}
        for kind, mask in self._kinds.items():
            rows = np.flatnonzero(mask)
            if not rows.size:
                continue
            row = int(rows[clearances[rows].argmin()])
            near = bool(clearances[row] < self._collision.range)
            result[kind] = {
                "distance": float(clearances[row]) if near else None,
                "pair": list(self._collision.pairs[row]) if near else [],
                "range": self._collision.range,
            }
        return result

    def tool_speed(self, q: Array, qd: Array) -> float:
        """Return the speed of the tool [m/s].

        Args:
            q: (n,) position [rad].
            qd: (n,) velocity [rad/s].
        """
        return float(np.linalg.norm(self.robot.jacobian(q)[:3] @ qd))
