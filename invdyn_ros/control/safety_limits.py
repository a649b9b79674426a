"""Safety limits of an arm: margins, and validation of targets.

Every target passes through this module; `target_planning` plans within these
limits. All functions are pure: the same input gives the same output.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat

from invdyn_ros.config import RECONFIGURABLE, Fraction, Validated
from invdyn_ros.control.motion_profile import Extrema, Target
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

NO_TARGET = "no target yet"
MAX_VALUE = 1e6  # [rad, rad/s, rad/s2] of a target; more is an error of whoever sends it
MAX_HORIZON = 1.0  # [s]
ROUNDING_TOLERANCE = 1e-7  # [rad, -] by which a motion may exceed a limit


@dataclass(frozen=True)
class SafetyLimitsConfig(Validated):
    """Margins and timeouts of the safety limits.

    Attributes:
        position_margin: distance kept from each position limit [rad].
        velocity_scaling: fraction of the rated joint velocity that is used [-].
        jerk_ratio: jerk limit divided by the acceleration limit [1/s].
        target_timeout: age of a target above which the arm brakes smoothly [s].
        speed: fraction of the velocity limits that is used [-].
        tool_speed: largest speed of the tool and of the elbow [m/s].
        slow_in_time: time over which the speed grows after the arm was engaged, and after a hold
            [s]; zero: full speed at once.
    """

    position_margin: NonNegativeFloat = 0.02
    velocity_scaling: Fraction = 0.95
    jerk_ratio: PositiveFloat = 20.0
    target_timeout: PositiveFloat = field(default=0.25, metadata=RECONFIGURABLE)
    speed: Fraction = field(default=1.0, metadata=RECONFIGURABLE)
    tool_speed: PositiveFloat = field(default=1.0, metadata=RECONFIGURABLE)
    slow_in_time: NonNegativeFloat = field(default=1.0, metadata=RECONFIGURABLE)


@dataclass(frozen=True, eq=False)
class Limits:
    """Limits of motion and effort, (n,) each [rad, rad/s, rad/s2, rad/s3, N m]."""

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    effort: Array

    @classmethod
    def from_robot(cls, robot: Robot, config: SafetyLimitsConfig) -> "Limits":
        """Return the limits of an arm with the configured margins applied."""
        return cls(
            robot.lower + config.position_margin,
            robot.upper - config.position_margin,
            robot.velocity * config.velocity_scaling,
            robot.acceleration,
            robot.acceleration * config.jerk_ratio,
            robot.effort,
        )

    def scaled(self, speed: float) -> "Limits":
        """Return the limits with a fraction of the velocity; those of acceleration stay.

        Raises:
            ValueError: the fraction is not in (0, 1].
        """
        if not 0 < speed <= 1:
            raise ValueError(f"the speed must be greater than 0 and at most 1, got {speed}")
        velocity = speed * self.velocity
        return Limits(self.lower, self.upper, velocity, self.acceleration, self.jerk, self.effort)

    @cached_property
    def of_joints(self) -> tuple[list[float], list[float]]:
        """Largest acceleration and jerk of each joint, as numbers."""
        return self.acceleration.tolist(), self.jerk.tolist()

    @cached_property
    def motion(self) -> Extrema:
        """Smallest and largest position, velocity, acceleration and jerk, rounding allowed."""
        largest = np.array([self.upper, self.velocity, self.acceleration, self.jerk])
        largest[1:] *= 1 + ROUNDING_TOLERANCE
        largest[0] += ROUNDING_TOLERANCE
        smallest = -largest
        smallest[0] = self.lower - ROUNDING_TOLERANCE
        return Extrema(smallest, largest)


def validate_target(target: Target, num_joints: int) -> str | None:
    """Return why a target is invalid for an arm of `num_joints` joints, None if it is valid."""
    if any(part.shape != (num_joints,) for part in target.state):
        return f"target has {target.state.q.size} joints, the arm {num_joints}"
    largest = float(np.abs(target.state).max())  # nan if any is not a number
    if not all(map(math.isfinite, (target.stamp, target.horizon, largest))):
        return "target is not finite"
    if largest > MAX_VALUE:
        return f"target has a value of {largest:.3g}; the limit is {MAX_VALUE:g}"
    if target.horizon < 0:
        return "target has a negative horizon"
    if target.horizon > MAX_HORIZON:
        return f"target has a horizon of {target.horizon:.3g} s; the limit is {MAX_HORIZON:g} s"
    return None


def check_age(target: Target, time: float, config: SafetyLimitsConfig) -> str | None:
    """Return why a target is too old or too new to be followed, None if it is neither.

    Args:
        target: desired state with its stamp.
        time: current time [s].
        config: its `target_timeout` is used.
    """
    if time - target.stamp > config.target_timeout:
        return "target is stale"
    if target.stamp - time > config.target_timeout:
        return "target is from the future"
    return None


def clip(values: Array, lower: Array | float, upper: Array | float) -> Array:
    """Return values clipped to bounds, for a few numbers five times as fast as np.clip.

    Args:
        values: any array.
        lower: smallest value.
        upper: largest value.
    """
    return np.asarray(np.minimum(np.maximum(values, lower), upper))
