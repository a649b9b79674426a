"""Check of a trained model before it may drive an arm: inertia and rollouts in closed loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from invdyn_ros.data.action_units import SETPOINT, is_torque
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.drive_check import (
    DRIVE_CHECK_KEY,
    FEEDBACK_KEY,
    REASON_KEY,
)
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.feedback import FeedbackSpace
from invdyn_ros.training.inertia_check import InertiaCheck, check_inertia, unstable_share
from invdyn_ros.training.reference_body import reference_body
from invdyn_ros.training.rollouts import Rollouts, desired_motions

MAX_ROLLOUT_RMS = 0.05  # [rad] of a model that may drive, which also has less than without it
GOOD_ROLLOUT_RMS = 0.005  # [rad] with which no other feedback is tried
MIN_GAIN = 0.8  # of the tracking error, below which feedback in torque space is chosen


class DriveChecker:
    """Checks of models of one dataset.

    Actions other than torques and setpoints drive no arm here, and are not checked.
    """

    def __init__(
        self,
        model: InverseDynamics,
        train: Windows,
        val: Windows,
        val_trajectories: Sequence[Trajectory],
    ) -> None:
        """Prepare the checks; they are computed on demand.

        Args:
            model: the model, perhaps untrained.
            train: training data.
            val: validation data.
            val_trajectories: validation recordings.
        """
        self.model, self.train, self.val = model, train, val
        self.val_trajectories = val_trajectories
        unit = model.meta.action_unit
        self.has_feedback = model.input_type == "motion" and is_torque(unit)
        self.can_simulate = bool(model.meta.urdf) and model.input_type == "motion"
        self.can_simulate &= self.has_feedback or unit == SETPOINT

    @cached_property
    def body(self) -> RigidBody:
        """Rigid body that explains the data."""
        return reference_body(self.model.meta, self.train, self.val)

    @cached_property
    def rollouts(self) -> Rollouts:
        """Rollouts on that body."""
        meta = self.model.meta
        largest = [
            self.model.target(part.motion, part.action).flatten(0, 1).abs().amax(0)
            for part in (self.train, self.val)
        ]
        desired = desired_motions(self.val_trajectories, meta.rate)
        return Rollouts(self.body, desired, torch.maximum(*largest).double().cpu())

    def tracking_error(self) -> float:
        """Return the RMS tracking error [rad] in rollouts, with the better feedback."""
        return min(self._tracking_errors().values())

    def metadata(self) -> dict[str, Any]:
        """Return the verdict as checkpoint metadata; empty if nothing can be checked.

        Feedback is added in acceleration space, or in torque space where the model's inertia is
        wrong in some state or the rollouts are clearly better so. The share of unstable states is
        that of the feedback which is used.
        """
        inertia = self._check_inertia() if self.has_feedback else None
        errors = self._tracking_errors() if self.can_simulate else {}
        if inertia is None and not errors:
            return {}
        space = _choose_space(inertia, errors)
        unstable = None if inertia is None else inertia.unstable_states
        if space == "torque":
            unstable = unstable_share(self.body, self.rollouts.nominal_inertia, self.val)
        error, without_model = errors.get(space), self._error_without_model() if errors else None
        values = {
            "unstable_states": unstable,
            "unstable_through_model": None if inertia is None else inertia.unstable_states,
            "least_eigenvalue": None if inertia is None else inertia.least_eigenvalue,
            "rollout_rms": error,
            "rollout_rms_without_model": without_model,
            FEEDBACK_KEY: space,
            REASON_KEY: _instability(unstable, space) or _inaccuracy(error, without_model),
        }
        return {DRIVE_CHECK_KEY: values}

    def _error_without_model(self) -> float:
        """Return the RMS tracking error [rad] of setpoints, or of feedback, without a model."""
        return self.rollouts.rms(None, "torque" if self.has_feedback else "acceleration")

    def _check_inertia(self) -> InertiaCheck:
        return check_inertia(self.model, self.val, self.body if self.can_simulate else None)

    def _tracking_errors(self) -> dict[FeedbackSpace, float]:
        """Return the RMS tracking error [rad] with feedback before the model.

        For torques, feedback in torque space is tried too if that is not good.
        """
        errors: dict[FeedbackSpace, float] = {}
        errors["acceleration"] = self.rollouts.rms(self.model, "acceleration")
        if self.has_feedback and errors["acceleration"] > GOOD_ROLLOUT_RMS:
            errors["torque"] = self.rollouts.rms(self.model, "torque")
        return errors


def _choose_space(
    inertia: InertiaCheck | None, errors: dict[FeedbackSpace, float]
) -> FeedbackSpace:
    """Return where the feedback of a model is added."""
    if "torque" not in errors:
        return "acceleration"
    is_unstable = inertia is not None and inertia.unstable_states > 0
    is_better = errors["torque"] < MIN_GAIN * errors["acceleration"]
    return "torque" if is_unstable or is_better else "acceleration"


def _instability(unstable: float | None, space: FeedbackSpace) -> str:
    """Return why the feedback through a model may not drive, empty if it may.

    Args:
        unstable: share of states in which the feedback is unstable; None: not known.
        space: where feedback is added.
    """
    if not unstable:
        return ""
    states = f"in {100 * unstable:.3g}% of the validation states "
    if space == "torque":
        return states + "feedback through the inertia of the URDF is unstable"
    return states + "more acceleration changes its action the wrong way"


def _inaccuracy(error: float | None, without_model: float | None) -> str:
    """Return why a model that tracks badly may not drive, empty if it may.

    Args:
        error: RMS tracking error in rollouts [rad]; None: not known.
        without_model: the same without the model [rad].
    """
    if error is None or without_model is None:
        return ""
    text = f"its tracking error in simulated rollouts is {1e3 * error:.3g} mrad; "
    if error > without_model:
        return text + f"without the model it is {1e3 * without_model:.3g}"
    if error > MAX_ROLLOUT_RMS:
        return text + f"{1e3 * MAX_ROLLOUT_RMS:.0f} is allowed"
    return ""
