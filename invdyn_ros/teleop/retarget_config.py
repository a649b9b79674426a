"""Settings of the retargeting of a person's motion to an arm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from invdyn_ros.config import RECONFIGURABLE, Fraction, Probability, Validated


@dataclass(frozen=True)
class RetargetConfig(Validated):
    """Settings of the retargeting."""

    side: Literal["left", "right"] = "left"
    """Arm of the person to follow."""
    mode: Literal["absolute", "relative"] = "absolute"
    """absolute: each place of the hand has its place of the tool; relative: the tool moves as the
    hand does from where both are when following starts, or when the arm is engaged."""
    mount: Literal["auto", "table", "wall"] = "auto"
    """Mounting of the arm's base; auto: wall for a human-like arm, else table."""
    upper_arm: PositiveFloat = 0.29
    """Length of the person's upper arm [m]."""
    forearm: PositiveFloat = 0.26
    """Length of the person's forearm, elbow to wrist [m]."""
    scale: NonNegativeFloat = 0.0
    """Motion of the robot's hand over that of the person's; 0: computed from the workspace."""
    calibrate: bool = False
    """Whether the person reaches out once before the arm follows, which measures the lengths of
    upper arm and forearm and the neutral place of the hand."""
    min_visibility: Probability = 0.5
    """Minimum visibility of shoulder, elbow and wrist, 0..1; below it, the arm holds."""
    max_age: PositiveFloat = field(default=0.25, metadata=RECONFIGURABLE)
    """Maximum difference between the stamp of landmarks and the present [s]; above it, the arm
    holds."""
    max_gap: PositiveFloat = 0.3
    """Maximum time between landmarks [s]; after a longer gap, the filters are reset."""
    depth_noise: PositiveFloat = 0.03
    """Standard deviation of the direction of a bone in depth [rad], until it was estimated."""
    image_noise: PositiveFloat = 0.015
    """Likewise across the line of sight [rad]."""
    prediction: Annotated[float, Field(ge=0, le=0.2)] = 0.015
    """Time for which the motion of the person is predicted [s]; more makes the arm overshoot."""
    horizon: Annotated[float, Field(ge=0, le=0.2)] = 0.08
    """Time from an image to the state that is desired of the arm [s]. It covers the age of the
    landmarks and the time to move to that state smoothly; the lag is about the horizon without
    the prediction."""
    yaw_cutoff: PositiveFloat = 0.3
    """Cut-off frequency of the heading [Hz]; low, because the estimated depth is uncertain."""
    tolerance: PositiveFloat = 0.005
    """Distance of wrist and elbow from their targets below which these count as reached [m]."""
    joint_limit_margin: NonNegativeFloat = 0.05
    """Margin to each joint limit [rad]."""
    min_height: float = 0.05
    """Minimum height of the hand above the base plane [m]."""
    tool: Literal["free", "down", "hand"] = "free"
    """free: only the position of the tool follows the person; down: it points down to grasp from
    a table, as far as the arm can, and comes down to `min_tool_height`; hand: it points where the
    person's hand does, as far as its position allows."""
    elbow: bool = False
    """Whether the elbow of an arm with more than six joints turns to the side of the person's,
    while the hand stays where it is; an arm like that of a person does so in any case."""
    min_tool_height: NonNegativeFloat = 0.02
    """Minimum height of a tool that points down, above the base plane [m]."""
    tool_speed: PositiveFloat = 1.0
    """Largest speed of the tool [m/s], as of the motion guard; it is late behind a faster one."""
    speed: Fraction = 1.0
    """Fraction of the joint velocity limits that the arm uses, as of its safety limits."""
    velocity_fraction: Fraction = 0.95
    """Fraction of these velocities that targets use, so that the plan keeps up."""
    acceleration_fraction: Fraction = 0.5
    """Fraction of the joint acceleration limits to use; the plan, whose jerk is limited, too,
    overshoots what takes more."""
