"""Physical identification: bounds, lag of the effort, prior, and intervals."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import ROTOR, excitation, robot, torque

from invdyn_ros.benchmarks.identification import (
    IdentificationBenchmarkConfig,
    joint_space_inertia,
    measure_identification,
)
from invdyn_ros.control.computed_torque import ComputedTorqueController
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import windows
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.models.base_parameters import correlation_times, find_base_parameters
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.effort_lag import low_pass
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.models.physical_parameters import (
    physical_prior,
    pseudo_inertias,
    scaled_coordinates,
    solve_physical,
)
from invdyn_ros.models.registry import build
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train

ARM = robot("ur5")
LAG = 0.05  # [s]


def late(arm: Robot, motion: np.ndarray) -> np.ndarray:
    """Return the torque as a robot reports it, through a filter of first order."""
    return low_pass(torque(arm, motion), (LAG,) * arm.n, arm.rate)


@cache
def late_data() -> list[Trajectory]:
    return [excitation(ARM, seed, seconds=2.0, action=late) for seed in range(5)]


@pytest.fixture(scope="module")
def late_model(tmp_path_factory: pytest.TempPathFactory) -> RigidBody:
    """Return a model trained on a filtered effort, loaded from its checkpoint."""
    folder = tmp_path_factory.mktemp("late")
    write_dataset(folder / "data", late_data(), "ur5", ARM.rate)
    train(parse_train_config({"family": "rigid_body"}, "test"), folder / "data", folder / "model")
    model = load(folder / "model")
    assert isinstance(model, RigidBody)
    return model


def new_model(**fields: object) -> RigidBody:
    names, urdf = ARM.joint_names, ARM.rigid_body_urdf()
    meta = ModelMetadata("rigid_body", "ur5", names, "N m", ARM.rate, 0.0, urdf)
    model = build(replace(meta, **fields))  # type: ignore[arg-type]
    assert isinstance(model, RigidBody)
    return model


def eigenvalues(model: RigidBody) -> np.ndarray:
    """Return the least eigenvalue of the pseudo-inertia of each link."""
    return np.linalg.eigvalsh(pseudo_inertias(model.tree.inertial.numpy()))[:, 0]


def test_lag_of_the_effort_is_identified(late_model: RigidBody) -> None:
    assert late_model.meta.effort_lag == pytest.approx((LAG,) * 6)
    assert late_model.meta.action_delay == pytest.approx(0.0, abs=0.5 / ARM.rate)
    torch.testing.assert_close(
        late_model.friction[:, 3], torch.full((6,), ROTOR).double(), atol=0.05, rtol=0
    )
    assert evaluate(late_model, late_data())["nmse"]["mean"] < 1e-4


def test_actions_for_the_arm_are_those_before_the_lag(late_model: RigidBody) -> None:
    motion = excitation(ARM, 9)  # actions without lag
    data = windows([motion])
    error = late_model.predict(data.motion, data.time).mean - data.action
    assert float(error.square().mean() / data.action.var()) < 1e-4


def test_late_effort_gives_no_negative_delay_of_commands() -> None:
    controller = ComputedTorqueController(new_model(), "N m", action_delay=-0.05)
    assert controller.action_delay == 0.0


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_identified_links_are_physical_where_a_free_fit_has_negative_inertia(noise: float) -> None:
    rng = np.random.default_rng(0)
    parts = [excitation(ARM, seed, 0.08, seconds=2.0) for seed in range(4)]  # late by 80 ms
    noisy = [replace(t, action=t.action + rng.normal(0, noise, t.action.shape)) for t in parts]
    model = new_model()
    data = windows(noisy)
    model.fit(data.rows(slice(0, 750)), data.rows(slice(750, None)))
    assert (eigenvalues(model) > 0).all()
    assert (model.friction[:, [0, 1, 3]] >= 0).all()
    inertia = joint_space_inertia(model, ARM.lower, ARM.upper)
    assert torch.linalg.eigvalsh(inertia).min() > 0


def test_parameters_that_no_motion_shows_stay_at_the_urdf() -> None:
    moving = excitation(ARM, 0)
    still = np.zeros_like(moving.velocity)
    at_rest = replace(moving, velocity=still, acceleration=still)
    motion = at_rest.motion.copy()
    rest = replace(at_rest, action=torque(ARM, motion))
    model, data = new_model(), windows([rest])
    prior = model.tree.inertial.clone()
    model.fit(data.rows(slice(0, 400)), data.rows(slice(400, None)))
    # no acceleration, so gravity alone: the second moments are not shown
    torch.testing.assert_close(model.tree.inertial, prior, rtol=0.05, atol=0.02)
    assert model.identification is not None
    identified = {
        row["name"]: row["identified"] for row in model.identification["base_parameters"]
    }
    assert not any(identified[f"{name} viscous"] for name in ARM.joint_names)
    assert identified["shoulder_lift_joint mx"] or identified["elbow_joint mx"]


def test_minimum_of_the_convex_problem_is_found() -> None:
    rng = np.random.default_rng(1)
    n = 2
    inertial = physical_prior(rng.normal(size=(n, 10)))
    coordinates = scaled_coordinates(inertial, np.ones(3), np.array([True, False, True]))
    A = rng.normal(size=(12, 10 * n + 3))
    true = coordinates.z0 + 0.1 * coordinates.T @ rng.normal(size=10 * n + 3)
    (z,) = solve_physical(A.T @ A, A.T @ A @ true, coordinates, (1e-8,))
    assert np.abs(A @ (z - true)).max() < 1e-3 * np.abs(A @ true).max()
    assert (np.linalg.eigvalsh(pseudo_inertias(z[:20].reshape(n, 10))) > 0).all()
    (bound,) = solve_physical(A.T @ A, A.T @ A @ (true - 100 * np.abs(true)), coordinates, (1e-8,))
    assert (np.linalg.eigvalsh(pseudo_inertias(bound[:20].reshape(n, 10))) > 0).all()
    assert bound[20] > 0 and bound[22] > 0


def test_base_parameters_explain_all_torques() -> None:
    tree = RigidBodyTree.from_urdf(ARM.rigid_body_urdf(), ARM.joint_names)
    base = find_base_parameters(tree, ARM.joint_names)
    # of six links, with the rotors of the joints behind the first two, and other friction
    assert len(base.leading) == 36 + 4 + 18
    rng = np.random.default_rng(0)
    null = rng.normal(size=60 + 24)
    null -= np.linalg.pinv(base.matrix) @ (base.matrix @ null)
    q, qd, qdd = (torch.from_numpy(rng.normal(size=(50, 6))) for _ in range(3))
    regressor = tree.regressor(q, qd, qdd)
    torques = (regressor @ torch.from_numpy(null[:60])).numpy()
    friction = null[60:].reshape(6, 4)
    torques += friction[:, 0] * qd.numpy() + friction[:, 3] * qdd.numpy()
    assert np.abs(torques).max() < 1e-6
    assert base.names[0] == "shoulder_pan_joint viscous"
    # a mass on the vertical axis moves nothing, and is none, in spite of rounding errors
    largest = regressor.abs().amax((0, 1)).numpy()
    assert largest[base.leading[base.leading < 60]].min() > 0.1


def test_correlated_noise_counts_less() -> None:
    white = np.random.default_rng(0).normal(size=(20_000, 1))
    a = 0.9
    slow = low_pass(white, (-1 / np.log(a),), 1.0)
    assert correlation_times(white)[0] == pytest.approx(1.0, abs=0.1)
    assert correlation_times(slow)[0] == pytest.approx((1 + a) / (1 - a), rel=0.3)


def test_known_parameters_lie_within_their_intervals() -> None:
    config = IdentificationBenchmarkConfig(trials=3, payloads=0, minutes=0.25)
    (row,) = measure_identification(config)["rows"].values()
    assert 90 < row["within 2 std"] <= 100 and row["within 3 std"] > 98


def test_spikes_hardly_move_the_parameters() -> None:
    rng = np.random.default_rng(0)
    parts = [excitation(ARM, seed, seconds=2.0) for seed in range(4)]
    clean = [replace(t, action=t.action + rng.normal(0, 0.3, t.action.shape)) for t in parts]
    spikes = [rng.random(t.action.shape) < 0.01 for t in parts]
    spiky = [
        replace(t, action=t.action + np.where(spike, rng.choice((-1, 1), spike.shape) * 100, 0))
        for t, spike in zip(clean, spikes, strict=True)
    ]
    models = []
    for recordings in (clean, spiky):
        model, data = new_model(), windows(recordings)
        model.fit(data.rows(slice(0, 750)), data.rows(slice(750, None)))
        models.append(model)
    report, spiky_report = (model.identification for model in models)
    assert report is not None and spiky_report is not None
    pairs = zip(report["base_parameters"], spiky_report["base_parameters"], strict=True)
    moved = [abs(a["value"] - b["value"]) / a["std"] for a, b in pairs if a["identified"]]
    assert np.max(moved) < 1.0 and np.median(moved) < 0.5
    for row, other in zip(report["noise_std"], spiky_report["noise_std"], strict=True):
        assert other < 1.5 * row


def test_friction_that_rises_with_load_and_towards_standstill_is_identified() -> None:
    rng = np.random.default_rng(0)
    true = new_model(gear_friction=((1.5, 0.06, 0.13),) * 6)
    true.friction.copy_(torch.tensor([4.0, 3.0, 0.5, 0.3]))
    parts = [excitation(ARM, seed) for seed in range(5)]
    for part in parts:
        exact = true.rigid_body_target(torch.from_numpy(part.motion)).numpy()
        part.action[:] = exact + rng.normal(0, 0.1, exact.shape)
    model = new_model()
    model.fit(windows(parts[:3]), windows(parts[3:4]))
    stribeck, load, velocity = np.array(model.meta.gear_friction).T
    np.testing.assert_allclose(stribeck, 1.5, atol=0.4)
    np.testing.assert_allclose(load[1:3], 0.06, atol=0.02)  # the others carry little
    np.testing.assert_allclose(velocity, 0.13, rtol=0.5)  # the candidates have steps of 50%
    (data,) = (windows(parts[4:]),)
    assert float((model.predict(data.motion, data.time).mean - data.action).std()) < 0.12


def test_runtime_filters_friction_like_the_model() -> None:
    gear_friction = tuple((0.5 * k, 0.03 * k, 0.1 + 0.05 * k) for k in range(6))
    config = {"friction_filter_time": [0.1, 0.0, 0.2, 0.1, 0.05, 0.1]}
    model = new_model(config=config, gear_friction=gear_friction)
    model.friction[:, 1] = 5.0
    data = windows([excitation(ARM, 0, seconds=0.5)])
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    runtime = MujocoRigidBody.from_tensors(model.meta, tensors)
    actual = runtime.predict(data.motion.numpy(), data.time.numpy()).mean
    expected = model.predict(data.motion, data.time).mean.numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="friction_filter_time has 2 values; ur5 has 6 joints"):
        new_model(config={"friction_filter_time": [0.1, 0.1]})


@pytest.mark.parametrize("lag", [(0.1,), (-0.1,) * 6, (9.0,) * 6])
def test_invalid_lag_is_refused(lag: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="effort_lag is"):
        new_model(effort_lag=lag)


def test_checkpoint_without_a_lag_is_readable() -> None:
    shipped = load(Path(__file__).parents[1] / "config" / "checkpoints" / "ur5")
    assert shipped.meta.effort_lag == ()
