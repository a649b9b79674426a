"""Out of its data a learned model gives way to the rigid body, smoothly, and that is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import exciting, robot

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import USING_FALLBACK, ArmController
from invdyn_ros.control.fallback import Fallback, fallback_from_metadata
from invdyn_ros.control.safety_limits import State, Target
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.closed_loop import replay
from invdyn_ros.evaluation.closed_loop_tracking import TrackingTask
from invdyn_ros.models import ModelMetadata, Prediction, build
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.fallback_metadata import METADATA_KEY
from invdyn_ros.models.hybrid import Hybrid
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.runtime import fastest_runtime
from invdyn_ros.robots.plant import IDEAL
from invdyn_ros.training.train import parse_config, train

ARM = robot("ur5")
LIMIT = 0.5
WRONG = 3.0  # [N m] what the doubtful model adds to the rigid body


def rigid_body() -> RigidBody:
    config = {"identify": False}
    model = build(
        ModelMetadata(
            "rigid_body", "ur5", ARM.joint_names, "N m", ARM.rate, 0.0, ARM.xml(), config
        )
    )
    assert isinstance(model, RigidBody)
    return model


class Doubtful:
    """A rigid body plus a constant, that is the less sure the farther from home."""

    n_obs_steps = 1

    def __init__(self, with_std: bool = True) -> None:
        self.rigid, self.with_std = rigid_body(), with_std
        self.home = torch.as_tensor(ARM.home)

    def predict(self, motion: torch.Tensor, time: torch.Tensor) -> Prediction:
        std = (motion[..., :6] - self.home).abs() if self.with_std else None
        return Prediction(self.rigid.predict(motion, time).mean + WRONG, std)


def added(driver: ArmController, away: float, time: float) -> tuple[float, str | None]:
    """Return what is sent at rest `away` [rad] from home beyond the rigid body, and the reason."""
    q, still = ARM.home + away * np.eye(6)[3], np.zeros(6)
    driver.engage(True)
    driver.set_target(Target(time, State(q, still, still), 0.008))
    command = driver.update(MeasuredState(time, q, still))
    assert command.action is not None
    return float((command.action - ARM.inverse_dynamics(q, still, still)).mean()), command.reason


def driver_with(fallback: Fallback | None, with_std: bool = True) -> ArmController:
    return ArmController(ARM, Doubtful(with_std), "N m", 0.0, fallback=fallback)


def test_action_goes_over_to_the_rigid_body_without_a_jump() -> None:
    driver = driver_with(Fallback(MujocoRigidBody(rigid_body()), np.full(6, LIMIT)))
    away = np.linspace(0, 3 * LIMIT, 61)
    found = [added(driver, x, 0.01 * k) for k, x in enumerate(away)]
    beyond, reasons = np.array([x for x, _ in found]), [reason for _, reason in found]
    inside, outside = away < LIMIT - 1e-6, away > LIMIT + 1e-6
    np.testing.assert_allclose(beyond[inside], WRONG, atol=1e-6)
    np.testing.assert_allclose(beyond[away > 2 * LIMIT], 0, atol=1e-6)
    assert (np.diff(beyond) < 1e-6).all()
    assert np.abs(np.diff(beyond)).max() < 1.01 * WRONG * away[1] / LIMIT
    assert all(reasons[k] is None for k in np.flatnonzero(inside))
    assert all(reasons[k] == USING_FALLBACK for k in np.flatnonzero(outside))


@pytest.mark.parametrize("with_std", [True, False])
def test_without_a_limit_or_a_deviation_the_model_drives_alone(with_std: bool) -> None:
    fallback = None if with_std else Fallback(MujocoRigidBody(rigid_body()), np.full(6, LIMIT))
    driver = driver_with(fallback, with_std)
    assert added(driver, 5 * LIMIT, 0.0) == (pytest.approx(WRONG), None)


def test_a_hold_goes_before_doubt_as_the_reason() -> None:
    driver = driver_with(Fallback(MujocoRigidBody(rigid_body()), np.full(6, LIMIT)))
    driver.engage(True)
    command = driver.update(MeasuredState(0.0, ARM.home + 1.0, np.zeros(6)))
    assert command.reason == "no target yet"


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Hybrid:
    folder = tmp_path_factory.mktemp("fallback")
    write_dataset(folder / "data", [exciting(ARM, seed) for seed in range(6)], "ur5", ARM.rate)
    small = {
        "family": "hybrid",
        "action_delay": 0.0,
        "num_inducing": 16,
        "num_selection_rows": 300,
        "friction_filter_times": [0.0],
    }
    train(parse_config(small, "test"), folder / "data", folder / "model")
    model = load(Path(folder / "model"))
    assert isinstance(model, Hybrid)
    return model


def test_hybrid_falls_back_to_its_own_identified_rigid_body(hybrid: Hybrid) -> None:
    fallback = fallback_from_metadata(hybrid.meta)
    assert fallback is not None
    motion = torch.randn(1, 5, 18, generator=torch.Generator().manual_seed(0)).double()
    found = fallback.model.predict(motion, torch.zeros(1, 5)).mean
    torch.testing.assert_close(found, hybrid.rigid_body_target(motion))


def test_hybrid_trusts_itself_on_its_data_and_not_far_from_them(hybrid: Hybrid) -> None:
    fallback = fallback_from_metadata(hybrid.meta)
    assert fallback is not None
    near = torch.as_tensor(exciting(ARM, 0).motion)[None]
    shares = []
    for motion in (near, near + 40 * hybrid.motion_std):
        std = hybrid.predict(motion, torch.zeros(motion.shape[:2])).std
        assert std is not None
        shares.append(np.array([fallback.weight(row.numpy()) for row in std[0]]))
    assert (shares[0] > 0).mean() < 0.02
    assert (shares[1] > 0).all()


def test_a_replay_far_from_the_data_falls_back_as_live_and_says_so(
    hybrid: Hybrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rigid body gets an offset here, for far from its data a hybrid equals its own."""
    known, trained = hybrid.meta.data[METADATA_KEY], exciting(ARM, 0)
    shifted = np.add(known["friction"], [0.0, 0.0, WRONG, 0.0]).tolist()
    data = hybrid.meta.data | {METADATA_KEY: known | {"friction": shifted}}
    monkeypatch.setattr(hybrid, "meta", replace(hybrid.meta, data=data))
    fallback, none = fallback_from_metadata(hybrid.meta), np.empty((50, 0))
    assert fallback is not None
    q, qd = trained.position[:50] + 2.0, trained.velocity[:50]
    course = TrackingTask(ARM, IDEAL, "N m", JointSamples(trained.time[:50], q, qd, none, none))
    live, alone, rigid = (
        replay(ARM, model, "N m", 0.0, course.desired, IDEAL, fallback=other)
        for model, other in ((hybrid, fallback), (hybrid, None), (fallback.model, None))
    )
    assert live.used_fallback.all() and not alone.used_fallback.any()
    np.testing.assert_allclose(live.action, rigid.action)
    assert np.abs(live.action - alone.action).max() > 0.5 * WRONG
    assert course.tracking_rms(hybrid) == live.rms != alone.rms


def test_a_runtime_in_onnx_falls_back_to_the_same_rigid_body(hybrid: Hybrid) -> None:
    runtime = fastest_runtime(hybrid)
    fallback, own = fallback_from_metadata(runtime.meta), fallback_from_metadata(hybrid.meta)
    assert fallback is not None and own is not None
    motion = torch.randn(1, 1, 18, generator=torch.Generator().manual_seed(1)).double()
    both = [x.model.predict(motion, torch.zeros(1, 1)).mean for x in (fallback, own)]
    torch.testing.assert_close(*both)
    assert runtime.predict(motion, torch.zeros(1, 1)).std is not None


def test_a_model_without_a_deviation_has_no_limit() -> None:
    model = rigid_body()
    assert METADATA_KEY not in model.meta.data and fallback_from_metadata(model.meta) is None
