"""Checks of recorded control ticks against all limits, independent of the motion guard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from invdyn_ros.arms.pybullet_arm import add_arm
from invdyn_ros.arms.pybullet_client import connect
from invdyn_ros.arms.pybullet_obstacles import Contact, add_obstacles, find_contacts
from invdyn_ros.control.safety_limits import Limits
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.urdf import load_urdf
from invdyn_ros.typing import Array, Mask

RELATIVE_TOLERANCE = 1e-4  # of a limit, for rounding
STEP_TOLERANCE = 1e-7  # [rad, rad/s, rad/s2 as a fraction of the limit] of one step
SPEED_TOLERANCE = 0.02  # of the tool speed, which is measured between two ticks
PENETRATION = 1e-4  # [m] of two bodies, above which they collide


class ActionBounds(NamedTuple):
    """Bounds of consecutive actions.

    Attributes:
        step: largest change of a torque at once, per effort limit.
        rate: in addition, the change per time [1/s].
        reach: largest distance of a setpoint from a joint at rest [rad].
        lead: in addition, per planned speed [s].
    """

    step: float
    rate: float
    reach: float
    lead: float


@dataclass
class Ticks:
    """Recorded control ticks, arrays of T rows.

    Attributes:
        time: time of the reference [s].
        reference: (T, 3n) desired position, velocity and acceleration.
        joints: (T, n) joint positions that the setpoints are compared with [rad].
        action: (T, n).
        segment: (T,) ticks of one uninterrupted motion have the same number.
        braking: (T,) whether the reference started at a measured state, which can be anywhere.
    """

    time: Array
    reference: Array
    joints: Array
    action: Array
    segment: Array
    braking: Mask

    @classmethod
    def empty(cls, count: int, n: int) -> Ticks:
        """Return space for `count` ticks of an arm of n joints."""
        return cls(
            np.zeros(count),
            np.zeros((count, 3 * n)),
            np.zeros((count, n)),
            np.zeros((count, n)),
            np.zeros(count),
            np.zeros(count, bool),
        )

    def first(self, count: int) -> Ticks:
        """Return the first ticks."""
        return Ticks(*(part[:count] for part in vars(self).values()))


@dataclass
class Tally:
    """Violations and largest values, relative to their limits.

    Attributes:
        violations: name of the limit -> number of ticks beyond it.
        worst: name of the limit -> largest value divided by the limit.
    """

    violations: dict[str, int] = field(default_factory=dict)
    worst: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, ratio: Array, allowed: float = 1.0) -> Mask:
        """Count the ticks in which any ratio (T,) or (T, n) exceeds the allowed one.

        Args:
            name: of the limit.
            ratio: value divided by its limit.
            allowed: largest ratio that is no violation.

        Returns:
            The mask (T,) of the violations.
        """
        rows = ratio.max(axis=tuple(range(1, ratio.ndim)), initial=0.0)
        wrong: Mask = ~(rows <= allowed)  # also where it is not a number
        self.violations[name] = self.violations.get(name, 0) + int(wrong.sum())
        largest = float(np.nan_to_num(rows, nan=np.inf).max(initial=0.0))
        self.worst[name] = max(self.worst.get(name, 0.0), largest)
        return wrong

    def merge(self, other: Tally) -> None:
        """Add the violations of another tally."""
        for name, count in other.violations.items():
            self.violations[name] = self.violations.get(name, 0) + count
            self.worst[name] = max(self.worst.get(name, 0.0), other.worst[name])

    @property
    def total(self) -> int:
        """Number of all violations."""
        return sum(self.violations.values())


class MotionChecker:
    """Checks of references and actions of one arm."""

    def __init__(
        self, robot: Robot, unit: str, limits: Limits, tool_speed: float, bounds: ActionBounds
    ) -> None:
        """Create a checker.

        Args:
            robot: the arm.
            unit: unit of the actions.
            limits: of the motion.
            tool_speed: largest speed of the tool and of the joints' origins [m/s].
            bounds: of the actions.
        """
        self.robot, self.unit, self.limits = robot, unit, limits
        self.tool_speed, self.bounds = tool_speed, bounds
        self.points = JointOrigins(robot)

    def check(self, ticks: Ticks, tally: Tally) -> Mask:
        """Add all violations of some ticks to a tally; return the mask (T,) of bad ticks."""
        if not len(ticks.time):
            return np.zeros(0, bool)
        q, qd, qdd = np.split(ticks.reference, 3, axis=1)
        limits = self.limits
        finite = np.isfinite(np.hstack([ticks.reference, ticks.action])).all(axis=1)
        bad = tally.add("finite", np.where(finite, 0.0, 2.0))
        free = ticks.braking[:, None]
        beyond = np.where(free, -1.0, np.maximum(q - limits.upper, limits.lower - q) / 1e-4)
        bad |= tally.add("position", 1.0 + np.maximum(beyond, -1.0), 2.0)
        tolerance = 1 + RELATIVE_TOLERANCE
        velocity = np.where(free, 0.0, np.abs(qd) / limits.velocity)
        bad |= tally.add("velocity", velocity, tolerance)
        bad |= tally.add("acceleration", np.abs(qdd) / limits.acceleration, tolerance)
        steps = ticks.segment[1:] == ticks.segment[:-1]
        if steps.any():
            bad[1:][steps] |= self._check_steps(ticks, steps, tally)
        return bad | self._check_actions(ticks, steps, tally)

    def _check_steps(self, ticks: Ticks, steps: Mask, tally: Tally) -> Mask:
        """Check that each reference continues the one before it with bounded jerk.

        Args:
            ticks: all ticks.
            steps: (T - 1,) which of them continue the one before.
            tally: to add to.
        """
        limits, n = self.limits, self.robot.n
        before, after = ticks.reference[:-1][steps], ticks.reference[1:][steps]
        dt = np.diff(ticks.time)[steps][:, None]
        rounding = 4 * np.spacing(ticks.time[1:][steps])[:, None]  # of the stamps [s]
        (q, qd, qdd), (q1, qd1, qdd1) = (
            (x[:, :n], x[:, n : 2 * n], x[:, 2 * n :]) for x in (before, after)
        )
        h, jerk = np.abs(dt), limits.jerk
        bound = jerk * (h + rounding) + STEP_TOLERANCE * limits.acceleration
        bad = tally.add("jerk", np.abs(qdd1 - qdd) / bound, 1 + 1e-3)
        bound = jerk * h**2 / 2 + limits.acceleration * rounding + STEP_TOLERANCE
        bad |= tally.add("continuity of velocity", np.abs(qd1 - qd - dt * qdd) / bound, 1 + 1e-3)
        bound = jerk * h**3 / 6 + limits.velocity * rounding + STEP_TOLERANCE
        error = q1 - q - dt * qd - dt**2 / 2 * qdd
        bad |= tally.add("continuity of position", np.abs(error) / bound, 1 + 1e-3)
        bad |= tally.add("time", np.where(dt[:, 0] < 0, 2.0, 0.0))
        moved = self.points(q1) - self.points(q)  # (S, points, 3)
        speed = np.linalg.norm(moved, axis=2).max(axis=1) / np.maximum(h[:, 0], 1e-9)
        speed[(h[:, 0] < 1e-6) | ticks.braking[1:][steps]] = 0.0
        return bad | tally.add("tool speed", speed / self.tool_speed, 1 + SPEED_TOLERANCE)

    def _check_actions(self, ticks: Ticks, steps: Mask, tally: Tally) -> Mask:
        """Check torques and their rate, or setpoints.

        Args:
            ticks: all ticks.
            steps: (T - 1,) which of them continue the one before.
            tally: to add to.
        """
        bounds, robot, tolerance = self.bounds, self.robot, 1 + 1e-6
        action, sent = ticks.action, np.all(np.isfinite(ticks.action), axis=1)
        if self.unit == "rad":
            speed = np.abs(ticks.reference[:, robot.n : 2 * robot.n])
            distance = np.abs(action - ticks.joints) / (bounds.reach + bounds.lead * speed)
            return tally.add("setpoint", np.where(sent[:, None], distance, 0.0), 1 + 1e-3)
        ratio = np.abs(action) / robot.effort
        bad = tally.add("torque", np.where(sent[:, None], ratio, 0.0), tolerance)
        both = steps & sent[1:] & sent[:-1]
        change = np.abs(np.diff(action, axis=0))[both] / robot.effort
        # stamps of a wall clock are rounded, to 2e-7 s
        dt = np.clip(np.diff(ticks.time) + np.spacing(ticks.time[1:]), 0.0, None)[both][:, None]
        wrong = tally.add("torque rate", change / (bounds.step + bounds.rate * dt), tolerance)
        bad[1:][both] |= wrong
        return bad


class JointOrigins:
    """Positions of the origins of all joints and of the tip, for many configurations."""

    def __init__(self, robot: Robot) -> None:
        """Read the chain of joints from the URDF."""
        tree = load_urdf(robot.urdf)
        self._steps: list[tuple[int | None, int | None, Array, Array]] = []
        order, parents = [*robot.joint_names, None], {}
        for index, name in enumerate(order):
            link = robot.tip_link if name is None else tree.joints[name].child
            joint, T = tree.moving_ancestor(link, robot.joint_names)
            if name is not None:
                above, T_joint = tree.moving_ancestor(tree.joints[name].parent, robot.joint_names)
                joint, T = above, T_joint @ tree.joints[name].T
            parents[index] = None if joint is None else order.index(joint)
            axis = np.zeros(3) if name is None else tree.joints[name].axis
            self._steps.append((parents[index], None if name is None else index, T, axis))

    def __call__(self, q: Array) -> Array:
        """Return the positions (T, n + 1, 3) [m] at q (T, n) [rad]."""
        poses: list[tuple[Array, Array]] = []
        for parent, joint, T, axis in self._steps:
            rotation, origin = T[:3, :3], T[:3, 3]
            if parent is not None:
                above, position = poses[parent]
                rotation, origin = above @ rotation, position + above @ origin
            else:
                rotation = np.broadcast_to(rotation, (len(q), 3, 3))
                origin = np.broadcast_to(origin, (len(q), 3))
            if joint is not None:
                rotation = rotation @ _rotations(axis, q[:, joint])
            poses.append((rotation, origin))
        return np.stack([origin for _, origin in poses], axis=1)


class ContactProbe:
    """Contacts of an arm at given configurations, by PyBullet's collision detection."""

    def __init__(self, robot: Robot, obstacles: Obstacles) -> None:
        """Load the arm and its obstacles into a world of their own."""
        self.client = connect()
        self.arm = add_arm(self.client, robot, IDEAL_PLANT)
        self.bodies = add_obstacles(self.client, self.arm, obstacles)
        self.opening = robot.gripper.max_opening / 2 if robot.gripper else 0.0

    def contacts(self, q: Array, distance: float = -PENETRATION) -> tuple[Contact, ...]:
        """Return the pairs of bodies closer than a distance [m], at most 0.02, at q (n,) [rad]."""
        for joint, position in zip(self.arm.joints, q, strict=True):
            self.client.resetJointState(self.arm.body_id, joint, position)
        for finger in self.arm.fingers:
            self.client.resetJointState(self.arm.body_id, finger, self.opening)
        self.client.performCollisionDetection()
        return find_contacts(self.client, self.arm, self.bodies, distance)

    def close(self) -> None:
        """Disconnect from the world."""
        self.client.disconnect()


def _rotations(axis: Array, angles: Array) -> Array:
    """Return the rotations (T, 3, 3) about a unit axis (3,) by angles (T,) [rad]."""
    x, y, z = axis
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    s, c = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    return np.asarray(np.eye(3) + s * K + (1 - c) * (K @ K))
