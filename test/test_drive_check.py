"""Models that may drive: check of the inertia, rollouts, refusal and the choice of feedback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracle import excitation, robot, setpoint
from torch import Tensor

from invdyn_ros.control.controller_loading import load_controller
from invdyn_ros.control.faults import MeasurementMonitorConfig
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import windows
from invdyn_ros.evaluation.closed_loop import point_to_point_motion, replay
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.drive_check import DRIVE_CHECK_KEY, chosen_feedback, refusal
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.training.drive_check import DriveChecker

UR5 = robot("ur5")


class TurnedInertia(RigidBody):
    """A rigid body whose action changes the wrong way with the acceleration of the last joint."""

    def predict_target(self, motion: Tensor) -> Tensor:
        turned = motion.clone()
        turned[..., -1] = -2 * turned[..., -1]
        return super().predict_target(turned)


class Weak(RigidBody):
    """A rigid body that predicts a tenth of the torque."""

    def predict_target(self, motion: Tensor) -> Tensor:
        return 0.1 * super().predict_target(motion)


class Opposite(RigidBody):
    """A rigid body of a servo whose setpoints lag behind where they should be ahead."""

    def predict_target(self, motion: Tensor) -> Tensor:
        return -0.1 * super().predict_target(motion)


def checker(kind: type[RigidBody], with_urdf: bool = True, **options: Any) -> DriveChecker:
    """Return the checker of an identified model of simulated data."""
    parts = [[excitation(UR5, seed, **options)] for seed in (0, 1)]
    unit = options.get("unit", "N m")
    meta = ModelMetadata(
        "rigid_body", "ur5", UR5.joint_names, unit, UR5.rate, 0.004, UR5.rigid_body_urdf()
    )
    train, val = (windows(part, 1, 0.0) for part in parts)
    model = kind(meta)
    model.standardise(train)
    RigidBody.fit(model, train, val)
    if not with_urdf:
        model.meta = replace(meta, urdf="")
    return DriveChecker(model, train, val, parts[1])


def verdict(kind: type[RigidBody], with_urdf: bool = True, **options: Any) -> dict[str, Any]:
    values = checker(kind, with_urdf, **options).metadata()[DRIVE_CHECK_KEY]
    assert isinstance(values, dict)
    return values


def test_exact_model_drives_with_feedback_through_it() -> None:
    values = verdict(RigidBody)
    assert values["unstable_states"] == 0 < values["least_eigenvalue"]
    assert values["rollout_rms"] < 5e-3
    assert (values["feedback"], values["reason"]) == ("acceleration", "")


def test_model_with_a_turned_inertia_drives_in_torque_space_only() -> None:
    values = verdict(TurnedInertia)
    assert values["unstable_through_model"] == 1 and values["least_eigenvalue"] < 0
    assert (values["feedback"], values["reason"]) == ("torque", "")
    assert values["unstable_states"] == 0  # of the feedback that is used
    assert values["rollout_rms"] < 0.05
    without_inertia = verdict(TurnedInertia, with_urdf=False)
    assert without_inertia["rollout_rms"] is None and without_inertia["unstable_states"] == 1
    assert "100% of the validation states more acceleration" in without_inertia["reason"]


def test_model_that_follows_badly_is_refused() -> None:
    values = verdict(Weak)
    assert values["unstable_states"] == 0 and values["rollout_rms"] > 0.05
    assert "tracking error in simulated rollouts is" in values["reason"]


def test_setpoints_are_only_tried_in_rollouts() -> None:
    values = verdict(RigidBody, unit="rad", action=setpoint)
    assert values["unstable_states"] is None and values["reason"] == ""
    assert values["rollout_rms"] < 0.01


def test_model_that_follows_worse_than_plain_setpoints_is_refused() -> None:
    values = verdict(Opposite, unit="rad", action=setpoint)
    without_model = values["rollout_rms_without_model"]
    assert without_model < values["rollout_rms"]
    assert f"without the model it is {1e3 * without_model:.3g}" in values["reason"]


def test_recording_with_actions_that_drive_no_arm_is_not_checked() -> None:
    assert checker(RigidBody, unit="A").metadata() == {}


def test_refused_model_is_loaded_only_as_unsafe(tmp_path: Path) -> None:
    model = checker(RigidBody).model
    data = {DRIVE_CHECK_KEY: {"reason": "it pushes the wrong way", "feedback": "torque"}}
    save(model, replace(model.meta, data=data), tmp_path)
    settings = (UR5, str(tmp_path), "cpu", SafetyLimitsConfig(), MeasurementMonitorConfig())
    with pytest.raises(ValueError, match="refused as a driver: it pushes the wrong way; train"):
        load_controller(*settings)
    loaded = load_controller(*settings, unsafe=True)
    assert loaded.controller.actions.tracking_controller.config.space == "torque"
    assert refusal({}) == ""  # of checkpoints from before the check


def test_feedback_in_torque_space_holds_an_arm_whose_model_pushes_the_wrong_way() -> None:
    model, plant = checker(TurnedInertia).model, PlantConfig(physics_rate=500.0)
    model.get_buffer("friction").zero_()
    desired, rms = point_to_point_motion(UR5, 0, 2.0), {}
    for space in ("acceleration", "torque"):
        feedback = chosen_feedback("N m", {DRIVE_CHECK_KEY: {"feedback": space}})
        run = replay(UR5, TorchPredictor(model), "N m", 0.012, desired, plant, feedback=feedback)
        rms[space] = float(np.sqrt(np.square(run.error[:, -1]).mean()))
    assert rms["torque"] < 0.1 < rms["acceleration"]


def test_motions_from_point_to_point_are_smooth_and_within_the_limits() -> None:
    motion = point_to_point_motion(UR5, 3, 12.0)
    np.testing.assert_allclose(np.gradient(motion.q, motion.time, axis=0), motion.qd, atol=0.1)
    acceleration = np.gradient(motion.qd, motion.time, axis=0)
    assert (np.abs(motion.qd) <= UR5.velocity).all()
    assert (np.abs(acceleration) <= UR5.acceleration).all()
    assert (np.abs(motion.qd).max(1) < 1e-9).mean() > 0.05  # it rests between


def test_trajectories_of_one_sample_leave_the_ways_between_postures() -> None:
    checked = checker(RigidBody)
    short: list[Trajectory] = [t[:2] for t in checked.val_trajectories]
    checked.val_trajectories = short
    assert len(checked.rollouts.desired.q) > 0
    assert torch.isfinite(torch.tensor(checked.tracking_error()))
