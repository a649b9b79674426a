"""Action spaces of grasp policies: conversion of normalized actions into joint targets.

The simulated environment and the live node use the same classes, so an action has the same effect
in both. Each action sets the joint velocity at the end of its period, which is reached with
constant acceleration. Targets therefore always respect the joint limits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Fraction, Validated
from invdyn_ros.control.approach import ACCELERATION_HOLD_TIME
from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig, clip
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

BRAKING_FRACTION = 0.8  # fraction of the acceleration limit for stopping at a position limit
ACCELERATION_FRACTION = 0.9  # fraction of the acceleration limit that actions use
MAX_TRACKING_ERROR = 0.2  # [rad] beyond it, the target restarts from the measured position
# A tool at its target is ahead of the measured one by at most a distance and by its travel in a
# time. So an arm that stands on a block presses on with less than what the controller takes for a
# fault, and one that is late does not catch up fast. Position servos may be later.
MAX_LEAD = {"N m": 0.004, "rad": 0.008}  # [m], by unit of the commands
MAX_LEAD_TIME = 0.08  # [s]
START_TIME = 0.6  # [s] in which velocities grow to those of the actions: friction is not known yet
POSITION_GAIN = 0.7  # fraction of the position error that `target_to_action` corrects per action


@dataclass(frozen=True)
class ActionSpaceConfig(Validated):
    """Time step and scale of actions.

    Attributes:
        action_period: time between actions [s], a multiple of the arm's control period.
        joint_speed_fraction: joint velocity at an action of 1, as a fraction of the rated
            velocity [-].
        linear_speed: tool velocity at a Cartesian action of 1 [m/s].
        angular_speed: tool velocity about the vertical axis at a Cartesian action of 1 [rad/s].
    """

    action_period: PositiveFloat = 0.04
    joint_speed_fraction: Fraction = 0.6
    linear_speed: PositiveFloat = 0.3
    angular_speed: PositiveFloat = 1.5


class JointTarget(NamedTuple):
    """Target of one action: desired joint state at the end of the period, gripper opening [m]."""

    state: State
    opening: float


class PlanarTwist(NamedTuple):
    """Velocity command of a tool that keeps pointing down.

    Attributes:
        linear: (3,) velocity in the base frame [m/s].
        angular_z: angular velocity about the vertical axis [rad/s].
        close_gripper: whether the gripper closes; otherwise it opens.
    """

    linear: Array
    angular_z: float
    close_gripper: bool


class ActionSpace(ABC):
    """Convert actions into joint targets, one after the other.

    Attributes:
        target: desired joint state at the end of the last action.
        elapsed: duration of the actions so far [s].
        ticks_per_action: control periods per action.
        is_gentle: whether motions start slowly and press on little. Joint velocities do not: a
            planner or a script has planned them, and relies on them.
    """

    is_gentle = False

    def __init__(
        self, robot: Robot, config: ActionSpaceConfig, safety_limits: SafetyLimitsConfig
    ) -> None:
        """Create the action space of an arm with a gripper.

        Args:
            robot: the arm.
            config: time step and scale of actions.
            safety_limits: limits that the targets respect.

        Raises:
            ValueError: the arm has no gripper, or the action period is not a multiple of the
                control period.
        """
        if robot.gripper is None:
            raise ValueError(f"arm '{robot.name}' has no gripper, which grasping needs")
        period = config.action_period
        self.ticks_per_action = round(period * robot.rate)
        if self.ticks_per_action < 1 or abs(self.ticks_per_action - period * robot.rate) > 1e-9:
            raise ValueError(
                f"action_period {period} s is not a multiple of {1 / robot.rate:g} s, the control "
                f"period of '{robot.name}'"
            )
        self.robot, self.config, self.max_opening = robot, config, robot.gripper.max_opening
        self.safety_limits = safety_limits
        self.limits = Limits.from_robot(robot, safety_limits)
        # The safety limits stop all joints together: each moves for as long as the slowest [s].
        max_speed = config.joint_speed_fraction * robot.velocity
        slowest = (max_speed / robot.acceleration).max() + 2 / safety_limits.jerk_ratio
        self._reaction_time = period / 2 + ACCELERATION_HOLD_TIME + slowest / 2
        # (n,) [rad/s] per action
        self._max_change = ACCELERATION_FRACTION * self.limits.acceleration * period
        self.reset(robot.home)

    @property
    @abstractmethod
    def size(self) -> int:
        """Size of an action, including the gripper."""

    @abstractmethod
    def action_to_velocity(self, action: Array) -> Array:
        """Return the joint velocity (n,) [rad/s] of an action without its gripper entry."""

    @abstractmethod
    def velocity_to_action(self, velocity: Array) -> Array:
        """Return the action, without its gripper entry, of a joint velocity (n,) [rad/s]."""

    @abstractmethod
    def twist_to_action(self, twist: PlanarTwist) -> Array:
        """Return the action (size,) that moves tool and gripper as commanded."""

    def reset(self, q: Array) -> None:
        """Set the target to rest at joint positions q (n,) [rad]."""
        self._restart(q)
        self.elapsed = 0.0
        self._tool_position = self.robot.forward_kinematics(self.target.q)[:3, 3]

    def __call__(self, action: Array, measured: Array) -> JointTarget:
        """Apply an action and return its target.

        Args:
            action: (size,) in [-1, 1]; the last entry is the gripper: -1 closed, 1 open.
            measured: (n,) measured joint positions [rad].

        Raises:
            ValueError: the action has the wrong size or is not finite.
        """
        action = np.asarray(action, float)
        if action.shape != (self.size,) or not np.isfinite(action).all():
            raise ValueError(f"action must be {self.size} finite numbers, got {action}")
        action = clip(action, -1.0, 1.0)
        self._limit_lead(measured)
        self.elapsed += self.config.action_period
        opening = float(action[-1] + 1) / 2 * self.max_opening
        return self._apply(
            self._speed(self.elapsed) * self.action_to_velocity(action[:-1]), opening
        )

    def stop(self, opening: float, measured: Array) -> JointTarget:
        """Brake the arm and return the target.

        Args:
            opening: desired gripper opening [m].
            measured: (n,) measured joint positions [rad].
        """
        self._limit_lead(measured)
        self.elapsed += self.config.action_period
        return self._apply(np.zeros(self.robot.n), opening)

    def target_to_action(self, state: State, opening: float) -> Array:
        """Return the action (size,) that gets closest to a target, such as a scripted one.

        Args:
            state: desired joint state one period from now.
            opening: desired gripper opening [m].
        """
        now, dt = self.target, self.config.action_period
        speed = self._speed(self.elapsed + dt)
        error = state.q - now.q - (now.qd + state.qd) * (dt / 2)
        action = np.append(
            self.velocity_to_action((state.qd + POSITION_GAIN * error / dt) / speed),
            2 * opening / self.max_opening - 1,
        )
        return action.clip(-1.0, 1.0)

    def _restart(self, q: Array) -> None:
        zero = np.zeros(self.robot.n)
        self.target = State(np.array(q, float), zero, zero)

    def _speed(self, elapsed: float) -> float:
        """Return the fraction of the velocity of an action at a time [s] after the start."""
        return min(elapsed / START_TIME, 1.0) if self.is_gentle else 1.0

    def _limit_lead(self, measured: Array) -> None:
        """Bring a target that is too far ahead of the measured joints (n,) back to them."""
        lead = self.target.q - measured
        if np.abs(lead).max() > MAX_TRACKING_ERROR:
            self._restart(measured)
            return
        if not self.is_gentle:
            return
        tool, ahead = (self.robot.forward_kinematics(q)[:3, 3] for q in (measured, self.target.q))
        travel = float(np.linalg.norm(tool - self._tool_position)) / self.config.action_period
        self._tool_position = tool
        allowed = MAX_LEAD[self.robot.action_unit] + MAX_LEAD_TIME * travel
        excess = float(np.linalg.norm(ahead - tool)) / allowed
        if excess > 1:
            q, qd = measured + lead / excess, self.target.qd / excess
            self.target = State(q, qd, np.zeros_like(qd))

    def _apply(self, velocity: Array, opening: float) -> JointTarget:
        now, dt = self.target, self.config.action_period
        v = self._clip_velocity(velocity)
        self.target = State(now.q + (now.qd + v) * (dt / 2), v, np.zeros(v.size))
        return JointTarget(self.target, opening)

    def _clip_velocity(self, v: Array) -> Array:
        """Return the nearest velocity (n,) within the limits of all joints."""
        now, limits = self.target, self.limits
        v = clip(v, *self._velocity_bounds())
        v = clip(v, now.qd - self._max_change, now.qd + self._max_change)
        return clip(v, -limits.velocity, limits.velocity)

    def _velocity_bounds(self) -> tuple[Array, Array]:
        """Return lower and upper velocities (n,) from which each joint can stop in its range."""
        now, limits = self.target, self.limits
        deceleration = BRAKING_FRACTION * limits.acceleration
        travel = now.qd * (self.config.action_period / 2)
        up = np.maximum(limits.upper - now.q - travel, 0.0)
        down = np.maximum(now.q + travel - limits.lower, 0.0)
        # v t_reaction + v^2 / (2 deceleration) may not exceed the remaining distance
        half = deceleration * self._reaction_time
        lower = half - np.sqrt(half * half + 2 * deceleration * down)
        return lower, np.sqrt(half * half + 2 * deceleration * up) - half
