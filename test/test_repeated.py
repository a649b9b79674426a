from __future__ import annotations

import torch
from torch import nn

from invdyn_ros.paths.encoded import perceptron
from invdyn_ros.paths.repeated import repeated, repeated_cell


def gradients(module: nn.Module, loss: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [*module.parameters(), *others]))


def test_a_network_on_top_of_itself_has_the_gradients_of_autograd() -> None:
    torch.manual_seed(0)
    net = perceptron(3, 8, 2, 3).double()
    start = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for f in (net, repeated(net)):
        z = start
        for _ in range(4):
            z = z + 0.3 * f(z)
        found.append([z, *gradients(net, z.square().sum(), start)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_recurrent_units_have_the_gradients_of_autograd() -> None:
    torch.manual_seed(0)
    cell = nn.GRUCell(2, 4).double()
    inputs = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    found = []
    for f in (cell, repeated_cell(cell)):
        code = torch.zeros(5, 4, dtype=torch.float64)
        for x in inputs:
            code = f(x, code)
        found.append([code, *gradients(cell, code.square().sum(), inputs)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_second_pass_backward_starts_from_zero() -> None:
    net = perceptron(2, 4, 1, 1)
    f, x = repeated(net), torch.ones(1, 2)
    loss = f(x).sum()
    first = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(net.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_without_gradients_it_is_the_network_itself() -> None:
    net, cell = perceptron(2, 4, 1, 1), nn.GRUCell(2, 4)
    with torch.no_grad():
        assert repeated(net) is net
        assert repeated_cell(cell) is cell
