"""Families that keep physics: the learned Lagrangian, and a residual on a rigid body."""

from __future__ import annotations

import pytest
import torch
from oracle import excitation, robot
from torch import Tensor

from invdyn_ros.data.windows import windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.lagrangian import Lagrangian
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.training.inertia_check import acceleration_derivative

UR5 = robot("ur5")


def perturbed(family: str, unit: str = "N m", urdf: str = "") -> InverseDynamics:
    """Return a model with random weights and the scales of some data."""
    meta = ModelMetadata(family, "ur5", UR5.joint_names, unit, 125.0, 0.0, urdf)
    torch.manual_seed(0)
    model = build(meta).double()
    model.standardise(windows([excitation(UR5, 0, seconds=2.0)]))
    for value in model.parameters():
        value.data += 0.3 * value.requires_grad * torch.randn_like(value)
    return model


@pytest.fixture(scope="module")
def lagrangian() -> Lagrangian:
    model = perturbed("lagrangian")
    assert isinstance(model, Lagrangian)
    return model


def motion(count: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    q, qd, qdd = 2 * torch.randn(3, count, 6, generator=random, dtype=torch.float64)
    return q, qd, qdd


def lagrangian_value(model: Lagrangian, q: Tensor, qd: Tensor) -> Tensor:
    """Return K - V from the factor of the inertia and the product of all factors."""
    q, qd = (x.mT.unsqueeze(-1) for x in (q, qd))
    mean, std, root = (
        x[:, None, None]
        for x in (model.motion_mean[:6], model.motion_std[:6], model.inertia_scale.sqrt())
    )
    state = model.energy(q, (q - mean) / std, 1 / std, torch.zeros_like(q))
    momentum = (state.columns * root * qd).sum(0)
    potential = (state.factors[0] * state.products[0])[0] @ model.energy.potential
    return 0.5 * momentum.square().sum(-1) - model.target_std.max() * potential


def test_torque_obeys_the_euler_lagrange_equations(lagrangian: Lagrangian) -> None:
    q, qd, qdd = motion()

    def by_velocity(q: Tensor, qd: Tensor) -> Tensor:
        return torch.func.grad(lambda v: lagrangian_value(lagrangian, q, v).sum())(qd)

    rate = torch.func.jvp(by_velocity, (q, qd), (qd, qdd))[1]
    by_position = torch.func.grad(lambda p: lagrangian_value(lagrangian, p, qd).sum())(q)
    torch.testing.assert_close(lagrangian.lagrangian_torque(q, qd, qdd), rate - by_position)


def test_inertia_is_symmetric_and_positive_definite_for_any_weights() -> None:
    data = windows([excitation(UR5, 1, seconds=2.0)])
    for unit, symmetric in (("N m", True), ("rad", False)):
        model = perturbed("lagrangian", unit)
        assert isinstance(model, Lagrangian)
        assert (torch.linalg.eigvals(acceleration_derivative(model, data)).real > 0).all()
        model.friction.load.data.fill_(-30.0)  # no friction by load
        J = acceleration_derivative(model, data)
        assert torch.allclose(J, J.mT, rtol=1e-6) == symmetric
        assert (torch.linalg.eigvals(J).real > 0).all()


def test_whole_turn_of_a_joint_changes_nothing(lagrangian: Lagrangian) -> None:
    q, qd, qdd = motion()
    turn = 2 * torch.pi * torch.tensor([1, 0, -2, 0, 0, 1], dtype=q.dtype)
    torch.testing.assert_close(
        lagrangian.lagrangian_torque(q + turn, qd, qdd), lagrangian.lagrangian_torque(q, qd, qdd)
    )


def test_residual_starts_as_the_identified_rigid_body_and_keeps_its_inertia() -> None:
    train, val = (windows([excitation(UR5, seed, seconds=2.0)]) for seed in (0, 1))
    meta = perturbed("lagrangian", urdf=UR5.rigid_body_urdf()).meta
    models = {}
    for family in ("residual", "rigid_body"):
        models[family] = build(ModelMetadata(**(vars(meta) | {"family": family})))
        models[family].standardise(train)
        is_closed_form = models[family].fit(train, val)
        assert is_closed_form == (family == "rigid_body")
    residual, rigid_body = models["residual"], models["rigid_body"]
    before = residual.predict(*val[:2]).mean
    torch.testing.assert_close(before, rigid_body.predict(*val[:2]).mean)
    for value in residual.parameters():
        value.data += torch.randn_like(value)
    assert not torch.allclose(residual.predict(*val[:2]).mean, before)
    J, M = (acceleration_derivative(model, val) for model in (residual, rigid_body))
    torch.testing.assert_close(J, M)
