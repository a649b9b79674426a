"""Rest-to-rest motions of the tool along straight lines, within the joint limits."""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, Slerp

from invdyn_ros.control.motion_profile import State
from invdyn_ros.robots.inverse_kinematics import PoseIKSolver
from invdyn_ros.robots.quintic import PEAK_ACCELERATION, PEAK_VELOCITY, quintic
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

WAYPOINT_SPACING, WAYPOINT_ANGLE = 0.01, 0.1  # [m, rad] between waypoints of a straight line
MAX_JOINT_STEP = 0.5  # [rad] between waypoints: a larger one crosses a singularity
MIN_DURATION = 0.1  # [s]


class MotionSegment(NamedTuple):
    """A minimum-jerk motion from rest to rest along a curve in joint space.

    Attributes:
        start: start time [s].
        duration: duration [s].
        curve: joint positions (n,) over the path parameter 0..1.
    """

    start: float
    duration: float
    curve: CubicSpline

    def at(self, time: float) -> State:
        """Return the state at a time [s]; it is at rest before the start and after the end."""
        x = float(np.clip((time - self.start) / self.duration, 0.0, 1.0))
        s, ds, dds = quintic(x, self.duration)
        q1, q2 = self.curve(s, 1), self.curve(s, 2)
        return State(self.curve(s), ds * q1, dds * q1 + ds * ds * q2)

    @property
    def end(self) -> Array:
        """Joint positions (n,) [rad] at the end."""
        return self.curve(1.0)


def straight_line_motion(
    ik: PoseIKSolver,
    q: Array,
    goal: Array,
    start: float,
    max_speed: float,
    limit_fraction: float = 0.6,
) -> MotionSegment | None:
    """Return the straight motion of the tool from joint positions to a pose.

    Args:
        ik: inverse kinematics of the arm.
        q: (n,) joint positions at the start [rad].
        goal: (4, 4) pose of the tool at the end.
        start: start time [s].
        max_speed: maximum speed of the tool [m/s].
        limit_fraction: fraction of the joints' velocity and acceleration limits to use [-].

    Returns:
        The motion, or None if the line leaves the arm's workspace.
    """
    robot = ik.robot
    first = robot.forward_kinematics(q)
    rotation = Slerp([0, 1], Rotation.from_matrix(np.stack([first[:3, :3], goal[:3, :3]])))
    length = float(np.linalg.norm(goal[:3, 3] - first[:3, 3]))
    angle = float((rotation(0).inv() * rotation(1)).magnitude())
    count = max(4, int(np.ceil(length / WAYPOINT_SPACING)), int(np.ceil(angle / WAYPOINT_ANGLE)))
    waypoints = [q]
    for s in np.linspace(0, 1, count + 1)[1:]:
        pose = np.eye(4)
        pose[:3, :3] = rotation(s).as_matrix()
        pose[:3, 3] = (1 - s) * first[:3, 3] + s * goal[:3, 3]
        solution = ik.solve(pose, waypoints[-1])
        if solution is None or np.abs(solution - waypoints[-1]).max() > MAX_JOINT_STEP:
            return None
        waypoints.append(solution)
    return _time_parameterize(
        robot, np.stack(waypoints), start, length / max_speed, limit_fraction
    )


def joint_motion(
    robot: Robot,
    q: Array,
    goal: Array,
    start: float,
    min_duration: float,
    limit_fraction: float = 0.6,
) -> MotionSegment:
    """Return the motion along a straight line in joint space.

    Args:
        robot: the arm.
        q: (n,) joint positions at the start [rad].
        goal: (n,) joint positions at the end [rad].
        start: start time [s].
        min_duration: minimum duration [s].
        limit_fraction: fraction of the joints' velocity and acceleration limits to use [-].
    """
    waypoints = q + np.linspace(0, 1, 5)[:, None] * (goal - q)
    return _time_parameterize(
        robot, waypoints, start, min_duration / PEAK_VELOCITY, limit_fraction
    )


def _time_parameterize(
    robot: Robot, waypoints: Array, start: float, travel_time: float, limit_fraction: float
) -> MotionSegment:
    """Return the fastest minimum-jerk motion through waypoints (N, n) within the limits.

    Args:
        robot: the arm.
        waypoints: (N, n) joint positions [rad], equally spaced in the path parameter.
        start: start time [s].
        travel_time: minimum duration at constant peak speed [s].
        limit_fraction: fraction of the joints' velocity and acceleration limits to use [-].
    """
    curve = CubicSpline(np.linspace(0, 1, len(waypoints)), waypoints)
    s = np.linspace(0, 1, 4 * len(waypoints))
    velocity, acceleration = limit_fraction * robot.velocity, limit_fraction * robot.acceleration
    velocity_bound = (np.abs(curve(s, 1)) / velocity).max() * PEAK_VELOCITY
    tangential = (np.abs(curve(s, 1)) / acceleration).max() * PEAK_ACCELERATION
    curvature = (np.abs(curve(s, 2)) / acceleration).max() * PEAK_VELOCITY**2
    acceleration_bound = float(np.sqrt(tangential + curvature))
    duration = max(travel_time * PEAK_VELOCITY, velocity_bound, acceleration_bound, MIN_DURATION)
    return MotionSegment(start, float(duration), curve)
