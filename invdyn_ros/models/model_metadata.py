"""Description of a trained model, which is stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from invdyn_ros.config import Validated
from invdyn_ros.data.action_units import ACTION_UNITS
from invdyn_ros.typing import Names, Rate

MAX_DELAY, MAX_DELAY_INTERVALS = 1.0, 10.0  # [s] and sample intervals, of an action


@dataclass(frozen=True)
class ModelMetadata(Validated):
    """Description of a model; with the model's tensors it is a complete checkpoint.

    Attributes:
        family: key of MODELS.
        robot: name of the arm.
        joint_names: names of the n joints, in the order of all columns.
        action_unit: one of `action_units.ACTION_UNITS`.
        rate: sample rate of the data [Hz].
        action_delay: [s] an action at time t causes the motion at t + action_delay; negative
            where a recorded effort is late.
        urdf: URDF text of the arm without geometry; empty if the arm has no URDF.
        config: fields of the family's config.
        data: dataset, split and training.
        image_size: height and width of the images [px], for families with image input.
        effort_lag: [s] time constant, per joint, of the filter of first order between the actions
            of the model and those that were recorded; empty: none.
        presliding: per joint, displacement [rad] and torque [action unit] of the friction that
            its recording has at rest, see `invdyn_ros.models.presliding`; empty: none.
        gear_friction: per joint, rise of dry friction towards standstill [action unit] and with
            the load [-], and the velocity scale of the former [rad/s], see
            `invdyn_ros.models.gear_friction`; empty: none.
    """

    family: str
    robot: str
    joint_names: Names
    action_unit: str
    rate: Rate
    action_delay: float
    urdf: str
    config: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    image_size: tuple[int, ...] = ()
    effort_lag: tuple[float, ...] = ()
    presliding: tuple[tuple[float, float], ...] = ()
    gear_friction: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        """Check names, unit, rate and delay."""
        super().__post_init__()
        if self.action_unit not in ACTION_UNITS:
            raise ValueError(
                f"action_unit is {self.action_unit!r}, not one of {', '.join(ACTION_UNITS)}"
            )
        limit = MAX_DELAY + MAX_DELAY_INTERVALS / self.rate
        if not abs(self.action_delay) <= limit:
            raise ValueError(
                f"action_delay is {self.action_delay} s; it must be within +-{limit:.3g} s"
            )
        n = len(self.joint_names)
        if self.effort_lag and not (
            len(self.effort_lag) == n and all(0 <= lag <= limit for lag in self.effort_lag)
        ):
            raise ValueError(
                f"effort_lag is {self.effort_lag} s; it must be empty or {n} times of 0 to "
                f"{limit:.3g} s"
            )
        if self.gear_friction and not (
            len(self.gear_friction) == n
            and all(min(row[:2]) >= 0 and row[2] > 0 for row in self.gear_friction)
        ):
            raise ValueError(
                f"gear_friction is {self.gear_friction}; it must be empty or {n} times two values "
                "that are not negative and a positive velocity"
            )
        if self.presliding and not (
            len(self.presliding) == n and all(d > 0 and K >= 0 for d, K in self.presliding)
        ):
            raise ValueError(
                f"presliding is {self.presliding}; it must be empty or {n} pairs of a positive "
                "displacement and a torque that is not negative"
            )
