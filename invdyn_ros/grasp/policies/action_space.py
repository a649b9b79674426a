"""What a policy's numbers mean: actions in [-1, 1] enter, wanted next states within limits leave.

Environment and live graph run this same class, so an action is the same motion in both. A wanted
next state is reached at constant acceleration from the one before, hence always within limits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Fraction, Validated
from invdyn_ros.control.safety_limits import (
    ACCELERATION_HOLD_TIME,
    Limits,
    SafetyLimitsConfig,
    State,
    clip,
)
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

BRAKING_FRACTION = (
    0.8  # share of the acceleration limit that is kept for stopping before a joint's end
)
ACCELERATION_FRACTION = 0.9  # share of the acceleration limit that is used
MAX_TRACKING_ERROR = (
    0.2  # [rad] measured further from wanted than this: what is wanted starts anew from there
)
POSITION_GAIN = 0.7  # share of a remaining distance that `toward` makes up for in one period
TILT_GAIN, MAX_TILT_SPEED = 3.0, 0.5  # [1/s, rad/s] how fast a tool that leans is set upright
ROTATION_WEIGHT = 0.2  # [m/rad] what an error in rotation is worth beside one in position
DAMPING = 1e-4  # [m2] of an inverse Jacobian: keeps joints slow near a singularity


@dataclass(frozen=True)
class ActionSpaceConfig(Validated):
    """How far one action goes.

    Attributes:
        period: time between actions [s], a multiple of the arm's control period.
        speed: share of the rated joint velocity at an action of one [-].
        tool_speed: of the tool at a Cartesian action of one [m/s].
        tool_turn: of the tool about the vertical at a Cartesian action of one [rad/s].
    """

    action_period: PositiveFloat = 0.04
    joint_speed_fraction: Fraction = 0.6
    linear_speed: PositiveFloat = 0.3
    angular_speed: PositiveFloat = 1.5


class JointTarget(NamedTuple):
    """What an action asks for: a wanted state one period ahead, an opening of the gripper [m]."""

    state: State
    opening: float


class PlanarTwist(NamedTuple):
    """Velocity of the tool (3,) [m/s], its turn about the vertical [rad/s], whether to grip."""

    linear: Array
    angular_z: float
    close_gripper: bool


class ActionSpace(ABC):
    """Turns actions into wanted next states, one after the other.

    Attributes:
        wanted: the state that the last action leads to.
    """

    def __init__(self, robot: Robot, config: ActionSpaceConfig, guard: SafetyLimitsConfig) -> None:
        """Make the steering of an arm with a gripper, within the limits of its guard.

        Raises:
            ValueError: the arm has no gripper, or the period is no multiple of its control period.
        """
        if robot.gripper is None:
            raise ValueError(f"arm '{robot.name}' has no gripper; grasping needs one")
        self.ticks_per_action = round(config.action_period * robot.rate)
        if (
            self.ticks_per_action < 1
            or abs(self.ticks_per_action - config.action_period * robot.rate) > 1e-9
        ):
            raise ValueError(
                f"period {config.action_period} s is no multiple of {1 / robot.rate:g} s, the control "
                f"period of '{robot.name}'"
            )
        self.robot, self.config, self.max_opening = robot, config, robot.gripper.max_opening
        self.guard = guard
        self.limits = Limits.from_robot(robot, guard)
        # The guard lets all joints brake as long as the slowest: how far one goes on for that [s].
        slowest = (
            config.joint_speed_fraction * robot.velocity / robot.acceleration
        ).max() + 2 / guard.jerk_ratio
        self._react = config.action_period / 2 + ACCELERATION_HOLD_TIME + slowest / 2
        self._most = (
            ACCELERATION_FRACTION * self.limits.acceleration * config.action_period
        )  # (n,) [rad/s] per action
        self.reset(robot.home)

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of actions, that of the gripper included."""

    @abstractmethod
    def action_to_velocity(self, action: Array) -> Array:
        """Return the joint velocity (n,) [rad/s] that an action without its grip asks for."""

    @abstractmethod
    def velocity_to_action(self, velocity: Array) -> Array:
        """Return the action without its grip that asks for a joint velocity (n,) [rad/s]."""

    @abstractmethod
    def twist_to_action(self, motion: PlanarTwist) -> Array:
        """Return the action (size,) that moves the tool and the gripper as told."""

    def reset(self, q: Array) -> None:
        """Start anew, at rest at q (n,) [rad]."""
        still = np.zeros(self.robot.n)
        self.target = State(np.array(q, float), still, still)

    def __call__(self, action: Array, measured: Array) -> JointTarget:
        """Return what an action asks for.

        Args:
            action: (size,) in [-1, 1], the grip last: -1 closed, 1 open.
            measured: (n,) joint positions now [rad].

        Raises:
            ValueError: the action has another size, or is not finite.
        """
        action = np.asarray(action, float)
        if action.shape != (self.size,) or not np.isfinite(action).all():
            raise ValueError(f"action must be {self.size} finite numbers, got {action}")
        action = clip(action, -1.0, 1.0)
        self._clamp_to_measured(measured)
        return self._move(
            self.action_to_velocity(action[:-1]), float(action[-1] + 1) / 2 * self.max_opening
        )

    def stop(self, max_opening: float, measured: Array) -> JointTarget:
        """Return what brakes the arm at joints (n,) [rad], the gripper wanted at `opening` [m]."""
        self._clamp_to_measured(measured)
        return self._move(np.zeros(self.robot.n), max_opening)

    def _clamp_to_measured(self, measured: Array) -> None:
        if np.abs(measured - self.target.q).max() > MAX_TRACKING_ERROR:
            self.reset(measured)

    def _move(self, velocity: Array, opening: float) -> JointTarget:
        now, h = self.target, self.config.action_period
        v = self._feasible(velocity)
        self.target = State(now.q + (now.qd + v) * (h / 2), v, np.zeros(v.size))
        return JointTarget(self.target, opening)

    def target_to_action(self, state: State, opening: float) -> Array:
        """Return the action (size,) that comes closest to a wanted next state, such as a script's.

        Args:
            state: wanted one period from now.
            opening: wanted opening of the gripper [m].
        """
        now, h = self.target, self.config.action_period
        short = state.q - now.q - (now.qd + state.qd) * (h / 2)
        action = np.append(
            self.velocity_to_action(state.qd + POSITION_GAIN * short / h),
            2 * opening / self.max_opening - 1,
        )
        return action.clip(-1.0, 1.0)

    def _feasible(self, v: Array) -> Array:
        """Return the velocity (n,) next to `v` that can be reached, and braked from in time."""
        now, limits = self.target, self.limits
        v = clip(v, *self._room())
        v = clip(v, now.qd - self._most, now.qd + self._most)
        return clip(v, -limits.velocity, limits.velocity)

    def _room(self) -> tuple[Array, Array]:
        """Return the least and greatest velocity (n,) with which no joint reaches its end."""
        now, limits = self.target, self.limits
        slow = BRAKING_FRACTION * limits.acceleration
        ahead = now.qd * (self.config.action_period / 2)
        up = np.maximum(limits.upper - now.q - ahead, 0.0)
        down = np.maximum(now.q + ahead - limits.lower, 0.0)
        half = slow * self._react  # v react + v^2 / (2 slow) may not exceed the room that is left
        least = half - np.sqrt(half * half + 2 * slow * down)
        return least, np.sqrt(half * half + 2 * slow * up) - half


class JointVelocityActionSpace(ActionSpace):
    """Actions are joint velocities, as shares of the rated ones: deltas of the joints."""

    @property
    def size(self) -> int:
        """One per joint, one for the gripper."""
        return self.robot.n + 1

    def action_to_velocity(self, action: Array) -> Array:
        """Scale by the rated velocities."""
        return np.asarray(self.config.joint_speed_fraction * self.robot.velocity * action)

    def velocity_to_action(self, velocity: Array) -> Array:
        """Undo `velocity`."""
        return np.asarray(velocity / (self.config.joint_speed_fraction * self.robot.velocity))

    def twist_to_action(self, motion: PlanarTwist) -> Array:
        """Ask for what a Cartesian steering would do with the joints."""
        self.cartesian.target = self.target
        *tool, grip = self.cartesian.twist_to_action(motion)
        return np.append(
            self.velocity_to_action(self.cartesian.action_to_velocity(np.array(tool))), grip
        ).clip(-1, 1)

    @cached_property
    def cartesian(self) -> CartesianVelocityActionSpace:
        """The other steering of the same arm."""
        return CartesianVelocityActionSpace(self.robot, self.config, self.guard)


class CartesianVelocityActionSpace(ActionSpace):
    """Actions move the tool along the base's x, y, z and turn it about the vertical.

    What the joints have left keeps the tool pointing down as well as the arm can (prioritised,
    Siciliano and Slotine 1991; damped least squares, Wampler 1986).
    """

    @property
    def size(self) -> int:
        """Along x, y, z, about z, and the gripper."""
        return 5

    def action_to_velocity(self, action: Array) -> Array:
        """Return the joints' part in a velocity of the tool.

        A joint that would run into its end goes as far as it can, and the others make up for it
        (saturation in the null space; Flacco, De Luca and Khatib 2012).
        """
        config, J = self.config, self._jacobian()
        wanted = [
            *(config.linear_speed * action[:3]),
            ROTATION_WEIGHT * config.angular_speed * action[3],
        ]
        low, high = self._room()
        free, fixed = np.ones(self.robot.n, bool), np.zeros(self.robot.n)
        while True:
            v = self._spread(J, np.array(wanted), free, fixed)
            beyond = free & ((v < low) | (v > high))
            if not beyond.any():
                break
            free = free & ~beyond
            fixed = np.where(free, 0.0, v.clip(low, high))
        change = v - self.target.qd  # slowed as one, so that it keeps its direction
        share = (self._most / np.maximum(np.abs(change), 1e-9)).min()
        return np.asarray(self.target.qd + min(float(share), 1.0) * change)

    def _spread(self, J: Array, wanted: Array, free: Array, fixed: Array) -> Array:
        """Return velocities (n,) that move the tool as wanted (4,), and then set it upright.

        Args:
            J: (6, n) weighted Jacobian.
            wanted: weighted velocity along x, y, z and about z.
            free: (n,) which joints may take part.
            fixed: (n,) velocity of the others, zero for those that are free.
        """
        first, leaning = J[[0, 1, 2, 5]] * free, J[[3, 4]] * free
        done = J @ fixed
        most = self.config.joint_speed_fraction * self.robot.velocity
        v = fixed + _inverse(first) @ (wanted - done[[0, 1, 2, 5]])
        v = v / max(np.abs(v / most).max(), 1.0)
        # undamped: what sets the tool upright must not leak into what moves it
        rest = np.diag(free.astype(float)) - np.linalg.pinv(first) @ first
        upright = TILT_GAIN * np.cross(self._tool[:3, 2], [0.0, 0.0, -1.0])[:2]
        upright *= min(1.0, MAX_TILT_SPEED / max(float(np.linalg.norm(upright)), 1e-9))
        more = rest @ _inverse(leaning @ rest) @ (ROTATION_WEIGHT * upright - J[[3, 4]] @ v)
        room = (most - np.sign(more) * v) / np.maximum(np.abs(more), 1e-9)
        return np.asarray(v + max(min(float(room.min()), 1.0), 0.0) * more)

    def velocity_to_action(self, velocity: Array) -> Array:
        """Return the tool's part in a motion of the joints."""
        twist = self._jacobian() @ velocity
        config = self.config
        turn = twist[5] / (ROTATION_WEIGHT * config.angular_speed)
        return np.append(twist[:3] / config.linear_speed, turn)

    def twist_to_action(self, motion: PlanarTwist) -> Array:
        """Scale by the velocities of an action of one."""
        tool = motion.linear / self.config.linear_speed
        grip = -1.0 if motion.close_gripper else 1.0
        return np.array([*tool, motion.angular_z / self.config.angular_speed, grip]).clip(-1, 1)

    def _jacobian(self) -> Array:
        """Return the Jacobian (6, n) at the wanted joints, its lower half weighted."""
        self._tool = self.robot.forward_kinematics(self.target.q)
        J = self.robot.jacobian(self.target.q)
        J[3:] *= ROTATION_WEIGHT
        return J


def _inverse(J: Array) -> Array:
    """Return the damped inverse (n, k) of a Jacobian (k, n)."""
    return np.asarray(J.T @ np.linalg.inv(J @ J.T + DAMPING * np.eye(len(J))))


ACTION_SPACES: dict[str, type[ActionSpace]] = {
    "joint": JointVelocityActionSpace,
    "cartesian": CartesianVelocityActionSpace,
}


def make_action_space(
    name: str, robot: Robot, config: ActionSpaceConfig, guard: SafetyLimitsConfig | None = None
) -> ActionSpace:
    """Return a steering by name.

    Raises:
        ValueError: there is none of that name; names the known ones.
    """
    if name not in ACTION_SPACES:
        raise ValueError(f"no control '{name}'; known: {sorted(ACTION_SPACES)}")
    return ACTION_SPACES[name](robot, config, guard or SafetyLimitsConfig())
