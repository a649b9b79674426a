"""Check of a whole motion against the limits of an arm, and its clearance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from invdyn_ros.control.joint_motion import SampledMotion
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.control.speed_scaling import SLOW_CONDITION
from invdyn_ros.control.tool_speed import ToolSpeed
from invdyn_ros.data.action_units import SETPOINT
from invdyn_ros.robots.collision import CollisionConfig, CollisionModel
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.payload import Payload
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

SELF_FRACTION = 0.4  # clearance to the arm itself, as a fraction of that to obstacles
MAX_SPARE = 0.01  # [m] clearance that each pair of bodies keeps
POSITION_MARGIN = 0.05  # [rad] to the position limits
MAX_DISTANCE = 2.0  # [rad] of a joint from the middle of its range
HOME_ROOM = 0.25  # [rad] beyond home, which may be farther than that from the middle
VELOCITY_FRACTION, ACCELERATION_FRACTION = 0.7, 0.5  # of the limits of the arm
EFFORT_FRACTION, TOOL_SPEED_FRACTION, CONDITION_FRACTION = 0.75, 0.85, 0.9
SERVO_EFFORT_FRACTION = 0.4  # a position servo yields to a load
MIN_SINGULAR_JOINTS = 6  # an arm of fewer joints is always singular


class MotionLimits(NamedTuple):
    """Limits that an excitation keeps, with a margin to those of the arm.

    Attributes:
        lower: (n,) [rad].
        upper: (n,) [rad].
        velocity: (n,) [rad/s].
        acceleration: (n,) [rad/s2].
        jerk: (n,) [rad/s3].
        effort: (n,) torque of the rigid bodies with the payload [N m].
        tool_speed: of tool and joints [m/s].
        condition: condition number of the tool's Jacobian, from which the motion guard slows an
            arm down near singularities [-].
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    effort: Array
    tool_speed: float
    condition: float

    @classmethod
    def of(cls, robot: Robot, tool_speed: float) -> MotionLimits:
        """Return the limits of an arm whose tool may move at a speed [m/s]."""
        rated = Limits.from_robot(robot, SafetyLimitsConfig(tool_speed=tool_speed))
        middle, home = (rated.lower + rated.upper) / 2, robot.home
        lower = np.minimum(middle - MAX_DISTANCE, home - HOME_ROOM)
        upper = np.maximum(middle + MAX_DISTANCE, home + HOME_ROOM)
        lower = np.maximum(rated.lower + POSITION_MARGIN, lower)
        upper = np.minimum(rated.upper - POSITION_MARGIN, upper)
        is_servo = robot.action_unit == SETPOINT
        return cls(
            np.minimum(lower, home),
            np.maximum(upper, home),
            VELOCITY_FRACTION * rated.velocity,
            ACCELERATION_FRACTION * rated.acceleration,
            ACCELERATION_FRACTION * rated.jerk,
            (SERVO_EFFORT_FRACTION if is_servo else EFFORT_FRACTION) * rated.effort,
            TOOL_SPEED_FRACTION * tool_speed,
            CONDITION_FRACTION * SLOW_CONDITION,
        )


class MotionCheck:
    """Check of motions against limits and clearance.

    Attributes:
        robot: the arm.
        limits: what motions keep.
        tool_speed: largest speed of tool and joints of the motion guard [m/s].
        payload: mass at the tool that the URDF lacks [kg].
        tree: rigid bodies of the URDF with the payload as a point at the tool.
        collision: clearances, negative where a motion comes too close.
        spare: (P,) clearance that each pair of bodies keeps [m].
        reach: largest distance of the tool from the first axis [m].
    """

    def __init__(
        self,
        robot: Robot,
        obstacles: Obstacles,
        clearance: float,
        tool_speed: float,
        payload: float,
    ) -> None:
        """Load the shapes of an arm.

        Args:
            robot: the arm.
            obstacles: table and boxes.
            clearance: distance to obstacles beyond the margin of the motion guard [m].
            tool_speed: largest speed of tool and joints [m/s].
            payload: mass at the tool that the URDF lacks [kg].

        Raises:
            ValueError: a mesh of the URDF does not exist or cannot be read.
        """
        self.robot, self.limits = robot, MotionLimits.of(robot, tool_speed)
        self.tool_speed, self.payload = tool_speed, payload
        guard = CollisionConfig()
        wide = CollisionConfig(
            self_margin=guard.self_margin + SELF_FRACTION * clearance,
            obstacle_margin=guard.obstacle_margin + clearance,
            gripper_margin=guard.obstacle_margin + clearance,
        )
        self.collision = CollisionModel(robot, obstacles, wide)
        # margins are at most half of the distance at home; a stop needs space beside them
        at_home = self.collision.clearances(robot.home)
        self.spare = np.minimum(MAX_SPARE, at_home / 2)
        urdf = loaded_robot(robot, payload).rigid_body_urdf()
        self.tree = RigidBodyTree.from_urdf(urdf, robot.joint_names)
        self._speed = ToolSpeed(robot, self.limits.jerk)
        self.reach = self._speed.reach

    def is_clear(self, q: Array) -> bool:
        """Return whether a path (T, n) [rad] keeps its clearance, also between its points.

        A motion dq changes the distance of two shapes by at most their radii times |dq|.

        Raises:
            ValueError: the points are too far apart to tell.
        """
        collision, half = self.collision, np.abs(np.diff(q, axis=0)) / 2
        turn = np.maximum(np.vstack([half[:1], half]), np.vstack([half, half[-1:]]))
        if (turn @ collision.largest_radii.T).max(initial=0.0) > collision.range:
            raise ValueError("the points of a path are too far apart to check its clearance")
        for point, change in zip(q, turn, strict=True):
            near = collision.near_shapes(point)
            is_listed = near.pair < len(collision.pairs)
            needed = collision.radii(near.shapes) @ change + self.spare.take(
                near.pair, mode="clip"
            )
            if (near.clearance < needed)[is_listed].any():
                return False
        return True

    def is_within(self, samples: SampledMotion, step: float, speed: float = 1.0) -> bool:
        """Return whether a motion keeps all limits.

        Args:
            samples: the motion.
            step: time between samples [s].
            speed: fraction of the limits of velocity, acceleration and tool speed [-].
        """
        q, qd, qdd = samples
        limits = self.limits
        jerk = np.abs(np.diff(qdd, axis=0)) / step
        within = (
            (q >= limits.lower).all()
            and (q <= limits.upper).all()
            and (np.abs(qd) <= speed * limits.velocity).all()
            and (np.abs(qdd) <= speed * limits.acceleration).all()
            and (jerk <= limits.jerk).all()
        )
        if not within or self._speed.speeds(q, qd).max() > speed * limits.tool_speed:
            return False
        if not self.is_regular(q):
            return False
        torque = self.tree.torque(*map(torch.from_numpy, samples)).numpy()
        return bool((np.abs(torque) <= limits.effort).all()) and self.is_clear(q)

    def is_regular(self, q: Array) -> bool:
        """Return whether positions (T, n) [rad] are far from singularities of the tool."""
        if self.robot.n < MIN_SINGULAR_JOINTS:
            return True
        J = np.stack([self.robot.jacobian(point) for point in q])  # (T, 6, n)
        J[:, :3] /= self.reach
        values = np.linalg.svd(J, compute_uv=False)
        return bool((values[:, 0] <= self.limits.condition * values[:, -1]).all())


def loaded_robot(robot: Robot, payload: float) -> Robot:
    """Return an arm that carries a point mass [kg] at its tool."""
    if not payload:
        return robot
    return robot.carrying(Payload(robot.tip_link, payload, (0.0, 0.0, 0.0)))
