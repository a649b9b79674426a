"""Hybrid family: identification, Gaussian process residual and variance."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from oracle import excitation, robot, torque
from scipy.ndimage import gaussian_filter1d

from invdyn_ros.data.windows import Windows, windows
from invdyn_ros.models.gaussian_process import (
    GaussianProcess,
    fit_gaussian_process,
    posterior,
    select_inducing_points,
)
from invdyn_ros.models.hybrid import Hybrid
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.least_squares_identification import sum_normal_equations
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.parameter_identification import Bounds, cross_identify, identify
from invdyn_ros.models.registry import build
from invdyn_ros.models.variance_components import fit_variance_components
from invdyn_ros.robots.robot import Robot

SMALL = {"num_inducing": 24, "num_selection_rows": 600, "friction_filter_times": (0.0, 0.1)}
NOISE = 0.3  # [N m]


def stribeck(arm: Robot, motion: np.ndarray) -> np.ndarray:
    """Return torque with Stribeck friction that also depends on the direction."""
    qd = np.split(motion, 3, axis=1)[1]
    extra_friction = (
        2.0 * np.tanh(qd / 0.02) * np.exp(-np.abs(qd) / 0.3) + 1.0 * np.maximum(qd, 0) ** 2
    )
    return torque(arm, motion) + extra_friction


def filtered(arm: Robot, motion: np.ndarray) -> np.ndarray:
    """Return the torque, low-pass filtered as in a recording."""
    return gaussian_filter1d(torque(arm, motion), 0.08 * arm.rate, axis=0)


def noisy(arm: Robot, motion: np.ndarray) -> np.ndarray:
    wave = np.random.default_rng(int(1e6 * abs(motion[0, 0]))).normal(size=(len(motion), arm.n))
    return torque(arm, motion) + NOISE * wave


@cache
def data(torque_model: str, *seeds: int) -> Windows:
    torque_models = {"stribeck": stribeck, "filtered": filtered, "noisy": noisy}
    return windows(
        [excitation(robot("ur5"), seed, action=torque_models[torque_model]) for seed in seeds]
    )


@cache
def trained(family: str, torque_model: str) -> InverseDynamics:
    arm = robot("ur5")
    config = dict(SMALL) if family == "hybrid" else {"gear_friction": False}
    meta = ModelMetadata(
        family, "ur5", arm.joint_names, "N m", arm.rate, 0.0, arm.rigid_body_urdf(), config
    )
    model, train = build(meta), data(torque_model, 0, 1, 2, 3)
    model.standardise(train)
    assert model.fit(train, data(torque_model, 4))
    return model.eval()


def nmse(model: InverseDynamics, test: Windows) -> torch.Tensor:
    error = (model.predict(test.motion, test.time).mean - test.action)[:, 0]
    return error.square().mean(0) / test.action[:, 0].var(0)


@pytest.mark.parametrize("torque_model", ["stribeck", "filtered"])
def test_hybrid_learns_the_residual_of_the_rigid_body(torque_model: str) -> None:
    test = data(torque_model, 5, 6)
    rigid, hybrid = (
        nmse(trained(family, torque_model), test) for family in ("rigid_body", "hybrid")
    )
    assert hybrid.mean() < 0.5 * rigid.mean()
    assert (hybrid < 1.02 * rigid).all()


def test_friction_filter_time_is_identified() -> None:
    assert {
        round(x, 6)
        for x in trained("hybrid", "filtered").get_buffer("friction_filter_time").tolist()
    } == {0.1}
    assert set(trained("hybrid", "noisy").get_buffer("friction_filter_time").tolist()) == {0.0}


@pytest.mark.parametrize("torque_model", ["stribeck", "noisy"])
def test_out_of_distribution_hybrid_equals_the_rigid_body_with_large_std(
    torque_model: str,
) -> None:
    model = trained("hybrid", torque_model)
    assert isinstance(model, Hybrid)
    near = data(torque_model, 0).motion
    far = near + 40 * model.motion_std
    time = torch.zeros(len(near), 1)
    torch.testing.assert_close(model.predict(far, time).mean, model.rigid_body_target(far))
    std, near_std = model.predict(far, time).std, model.predict(near, time).std
    assert std is not None and near_std is not None
    assert (std.amin((0, 1)) > 3 * near_std.flatten(0, 1).quantile(0.95, dim=0)).all()


def test_correction_vanishes_where_the_rigid_body_is_exact() -> None:
    model = trained("hybrid", "noisy")
    rigid = nmse(trained("rigid_body", "noisy"), data("noisy", 5))
    assert (nmse(model, data("noisy", 5)) < 1.02 * rigid).all()
    correction = model.get_buffer("output_scale") / NOISE
    assert (correction < 0.3).all()


def test_standard_deviation_matches_the_noise() -> None:
    model, test = trained("hybrid", "noisy"), data("noisy", 5, 6)
    mean, std = model.predict(test.motion, test.time)
    assert std is not None
    z = ((test.action - mean) / std).abs()
    assert 0.64 < (z < 1).double().mean() < 0.74
    assert 0.93 < (z < 2).double().mean() < 0.98


def test_process_interpolates_and_returns_to_the_prior_far_from_the_data() -> None:
    x = torch.linspace(-3, 3, 60, dtype=torch.float64)[:, None, None]
    y, weight = torch.sin(2 * x[..., 0]), torch.ones(60, 1, dtype=torch.float64)
    noise = torch.full((1,), 1e-4, dtype=torch.float64)
    process = fit_gaussian_process(x, y, weight, noise, select_inducing_points(x, 20))
    mean, variance = posterior(process, x)
    torch.testing.assert_close(mean, y, atol=1e-2, rtol=0)
    assert variance.max() < 1e-3
    mean, variance = posterior(process, x + 20)
    assert mean.abs().max() < 1e-9 and variance.min() > 1 - 1e-9


def test_process_is_exact_with_all_rows_as_inducing_points() -> None:
    generator = torch.Generator().manual_seed(0)
    x, new = torch.randn(2, 12, 2, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(12, 2, generator=generator, dtype=torch.float64)
    weight = 0.5 + torch.rand(12, 2, generator=generator, dtype=torch.float64)
    noise = torch.tensor([0.1, 0.5], dtype=torch.float64)
    mean, variance = posterior(
        fit_gaussian_process(x, y, weight, noise, select_inducing_points(x, 12)), new
    )
    for j in range(2):
        gram = torch.exp(-0.5 * torch.cdist(x[:, j], x[:, j]) ** 2)
        gram += torch.diag(noise[j] / weight[:, j] ** 2)
        k = torch.exp(-0.5 * torch.cdist(new[:, j], x[:, j]) ** 2)
        torch.testing.assert_close(
            mean[:, j], k @ torch.linalg.solve(gram, y[:, j]), atol=1e-4, rtol=0
        )
        expected_variance = 1 - (k * torch.linalg.solve(gram, k.T).T).sum(1)
        torch.testing.assert_close(variance[:, j], expected_variance, atol=1e-4, rtol=0)


def test_more_inducing_points_than_rows_are_accepted() -> None:
    x = torch.tensor([[[0.0]], [[1.0]]], dtype=torch.float64)
    y = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    process = fit_gaussian_process(
        x, y, torch.ones_like(y), torch.full((1,), 1e-3).double(), select_inducing_points(x, 8)
    )
    assert all(torch.isfinite(part).all() for part in GaussianProcess(*process))
    torch.testing.assert_close(posterior(process, x)[0], y, atol=0.02, rtol=0)


def test_variance_components_are_recovered() -> None:
    generator = torch.Generator().manual_seed(0)
    terms = torch.rand(20_000, 1, 2, generator=generator, dtype=torch.float64)
    true = torch.tensor([[0.5, 3.0]], dtype=torch.float64)
    error = (terms * true).sum(-1).sqrt() * torch.randn(20_000, 1, generator=generator).double()
    torch.testing.assert_close(fit_variance_components(terms, error), true, rtol=0.1, atol=0)


def test_cross_identification_ends_with_the_fit_to_all_folds() -> None:
    model = trained("rigid_body", "noisy")
    parts = [model.normal_equations(data("noisy", seed)) for seed in (0, 1, 2)]  # type: ignore[operator]
    prior = build(model.meta).tree.inertial.flatten()  # type: ignore[union-attr]
    bounds, total = Bounds(is_torque=True), sum_normal_equations(parts)
    final, folds, error = cross_identify(parts, prior, bounds)
    expected = identify(total, total, prior, bounds, (1e-6,))
    torch.testing.assert_close(final.friction, expected.friction, atol=0.05, rtol=0.05)
    assert len(folds) == 3
    torch.testing.assert_close(error.sqrt(), torch.full_like(error, NOISE), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"friction_filter_times": ()}, "friction_filter_times is"),
        ({"num_inducing": 0}, "num_inducing is 0"),
        ({"num_selection_rows": 3}, "num_selection_rows is 3"),
    ],
)
def test_invalid_fields_are_named(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Hybrid.Config(**values)
