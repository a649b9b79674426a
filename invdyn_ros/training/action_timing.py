"""Timing of recorded actions, and how well a rigid body explains them with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.data.action_units import SETPOINT
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split, Windows, windows
from invdyn_ros.models.least_squares_identification import mean_squared_error
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.parameter_identification import STRENGTHS, identify
from invdyn_ros.models.rigid_body import RigidBody

MAX_LATENESS = 0.2  # [s] of a recorded effort after its motion
MAX_FRAMES = 4000  # enough to distinguish half intervals
MIN_VELOCITY = 0.1  # [rad/s] slower joints may stick, and are not informative about the timing
SKIPPED = 3  # of the strengths of a prior, for speed
MIN_UNEXPLAINED = 1e-9  # fraction of the target power; less is a rounding error


class ActionTiming(NamedTuple):
    """Timing of actions; see `ModelMetadata` and `RigidBodyConfig`."""

    action_delay: float
    effort_lag: tuple[float, ...] = ()
    friction_filter_time: tuple[float, ...] = ()


class TimingError:
    """Error of rigid bodies that are identified with candidates of the timing.

    Joints that may stick have little weight, because their torque rises before they move, which
    looks like a delay.
    """

    def __init__(
        self,
        meta: ModelMetadata,
        data: Split,
        min_velocity: float = MIN_VELOCITY,
        physical: bool = False,
    ) -> None:
        """Identify from `data.train`, and measure the error on `data.test`.

        Args:
            meta: of the model.
            data: training and validation data.
            min_velocity: [rad/s] of joints that do not stick.
            physical: whether the identified bodies are physical; a fit without bounds is faster,
                but its negative inertia can stand for a lag.
        """
        self.meta, self.data, self.min_velocity = meta, data, min_velocity
        self.physical = physical
        self._errors: dict[ActionTiming, Tensor] = {}

    def of_joints(self, timing: ActionTiming) -> Tensor:
        """Return the fraction (n,) of the target power that is not explained."""
        if timing not in self._errors:
            model = self._model(timing)
            train, val = (
                model.normal_equations(
                    subsample(part, timing.action_delay, model.window_size, model.stride)
                )
                for part in (self.data.train, self.data.test)
            )
            prior, bounds = model.tree.inertial.flatten(), model.bounds
            bounds = bounds._replace(physical=self.physical)
            parameters = identify(
                train, val, prior, bounds, STRENGTHS[:: SKIPPED if self.physical else 1]
            )
            power = (val.target_power / val.num_rows).clamp_min(1e-30)
            self._errors[timing] = mean_squared_error(val, parameters) / power
        return self._errors[timing]

    def __call__(self, timing: ActionTiming) -> float:
        """Return the geometric mean over the joints, so that a noisy one does not decide alone."""
        return float(self.of_joints(timing).clamp_min(MIN_UNEXPLAINED).log().mean().exp())

    def is_measurable(self, timing: ActionTiming) -> bool:
        """Return whether both parts of the data have a window for a lag."""
        size = self._model(timing).window_size + int(np.ceil(MAX_LATENESS * self.meta.rate))
        return all(max(map(len, part)) >= size for part in (self.data.train, self.data.test))

    def _model(self, timing: ActionTiming) -> RigidBody:
        config = {
            "min_velocity": self.min_velocity,
            "friction_filter_time": timing.friction_filter_time,
        }
        return RigidBody(
            replace(self.meta, family="rigid_body", config=config, effort_lag=timing.effort_lag)
        )


def subsample(
    trajectories: Sequence[Trajectory], action_delay: float, size: int = 1, stride: int = 1
) -> Windows:
    """Return at most MAX_FRAMES evenly spaced frames in windows of some size.

    Args:
        trajectories: to draw from.
        action_delay: [s].
        size: frames of a window.
        stride: frames between the starts of two windows.
    """
    data = windows(trajectories, size, action_delay, stride=stride)
    count = min(max(MAX_FRAMES // size, 1), data.size)
    return data.rows(torch.linspace(0, data.size - 1, count).long())


def max_lateness(unit: str) -> float:
    """Return how long after its motion an action of some unit may be recorded [s].

    An effort may be measured and filtered; a setpoint is a command, which comes before.
    """
    return 0.0 if unit == SETPOINT else MAX_LATENESS
