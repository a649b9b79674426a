from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchdiffeq import odeint

from invdyn_ros.models.timeseries.encoder_model import mlp
from invdyn_ros.models.timeseries.fused_gradients import fused_gru_cell, fused_mlp
from invdyn_ros.models.timeseries.latent_ode import odeint_bosh3
from invdyn_ros.models.timeseries.observations import split_into_motions, subsample
from invdyn_ros.models.timeseries.registry import load_time_series_model
from invdyn_ros.robots.robot import package_file
from invdyn_ros.sources.passive_rollouts import PassiveRolloutConfig, passive_rollouts


def gradients(module: nn.Module, loss: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [*module.parameters(), *inputs]))


def test_fused_mlp_has_the_gradients_of_autograd() -> None:
    torch.manual_seed(0)
    net = mlp(3, 8, 2, 3).double()
    start = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for f in (net, fused_mlp(net)):
        z = start
        for _ in range(4):
            z = z + 0.3 * f(z)
        results.append([z, *gradients(net, z.square().sum(), start)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_fused_gru_cell_has_the_gradients_of_autograd() -> None:
    torch.manual_seed(0)
    cell = nn.GRUCell(2, 4).double()
    inputs = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    results = []
    for f in (cell, fused_gru_cell(cell)):
        code = torch.zeros(5, 4, dtype=torch.float64)
        for x in inputs:
            code = f(x, code)
        results.append([code, *gradients(cell, code.square().sum(), inputs)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_second_backward_pass_starts_from_zero() -> None:
    net = mlp(2, 4, 1, 1)
    f, x = fused_mlp(net), torch.ones(1, 2)
    loss = f(x).sum()
    first = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(net.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_without_gradients_the_network_itself_is_returned() -> None:
    net, cell = mlp(2, 4, 1, 1), nn.GRUCell(2, 4)
    with torch.no_grad():
        assert fused_mlp(net) is net
        assert fused_gru_cell(cell) is cell


def test_solver_agrees_with_torchdiffeq() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(3, 3, dtype=torch.float64)
    field: Callable[..., torch.Tensor] = lambda z: torch.tanh(z @ matrix)  # noqa: E731
    start, time = torch.randn(4, 3, dtype=torch.float64), torch.rand(4, 7).double().sort(1).values
    results = odeint_bosh3(field, start, time, 0.05)  # type: ignore[arg-type]
    for one, at, states in zip(start, time, results, strict=True):
        grid = torch.cat([torch.zeros(1).double(), at])
        expected = odeint(lambda t, z: field(z), one[None], grid, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(states, expected[1:, 0], rtol=0, atol=2e-5)


def test_solution_does_not_depend_on_the_other_requested_times() -> None:
    torch.manual_seed(0)
    start, time = torch.randn(2, 3), torch.rand(2, 9).sort(1).values
    results = odeint_bosh3(torch.tanh, start, time, 0.3)
    torch.testing.assert_close(odeint_bosh3(torch.tanh, start, time[:, :4], 0.3), results[:, :4])


def test_solver_is_of_third_order() -> None:
    start, time = torch.ones(1, 1).double(), torch.linspace(0, 1.2, 50).double()[None]
    expected = time.neg().exp()
    far, near = (
        float((odeint_bosh3(torch.neg, start, time, step)[..., 0] - expected).abs().max())
        for step in (0.2, 0.1)
    )
    assert far / near == pytest.approx(8, rel=0.3)


def test_shipped_latent_ode_is_as_accurate_as_the_published_one() -> None:
    model = load_time_series_model(package_file("config/timeseries/checkpoints/hopper_latent_ode"))
    state, time = split_into_motions(
        list(passive_rollouts("hopper", PassiveRolloutConfig(300), 4)), 200
    )  # not in the training data
    torch.manual_seed(0)
    rows = torch.randint(101, (len(state), 1)) + torch.arange(
        100
    )  # a window of each motion, as in the paper
    state, time = state[torch.arange(len(state))[:, None], rows], time[:, :100]
    for fraction, published in ((0.1, 0.0036), (0.2, 0.00295), (0.3, 0.003), (0.5, 0.00285)):
        results = model.predict(subsample(state, time, fraction, 0))
        assert float(((results - state) / model.scale).square().mean()) < 1.2 * published
