"""Straight motions of the tool: poses of the tool enter, joint motions within limits leave."""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, Slerp

from invdyn_ros.control.safety_limits import State
from invdyn_ros.robots.inverse_kinematics import PoseIKSolver
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

SPACING = 0.01  # [m] between solved poses of a straight line
PEAK_SPEED, PEAK_ACCELERATION = 1.875, 5.7735  # of the minimum-jerk law s(t) over a unit time


class MotionSegment(NamedTuple):
    """A motion from rest to rest along a curve in joint space.

    Attributes:
        start: when it begins [s].
        duration: how long it takes [s].
        curve: joints (n,) over the path parameter 0..1.
    """

    start: float
    duration: float
    curve: CubicSpline

    def at(self, time: float) -> State:
        """Return the state at a time [s]; at rest before the start and after the end."""
        x = float(np.clip((time - self.start) / self.duration, 0.0, 1.0))
        s = x**3 * (10 - 15 * x + 6 * x * x)  # minimum jerk: Flash and Hogan 1985
        ds = 30 * x**2 * (1 - x) ** 2 / self.duration
        dds = 60 * x * (1 - x) * (1 - 2 * x) / self.duration**2
        q1, q2 = self.curve(s, 1), self.curve(s, 2)
        return State(self.curve(s), ds * q1, dds * q1 + ds * ds * q2)

    @property
    def end(self) -> Array:
        """Joints (n,) [rad] at the end."""
        return self.curve(1.0)


def straight_line_motion(
    reacher: PoseIKSolver,
    q: Array,
    goal: Array,
    start: float,
    max_speed: float,
    effort: float = 0.6,
) -> MotionSegment | None:
    """Return the straight motion of the tool from joints q (n,) to a pose (4, 4).

    Args:
        reacher: the arm's inverse kinematics.
        q: joints at the start [rad].
        goal: pose of the tool at the end.
        start: time of the start [s].
        speed: greatest speed of the tool [m/s].
        effort: share of the joints' velocity and acceleration limits that is used [-].

    Returns:
        The motion, or None if the line leaves the arm's reach.
    """
    robot = reacher.robot
    here = robot.forward_kinematics(q)
    turn = Slerp([0, 1], Rotation.from_matrix(np.stack([here[:3, :3], goal[:3, :3]])))
    length = float(np.linalg.norm(goal[:3, 3] - here[:3, 3]))
    angle = float((turn(0).inv() * turn(1)).magnitude())
    count = max(4, int(np.ceil(length / SPACING)), int(np.ceil(angle / 0.1)))
    points = [q]
    for s in np.linspace(0, 1, count + 1)[1:]:
        pose = np.eye(4)
        pose[:3, :3] = turn(s).as_matrix()
        pose[:3, 3] = (1 - s) * here[:3, 3] + s * goal[:3, 3]
        found = reacher.solve(pose, points[-1])
        if found is None or np.abs(found - points[-1]).max() > 0.5:
            return None  # out of reach, or through a singularity
        points.append(found)
    return _timed(robot, np.stack(points), start, length / max_speed, effort)


def joint_motion(
    robot: Robot, q: Array, goal: Array, start: float, min_duration: float, effort: float = 0.6
) -> MotionSegment:
    """Return the motion that is straight in joint space, at least `least` [s] long."""
    points = q + np.linspace(0, 1, 5)[:, None] * (goal - q)
    return _timed(robot, points, start, min_duration / PEAK_SPEED, effort)


def _timed(
    robot: Robot, points: Array, start: float, least: float, effort: float
) -> MotionSegment:
    curve = CubicSpline(np.linspace(0, 1, len(points)), points)
    s = np.linspace(0, 1, 4 * len(points))
    fastest = (np.abs(curve(s, 1)) / (effort * robot.velocity)).max() * PEAK_SPEED
    sharpest = (np.abs(curve(s, 1)) / (effort * robot.acceleration)).max() * PEAK_ACCELERATION
    bend = (np.abs(curve(s, 2)) / (effort * robot.acceleration)).max() * PEAK_SPEED**2
    duration = max(least * PEAK_SPEED, fastest, float(np.sqrt(sharpest + bend)), 0.1)
    return MotionSegment(start, float(duration), curve)
