"""Fallback of a learned model to the rigid body outside of its training data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import excitation, robot

from invdyn_ros.control.command import USING_FALLBACK
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.fallback import Fallback, fallback_from_metadata
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.closed_loop import replay
from invdyn_ros.evaluation.closed_loop_tracking import TrackingTask
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.fallback_metadata import FALLBACK_KEY
from invdyn_ros.models.hybrid import Hybrid
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody, urdf_model
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.models.runtime import fastest_runtime
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.robots.plant import IDEAL_PLANT
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.typing import Array

ARM = robot("ur5")
LIMIT = 0.5
OFFSET = 3.0  # [N m] between `OffsetModel` and the rigid body


def rigid_body() -> MujocoRigidBody:
    return urdf_model(ARM, "N m")


class OffsetModel:
    """A rigid body plus a constant; the standard deviation is the distance from home."""

    n_obs_steps = 1

    def __init__(self, with_std: bool = True) -> None:
        self.rigid, self.with_std = rigid_body(), with_std

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        std = np.abs(motion[..., :6] - ARM.home) if self.with_std else None
        return PredictedAction(self.rigid.predict(motion, time).mean + OFFSET, std)


def mean_offset(
    controller: ArmController, distance: float, time: float
) -> tuple[float, str | None]:
    """Return the offset to the rigid body at rest, `distance` [rad] from home, and the reason."""
    q, still = ARM.home + distance * np.eye(6)[3], np.zeros(6)
    controller.reset()
    controller.engage(True)
    controller.set_target(Target(time, State(q, still, still), 0.008))
    command = controller.update(MeasuredState(time, q, still))
    assert command.action is not None
    return float((command.action - ARM.inverse_dynamics(q, still, still)).mean()), command.reason


def make_controller(fallback: Fallback | None, with_std: bool = True) -> ArmController:
    safety = SafetyLimitsConfig(slow_in_time=0.0)
    return ArmController(ARM, OffsetModel(with_std), "N m", 0.0, safety, fallback=fallback)


def test_action_blends_continuously_into_the_rigid_body() -> None:
    controller = make_controller(Fallback(rigid_body(), np.full(6, LIMIT)))
    distance = np.linspace(0, 3 * LIMIT, 61)
    results = [mean_offset(controller, x, 0.01 * k) for k, x in enumerate(distance)]
    offsets, reasons = np.array([x for x, _ in results]), [reason for _, reason in results]
    inside, outside = distance < LIMIT - 1e-6, distance > LIMIT + 1e-6
    np.testing.assert_allclose(offsets[inside], OFFSET, atol=1e-6)
    np.testing.assert_allclose(offsets[distance > 2 * LIMIT], 0, atol=1e-6)
    assert (np.diff(offsets) < 1e-6).all()
    assert np.abs(np.diff(offsets)).max() < 1.01 * OFFSET * distance[1] / LIMIT
    assert all(reasons[k] is None for k in np.flatnonzero(inside))
    assert all(reasons[k] == USING_FALLBACK for k in np.flatnonzero(outside))


@pytest.mark.parametrize("with_std", [True, False])
def test_without_limit_or_standard_deviation_there_is_no_fallback(with_std: bool) -> None:
    fallback = None if with_std else Fallback(rigid_body(), np.full(6, LIMIT))
    controller = make_controller(fallback, with_std)
    assert mean_offset(controller, 5 * LIMIT, 0.0) == (pytest.approx(OFFSET), None)


def test_hold_takes_precedence_over_fallback_as_the_reason() -> None:
    controller = make_controller(Fallback(rigid_body(), np.full(6, LIMIT)))
    controller.engage(True)
    command = controller.update(MeasuredState(0.0, ARM.home + 1.0, np.zeros(6)))
    assert command.reason == "no target yet"


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Hybrid:
    folder = tmp_path_factory.mktemp("fallback")
    write_dataset(folder / "data", [excitation(ARM, seed) for seed in range(6)], "ur5", ARM.rate)
    small = {
        "family": "hybrid",
        "action_delay": 0.0,
        "num_inducing": 16,
        "num_selection_rows": 300,
        "friction_filter_times": [0.0],
    }
    train(parse_train_config(small, "test"), folder / "data", folder / "model")
    model = load(Path(folder / "model"))
    assert isinstance(model, Hybrid)
    return model


def test_hybrid_falls_back_to_its_identified_rigid_body(hybrid: Hybrid) -> None:
    fallback = fallback_from_metadata(hybrid.meta)
    assert fallback is not None
    motion = np.random.default_rng(0).normal(size=(1, 5, 18))
    results = fallback.model.predict(motion, np.zeros((1, 5))).mean
    np.testing.assert_allclose(results, hybrid.rigid_body_target(torch.from_numpy(motion)))


def test_fallback_weight_is_zero_near_the_data_and_positive_far_from_them(hybrid: Hybrid) -> None:
    fallback = fallback_from_metadata(hybrid.meta)
    assert fallback is not None
    near = torch.as_tensor(excitation(ARM, 0).motion)[None]
    weights = []
    for motion in (near, near + 40 * hybrid.motion_std):
        std = hybrid.predict(motion, torch.zeros(motion.shape[:2])).std
        assert std is not None
        weights.append(np.array([fallback.weight(row.numpy()) for row in std[0]]))
    assert (weights[0] > 0).mean() < 0.02
    assert (weights[1] > 0).all()


def test_replay_falls_back_far_from_the_data_and_reports_it(
    hybrid: Hybrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fallback gets an offset here: far from its data a hybrid equals its rigid body."""
    metadata, trained = hybrid.meta.data[FALLBACK_KEY], excitation(ARM, 0)
    shifted = np.add(metadata["friction"], [0.0, 0.0, OFFSET, 0.0]).tolist()
    data = hybrid.meta.data | {FALLBACK_KEY: metadata | {"friction": shifted}}
    monkeypatch.setattr(hybrid, "meta", replace(hybrid.meta, data=data))
    fallback, none = fallback_from_metadata(hybrid.meta), np.empty((50, 0))
    model = TorchPredictor(hybrid)
    assert fallback is not None
    q, qd = trained.position[:50] + 2.0, trained.velocity[:50]
    task = TrackingTask(
        ARM, IDEAL_PLANT, "N m", JointSamples(trained.time[:50], q, qd, none, none)
    )
    live, without_fallback, rigid = (
        replay(ARM, driver, "N m", 0.0, task.desired, IDEAL_PLANT, fallback=other)
        for driver, other in ((model, fallback), (model, None), (fallback.model, None))
    )
    assert live.used_fallback.all() and not without_fallback.used_fallback.any()
    np.testing.assert_allclose(live.action, rigid.action)
    assert np.abs(live.action - without_fallback.action).max() > 0.5 * OFFSET
    assert task.tracking_rms(hybrid) == live.rms != without_fallback.rms


def test_live_runtimes_fall_back_to_the_same_rigid_body(hybrid: Hybrid) -> None:
    runtime = fastest_runtime(hybrid)
    fallback, from_model = (
        fallback_from_metadata(runtime.meta),
        fallback_from_metadata(hybrid.meta),
    )
    assert fallback is not None and from_model is not None
    motion, time = np.random.default_rng(1).normal(size=(1, 1, 18)), np.zeros((1, 1))
    actions = [x.model.predict(motion, time).mean for x in (fallback, from_model)]
    np.testing.assert_array_equal(*actions)
    assert runtime.predict(motion, time).std is not None


def test_model_without_standard_deviation_has_no_fallback() -> None:
    model = rigid_body()
    assert FALLBACK_KEY not in model.meta.data and fallback_from_metadata(model.meta) is None
