"""Planar bodies: simulation as in MuJoCo, and identification of their parameters."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from mujoco_bodies import joint_order, load_tree, mujoco_parameters
from torch import Tensor

from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.planar_body.dynamics import rigid_body_terms
from invdyn_ros.models.planar_body.inertia_identification import Steps, identify_inertia
from invdyn_ros.models.timeseries.identified_body import IdentifiedBody
from invdyn_ros.models.timeseries.interpolation_baselines import INTERPOLATORS, interpolate
from invdyn_ros.models.timeseries.observations import (
    Motions,
    Observations,
    split_into_motions,
    subsample,
)
from invdyn_ros.models.timeseries.registry import build_time_series_model, load_time_series_model
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata
from invdyn_ros.robots.robot import package_file
from invdyn_ros.sources.passive_rollouts import (
    BODIES,
    PassiveRolloutConfig,
    load_body,
    passive_rollouts,
)
from invdyn_ros.training.train_time_series import parse_time_series_config, train_time_series

STEP = 0.005  # [s] of the hopper's simulation
TREE_FIELDS = ("x_joint", "z_joint", "hinges", "parents", "axis_signs", "capsules_per_link")


@pytest.fixture(scope="module")
def hoppers() -> list[Trajectory]:
    return list(passive_rollouts("hopper", PassiveRolloutConfig(300), 0))


def steps_of(name: str, trajectories: list[Trajectory]) -> Steps:
    order = joint_order(name)
    q, v = (
        torch.as_tensor(np.stack([getattr(t, part) for t in trajectories]))[..., order]
        for part in ("position", "velocity")
    )
    h = float(trajectories[0].time[1] - trajectories[0].time[0])
    parts = (x.flatten(0, 1) for x in (q[:, :-1], v[:, :-1], v[:, 1:]))
    return Steps(*parts, h)


def duration(steps: Steps) -> Tensor:
    return torch.full((len(steps.q), 1), steps.h, dtype=torch.float64)


@pytest.mark.parametrize("name", BODIES)
def test_mass_matrix_and_bias_are_those_of_mujoco(name: str) -> None:
    model, order = load_body(name), joint_order(name)
    data, (body, parameters) = mujoco.MjData(model), mujoco_parameters(name)
    random, mass = np.random.default_rng(0), np.empty((model.nv, model.nv))
    for _ in range(3):
        data.qpos[:], data.qvel[:] = random.normal(size=(2, model.nv)) * [[2], [5]]
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, mass)
        q, v = (torch.as_tensor(x[order][None]) for x in (data.qpos, data.qvel))
        terms = rigid_body_terms(parameters.inertia, body.angle_matrix, q, v)
        total = model.body_mass.sum()
        np.testing.assert_allclose(
            terms.mass_matrix[0] * total, mass[np.ix_(order, order)], atol=1e-9
        )
        np.testing.assert_allclose(terms.qfrc_bias[0] * total, data.qfrc_bias[order], atol=1e-9)
        faster = rigid_body_terms(parameters.inertia, body.angle_matrix, q, v + 1e-6)
        torch.testing.assert_close(
            terms.qfrc_bias_vel.sum(2) * 1e-6,
            faster.qfrc_bias - terms.qfrc_bias,
            rtol=1e-4,
            atol=1e-9,
        )


@pytest.mark.parametrize("name", BODIES)
def test_step_with_limits_floor_and_capsules_is_that_of_mujoco(name: str) -> None:
    body, parameters = mujoco_parameters(name)
    steps = steps_of(name, list(passive_rollouts(name, PassiveRolloutConfig(30), 1)))
    q, v = body.step(parameters, steps.q, steps.v, duration(steps))
    error = (v - steps.next_v).abs().amax(1)
    assert float(error.quantile(0.999)) < 1e-4  # MuJoCo's solver stops at a tolerance
    equal = error < 1e-4
    expected = (steps.q + steps.h * steps.next_v)[equal]
    torch.testing.assert_close(q[equal], expected, atol=1e-6, rtol=0)


def test_backward_step_inverts_step(hoppers: list[Trajectory]) -> None:
    body, parameters = mujoco_parameters("hopper")
    steps = steps_of("hopper", hoppers[:10])
    following = body.step(parameters, steps.q, steps.v, duration(steps))
    q, v = body.step_backward(parameters, *following, duration(steps))
    solved = v.isfinite().all(1)
    assert float(solved.double().mean()) > 0.99
    torch.testing.assert_close(q, steps.q)
    assert float((v - steps.v)[solved].abs().amax(1).quantile(0.99)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [("hopper", 2), ("walker", 2)])
def test_free_motion_identifies_inertia_lengths_damping_and_gravity(name: str, seed: int) -> None:
    steps = steps_of(name, list(passive_rollouts(name, PassiveRolloutConfig(100), seed)))
    generator = torch.Generator().manual_seed(seed)
    steps = steps.select(torch.randperm(len(steps.q), generator=generator))
    identified, (_, true) = identify_inertia(steps, load_tree(name)[0]), mujoco_parameters(name)
    for value, expected in zip(identified.inertia, true.inertia, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(identified.hinge_pos, true.hinge_pos, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 107])  # the normal matrix of the second one is singular
def test_steps_without_free_fall_are_refused(seed: int) -> None:
    torch.manual_seed(seed)
    noise = torch.randn(3, 500, 7, dtype=torch.float64)
    with pytest.raises(ValueError, match="of 500 steps are free fall"):
        identify_inertia(Steps(*noise.unbind(), STEP), load_tree("hopper")[0])


def test_tree_with_a_wrong_axis_sign_is_refused(hoppers: list[Trajectory]) -> None:
    tree = replace(load_tree("hopper")[0], axis_signs=(1, -1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"free fall of such a tree|fit one set of parameters"):
        identify_inertia(steps_of("hopper", hoppers[:60]), tree)


def test_scale_of_a_body_without_contacts_cannot_be_identified(hoppers: list[Trajectory]) -> None:
    steps, (body, parameters) = steps_of("hopper", hoppers[:20]), mujoco_parameters("hopper")
    flying = parameters._replace(
        floor_height=parameters.floor_height - 100,
        lower=parameters.lower - 100,
        upper=parameters.upper + 100,
        capsule_radius=0 * parameters.capsule_radius,
    )
    next_v = body.step(flying, steps.q, steps.v, duration(steps))[1]
    with pytest.raises(ValueError, match="no external force ever acts on the body"):
        identify_inertia(steps._replace(next_v=next_v), load_tree("hopper")[0])


@pytest.fixture(scope="module")
def identified(
    hoppers: list[Trajectory], tmp_path_factory: pytest.TempPathFactory
) -> IdentifiedBody:
    data, out = tmp_path_factory.mktemp("hoppers"), tmp_path_factory.mktemp("out")
    write_dataset(data / "data", hoppers, "hopper", 1 / STEP)
    fields = load_yaml(package_file("config/timeseries/hopper_identified_body.yaml"))
    fields |= {"num_contact_steps": 150}
    train_time_series(parse_time_series_config(fields, "fields"), data / "data", out / "model")
    model = load_time_series_model(out / "model")
    assert isinstance(model, IdentifiedBody)
    return model


@pytest.mark.slow
def test_capsules_limits_floor_and_friction_are_identified(identified: IdentifiedBody) -> None:
    parameters, (_, true) = identified.body_parameters, mujoco_parameters("hopper")
    assert bool(identified.self_collision)
    for name in ("floor_height", "friction"):
        value, expected = getattr(parameters, name), getattr(true, name)
        torch.testing.assert_close(value, expected, rtol=0.02, atol=1e-3)
    limited = parameters.upper.isfinite()
    assert limited.tolist() == true.upper.isfinite().tolist()
    torch.testing.assert_close(parameters.upper[limited], true.upper[limited], rtol=0, atol=5e-3)
    foot, true_foot = (
        x.capsule_ends[-1][x.capsule_ends[-1][:, 0].argsort()] for x in (parameters, true)
    )
    torch.testing.assert_close(foot, true_foot, rtol=0, atol=2e-3)
    torch.testing.assert_close(
        parameters.capsule_radius[-1], true.capsule_radius[-1], rtol=0, atol=1e-3
    )


def test_identified_body_interpolates_and_extrapolates(identified: IdentifiedBody) -> None:
    test = split_into_motions(list(passive_rollouts("hopper", PassiveRolloutConfig(40), 3)), 200)
    interpolation = subsample(test.state[:, :60], test.time[:, :60], 0.2, 0)
    first_half = torch.arange(200) < 100
    extrapolation = Observations(test.state, test.time, first_half.expand(40, -1))
    for observations, ratio in ((interpolation, 0.1), (extrapolation, 0.02)):
        error, hermite_error = (
            ((states - observations.state) / identified.scale).square().mean()
            for states in (
                identified.predict(observations),
                interpolate(INTERPOLATORS["hermite"], observations),
            )
        )
        assert float(error) < ratio * float(hermite_error)


@pytest.mark.parametrize("name", BODIES)
def test_shipped_body_extrapolates(name: str) -> None:
    folder = package_file(f"config/timeseries/checkpoints/{name}_identified_body")
    model = load_time_series_model(folder)
    test = split_into_motions(list(passive_rollouts(name, PassiveRolloutConfig(10, 120), 4)), 120)
    predicted = model.predict(
        Observations(test.state, test.time, (torch.arange(120) < 60).expand(10, -1))
    )
    error = ((predicted - test.state) / model.scale).square().mean((1, 2))
    assert float(error.median()) < 1e-6
    assert float(error.mean()) < 1e-3


@pytest.mark.slow
def test_velocities_before_the_first_observation_are_bounded(identified: IdentifiedBody) -> None:
    test = split_into_motions(list(passive_rollouts("hopper", PassiveRolloutConfig(10), 3)), 100)
    last = (torch.arange(100) == 99).expand(len(test.state), -1)
    predicted = identified.predict(Observations(test.state, test.time, last))
    assert predicted.isfinite().all()
    fastest = test.state[..., identified.n :].abs().amax()
    assert float(predicted[..., identified.n :].abs().amax()) < 3 * float(fastest)


def tree_fields() -> dict[str, object]:
    fields = load_yaml(package_file("config/timeseries/hopper_identified_body.yaml"))
    return {key: fields[key] for key in TREE_FIELDS}


def test_wrong_trees_are_refused(hoppers: list[Trajectory]) -> None:
    names = hoppers[0].joint_names
    cases: list[tuple[dict[str, object], str]] = [
        (
            {"capsules_per_link": [1]},
            r"capsules_per_link is \[1\]; give one number for each of the 5 links",
        ),
        ({"x_joint": "x"}, "the tree has joints x, rootz, rooty.*; the robot has rootx"),
        ({"parents": [-1, 0, 1, 2]}, "parents are"),
        ({"parents": [-1, 0, 1, 2, 7]}, "parents are"),
        ({"axis_signs": [1, 1, 1, 1, 2]}, "axis_signs are"),
    ]
    for change, message in cases:
        config = tree_fields() | change
        with pytest.raises(ValueError, match=message):
            build_time_series_model(
                TimeSeriesMetadata("identified_body", "hopper", names, 1 / STEP, config)
            )


def test_samples_that_are_not_a_step_apart_are_refused(hoppers: list[Trajectory]) -> None:
    names = hoppers[0].joint_names
    model = build_time_series_model(
        TimeSeriesMetadata("identified_body", "hopper", names, 1 / STEP, tree_fields())
    )
    part = split_into_motions([replace(t, time=2 * t.time) for t in hoppers[:3]], 200)
    with pytest.raises(ValueError, match=r"no two samples are one sample period, 0\.005 s, apart"):
        model.fit(part, Motions(*part))
