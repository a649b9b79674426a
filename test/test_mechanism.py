from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch
from bodies import columns, tree_of, truth
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


@pytest.fixture(scope="module")
def hoppers() -> list[Trajectory]:
    return list(passive_rollouts("hopper", PassiveRolloutConfig(300), 0))


def steps(name: str, trajectories: list[Trajectory]) -> Steps:
    order = columns(name)
    q, v = (
        torch.as_tensor(np.stack([getattr(t, part) for t in trajectories]))[..., order]
        for part in ("position", "velocity")
    )
    h = float(trajectories[0].time[1] - trajectories[0].time[0])
    parts = (x.flatten(0, 1) for x in (q[:, :-1], v[:, :-1], v[:, 1:]))
    return Steps(*parts, h)


def span(some: Steps) -> Tensor:
    return torch.full((len(some.q), 1), some.h, dtype=torch.float64)


@pytest.mark.parametrize("name", BODIES)
def test_mass_matrix_and_bias_are_those_of_mujoco(name: str) -> None:
    model, order = load_body(name), columns(name)
    data, (one, figures) = mujoco.MjData(model), truth(name)
    random, mass = np.random.default_rng(0), np.empty((model.nv, model.nv))
    for _ in range(3):
        data.qpos[:], data.qvel[:] = random.normal(size=(2, model.nv)) * [[2], [5]]
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, mass)
        q, v = (torch.as_tensor(x[order][None]) for x in (data.qpos, data.qvel))
        found = rigid_body_terms(figures.inertia, one.angle_matrix, q, v)
        whole = model.body_mass.sum()
        np.testing.assert_allclose(
            found.mass_matrix[0] * whole, mass[np.ix_(order, order)], atol=1e-9
        )
        np.testing.assert_allclose(found.qfrc_bias[0] * whole, data.qfrc_bias[order], atol=1e-9)
        faster = (
            rigid_body_terms(figures.inertia, one.angle_matrix, q, v + 1e-6).qfrc_bias
            - found.qfrc_bias
        )
        torch.testing.assert_close(found.qfrc_bias_vel.sum(2) * 1e-6, faster, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", BODIES)
def test_a_step_with_limits_floor_and_rods_is_that_of_mujoco(name: str) -> None:
    one, figures = truth(name)
    some = steps(name, list(passive_rollouts(name, PassiveRolloutConfig(30), 1)))
    q, v = one.step(figures, some.q, some.v, span(some))
    off = (v - some.next_v).abs().amax(1)
    assert float(off.quantile(0.999)) < 1e-4  # its solver ends at a tolerance
    free = off < 1e-4
    torch.testing.assert_close(q[free], (some.q + some.h * some.next_v)[free], atol=1e-6, rtol=0)


def test_a_step_back_undoes_a_step(hoppers: list[Trajectory]) -> None:
    one, figures = truth("hopper")
    some = steps("hopper", hoppers[:10])
    there = one.step(figures, some.q, some.v, span(some))
    q, v = one.step_backward(figures, *there, span(some))
    known = v.isfinite().all(1)
    assert float(known.double().mean()) > 0.99
    torch.testing.assert_close(q, some.q)
    assert float((v - some.v)[known].abs().amax(1).quantile(0.99)) < 1e-5


@pytest.mark.parametrize(("name", "seed"), [("hopper", 2), ("hopper", 3), ("walker", 2)])
def test_free_motion_tells_inertia_lengths_damping_and_gravity(name: str, seed: int) -> None:
    some = steps(name, list(passive_rollouts(name, PassiveRolloutConfig(100), seed)))
    some = some.select(torch.randperm(len(some.q), generator=torch.Generator().manual_seed(seed)))
    found, (_, figures) = identify_inertia(some, tree_of(name)[0]), truth(name)
    for own, true in zip(found.inertia, figures.inertia, strict=True):
        torch.testing.assert_close(own, true, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.hinge_pos, figures.hinge_pos, rtol=0, atol=1e-4)


def test_steps_that_are_no_free_fall_are_refused() -> None:
    noise = torch.randn(3, 500, 7, dtype=torch.float64)
    with pytest.raises(ValueError, match="of 500 steps are a free fall"):
        identify_inertia(Steps(*noise.unbind(), STEP), tree_of("hopper")[0])


def test_a_tree_whose_hinges_turn_the_other_way_is_refused(hoppers: list[Trajectory]) -> None:
    tree = replace(tree_of("hopper")[0], axis_signs=(1, -1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"free fall of such a tree|fit one set of figures"):
        identify_inertia(steps("hopper", hoppers[:60]), tree)


def test_a_body_that_nothing_ever_touches_cannot_tell_its_size(hoppers: list[Trajectory]) -> None:
    some, (one, figures) = steps("hopper", hoppers[:20]), truth("hopper")
    high = figures._replace(floor=figures.floor_height - 100, low=figures.lower - 100,
                            high=figures.upper + 100, radius=0 * figures.capsule_radius)  # fmt: skip
    after = one.step(high, some.q, some.v, span(some))[1]
    with pytest.raises(ValueError, match="nothing ever pushes the body from outside"):
        identify_inertia(some._replace(after=after), tree_of("hopper")[0])


@pytest.fixture(scope="module")
def identified(
    hoppers: list[Trajectory], tmp_path_factory: pytest.TempPathFactory
) -> IdentifiedBody:
    data, out = tmp_path_factory.mktemp("hoppers"), tmp_path_factory.mktemp("out")
    write_dataset(data / "data", hoppers, "hopper", 1 / STEP)
    fields = load_yaml(package_file("config/timeseries/hopper_identified_body.yaml")) | {
        "num_contact_steps": 150
    }
    train_time_series(parse_time_series_config(fields, "fields"), data / "data", out / "model")
    model = load_time_series_model(out / "model")
    assert isinstance(model, IdentifiedBody)
    return model


def test_rods_limits_floor_and_friction_come_out_as_they_are(identified: IdentifiedBody) -> None:
    found, (_, figures) = identified.body_parameters, truth("hopper")
    assert bool(identified.self_collision)
    for name in ("floor", "friction"):
        torch.testing.assert_close(
            getattr(found, name), getattr(figures, name), rtol=0.02, atol=1e-3
        )
    known = found.upper.isfinite()
    assert known.tolist() == figures.upper.isfinite().tolist()
    torch.testing.assert_close(found.upper[known], figures.upper[known], rtol=0, atol=5e-3)
    foot, true = (x.capsule_ends[-1][x.capsule_ends[-1][:, 0].argsort()] for x in (found, figures))
    torch.testing.assert_close(foot, true, rtol=0, atol=2e-3)
    torch.testing.assert_close(
        found.capsule_radius[-1], figures.capsule_radius[-1], rtol=0, atol=1e-3
    )


def test_it_says_what_happens_between_observations_and_after_the_last(
    identified: IdentifiedBody,
) -> None:
    test = split_into_motions(list(passive_rollouts("hopper", PassiveRolloutConfig(40), 3)), 200)
    between = subsample(test.state[:, :60], test.time[:, :60], 0.2, 0)
    first = torch.arange(200) < 100
    beyond = Observations(test.state, test.time, first.expand(40, -1))
    for record, ratio in ((between, 0.1), (beyond, 0.02)):
        wrong = ((identified.predict(record) - record.state) / identified.scale).square()
        hermite = (
            (interpolate(INTERPOLATORS["hermite"], record) - record.state) / identified.scale
        ).square()
        assert float(wrong.mean()) < ratio * float(hermite.mean())


@pytest.mark.parametrize("name", BODIES)
def test_a_shipped_body_says_what_follows(name: str) -> None:
    model = load_time_series_model(
        package_file(f"config/timeseries/checkpoints/{name}_identified_body")
    )
    test = split_into_motions(list(passive_rollouts(name, PassiveRolloutConfig(10, 120), 4)), 120)
    found = model.predict(
        Observations(test.state, test.time, (torch.arange(120) < 60).expand(10, -1))
    )
    wrong = ((found - test.state) / model.scale).square().mean((1, 2))
    assert float(wrong.median()) < 1e-6
    assert float(wrong.mean()) < 1e-3


def test_no_past_is_made_up(identified: IdentifiedBody) -> None:
    test = split_into_motions(list(passive_rollouts("hopper", PassiveRolloutConfig(20), 3)), 200)
    last = (torch.arange(200) == 199).expand(20, -1)
    found = identified.predict(Observations(test.state, test.time, last))
    assert found.isfinite().all()
    fastest = test.state[..., identified.n :].abs().amax()
    assert float(found[..., identified.n :].abs().amax()) < 3 * float(fastest)


def test_wrong_trees_are_named(hoppers: list[Trajectory]) -> None:
    names = hoppers[0].joint_names
    fields = load_yaml(package_file("config/timeseries/hopper_identified_body.yaml"))
    own = {
        key: fields[key]
        for key in ("x_joint", "z_joint", "hinges", "parents", "axis_signs", "capsules_per_link")
    }
    wrong = [
        (
            {"capsules_per_link": [1]},
            r"capsules_per_link is \[1\]; give one number for each of 5 links",
        ),
        ({"x_joint": "x"}, "the tree is of x, rootz, rooty.*; the machine has rootx"),
        ({"parents": [-1, 0, 1, 2]}, "parents are"),
        ({"parents": [-1, 0, 1, 2, 7]}, "parents are"),
        ({"axis_signs": [1, 1, 1, 1, 2]}, "axis_signs are"),
    ]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            build_time_series_model(
                TimeSeriesMetadata("identified_body", "hopper", names, 1 / STEP, own | change)
            )


def test_samples_that_are_not_a_step_apart_are_refused(hoppers: list[Trajectory]) -> None:
    names = hoppers[0].joint_names
    fields = load_yaml(package_file("config/timeseries/hopper_identified_body.yaml"))
    own = {
        key: fields[key]
        for key in ("x_joint", "z_joint", "hinges", "parents", "axis_signs", "capsules_per_link")
    }
    model = build_time_series_model(
        TimeSeriesMetadata("identified_body", "hopper", names, 1 / STEP, own)
    )
    part = split_into_motions([replace(t, time=2 * t.time) for t in hoppers[:3]], 200)
    with pytest.raises(ValueError, match=r"no two samples are 0\.005 s apart"):
        model.fit(part, Motions(*part))
