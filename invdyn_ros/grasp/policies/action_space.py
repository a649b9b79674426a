"""Action spaces of grasp policies: conversion of normalized actions into joint targets.

The simulated environment and the live node use the same classes, so an action has the same effect
in both. Each action sets a joint velocity, which is reached as fast as the limits of acceleration
and jerk allow. Targets respect the joint limits and keep the clearances of the arm, so that the
motion guard seldom has anything to refuse.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from pydantic import PositiveFloat

from invdyn_ros.config import Fraction, Validated
from invdyn_ros.control.approach import ACCELERATION_HOLD_TIME, fastest_stop, smallest_jerk
from invdyn_ros.control.motion_profile import MotionProfile, State, integrate
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig, clip
from invdyn_ros.control.slow_in import SlowIn
from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.registry import ROBOTS
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Mask

BRAKING_FRACTION = 0.8  # fraction of the acceleration limit for stopping at a position limit
VELOCITY_FRACTION = 0.9  # fraction of the velocity limit that actions use
ACCELERATION_FRACTION = 0.9  # fraction of the acceleration limit that actions use
JERK_FRACTION = 0.75  # fraction of the jerk limit that actions use
APPROACH_TIME = 0.15  # [s] in which a target at constant velocity would lose its clearance
SPARE_CLEARANCE = 0.0005  # [m] of a target beyond the clearance that the motion guard keeps
SELF_MOTION = 1e-2  # [rad2/m2] weight of motions of the joints without one of the tool
CLEARANCE_RANGE = 0.2  # fraction of the reach within which approaching bodies are slowed [-]
MAX_CONTACTS = 8  # corrections of a velocity for pairs that come too close
MAX_TRACKING_ERROR = 0.1  # [rad] beyond it, the target restarts from the measured position
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
        ticks_per_action: control periods per action.
    """

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
        self._motion_limits = replace(
            self.limits,
            acceleration=ACCELERATION_FRACTION * self.limits.acceleration,
            jerk=JERK_FRACTION * self.limits.jerk,
        )
        # (n,) [rad/s] by which the desired velocity may differ from the present one
        self._max_change = self._motion_limits.acceleration * period
        self._slow_in = SlowIn(safety_limits)
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
        """Start at rest at joint positions q (n,) [rad], with the slow-in of the planner."""
        self._time = 0.0  # [s]
        self._slow_in.start(self._time)
        self._rest_at(q)

    def _rest_at(self, q: Array) -> None:
        zero = np.zeros(self.robot.n)
        self.target = State(np.array(q, float), zero, zero)

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
        self._clamp_to_measured(measured)
        opening = float(action[-1] + 1) / 2 * self.max_opening
        return self._apply(self.action_to_velocity(action[:-1]), opening)

    def stop(self, opening: float, measured: Array) -> JointTarget:
        """Brake the arm and return the target.

        Args:
            opening: desired gripper opening [m].
            measured: (n,) measured joint positions [rad].
        """
        self._clamp_to_measured(measured)
        return self._apply(np.zeros(self.robot.n), opening)

    def target_to_action(self, state: State, opening: float) -> Array:
        """Return the action (size,) that gets closest to a target, such as a scripted one.

        Args:
            state: desired joint state one period from now.
            opening: desired gripper opening [m].
        """
        now, dt = self.target, self.config.action_period
        error = state.q - now.q - (now.qd + state.qd) * (dt / 2)
        action = np.append(
            self.velocity_to_action(state.qd + POSITION_GAIN * error / dt),
            2 * opening / self.max_opening - 1,
        )
        return action.clip(-1.0, 1.0)

    def _clamp_to_measured(self, measured: Array) -> None:
        if np.abs(measured - self.target.q).max() > MAX_TRACKING_ERROR:
            self._rest_at(measured)

    def _apply(self, velocity: Array, opening: float) -> JointTarget:
        self._slow_in.follow(self._time)
        self._time += self.config.action_period
        velocity = self._clip_velocity(self._keep_clear(velocity))
        change = velocity - self.target.qd  # scaled as a whole, so that it keeps its direction
        scale = (self._max_change / np.maximum(np.abs(change), 1e-9)).min()
        self.target = self._accelerate_to(self.target.qd + min(float(scale), 1.0) * change)
        return JointTarget(self.target, opening)

    def _clip_velocity(self, v: Array) -> Array:
        """Return the nearest velocity (n,) within the limits of all joints."""
        largest = VELOCITY_FRACTION * self._slow_in.speed * self.limits.velocity
        return clip(clip(v, *self._velocity_bounds()), -largest, largest)

    def _accelerate_to(self, velocity: Array) -> State:
        """Return the state after one period of the fastest motion to a velocity (n,) [rad/s].

        A joint that could then not stop within its position limits brakes instead.
        """
        state = self._after_period(velocity)
        can_stop = self._can_stop(state)
        return state if can_stop.all() else self._after_period(np.where(can_stop, velocity, 0.0))

    def _after_period(self, velocity: Array) -> State:
        """Return the state one period later on the way to a velocity (n,) [rad/s]."""
        now, h = self.target, self.config.action_period
        jerk, duration = fastest_stop(now.qd - velocity, now.qdd, self._motion_limits)
        begin = np.cumsum(duration, axis=0) - duration
        duration = np.minimum(np.maximum(h - begin, 0.0), duration)
        jerk = np.vstack([jerk, np.zeros(self.robot.n)])
        pieces = integrate(now, jerk, np.vstack([duration, h - duration.sum(axis=0)]))
        q, qd = pieces[1:3, -1]
        # the planner reaches this state with the smallest jerk, and another acceleration
        qdd = now.qdd + smallest_jerk(now, q, qd, h).sum(axis=0) * (h / 3)
        return State(q, qd, qdd)

    def _can_stop(self, state: State) -> Mask:
        """Return which joints (n,) can stop within their limits, or no further outside of them."""
        stop = integrate(state, *fastest_stop(state.qd, state.qdd, self._motion_limits))
        smallest, largest = MotionProfile(stop).extrema()
        lower = np.minimum(self.limits.lower, self.target.q)
        upper = np.maximum(self.limits.upper, self.target.q)
        return (smallest[0] >= lower - 1e-9) & (largest[0] <= upper + 1e-9)

    def _keep_clear(self, velocity: Array) -> Array:
        """Return the velocity (n,) [rad/s] closest to one that brings no pair too close.

        The closer two bodies are, the slower they may approach each other. The tool moves away
        without turning.
        """
        _, clearances, gradients = self._collision.gradients(self.target.q)
        if not clearances.size:
            return velocity
        slowest = (SPARE_CLEARANCE - clearances) / APPROACH_TIME
        J = self.robot.jacobian(self.target.q)
        tool = np.linalg.pinv(J, rcond=0.05)[:, :3]
        weights = tool @ tool.T + SELF_MOTION * np.eye(self.robot.n)
        for _ in range(MAX_CONTACTS):
            missing = slowest - gradients @ velocity
            worst = int(missing.argmax())
            if missing[worst] <= 0:
                break
            away = weights @ gradients[worst]
            velocity = velocity + away * (missing[worst] / max(gradients[worst] @ away, 1e-9))
        return velocity

    @cached_property
    def _collision(self) -> CollisionModel:
        name = self.robot.name
        return CollisionModel(
            self.robot, ROBOTS[name].obstacles if name in ROBOTS else Obstacles()
        )

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
