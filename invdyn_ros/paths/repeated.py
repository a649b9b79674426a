"""A network that a step of training evaluates over and over: gradients of its weights at once.

Autograd makes a gradient of all weights per evaluation and then adds them up, which costs as much
memory traffic as arithmetic. Here each evaluation's part is added where the sum stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def repeated(network: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """Return a perceptron of tanh layers as a function (N, i) -> (N, o) to evaluate many times.

    Call this anew in each step of training; where no gradient is asked for, it is the network.
    """
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    device = linear[0].weight.device.type
    if not torch.is_grad_enabled() or torch.is_autocast_enabled(device):
        return network
    sums = _Sums(linear)
    ticket = _Start.apply(sums, *sums.weights, *sums.biases)
    return lambda x: _Evaluate.apply(x, ticket, sums)


class _Sums:
    """The weights of all layers, and the sums of their gradients over evaluations."""

    def __init__(self, linear: list[nn.Linear]) -> None:
        self.weights = [layer.weight for layer in linear]  # (o, i)
        self.biases = [layer.bias for layer in linear]  # (o,)
        self.by_weight: list[Tensor] = []
        self.by_bias: list[Tensor] = []

    def begin(self) -> None:
        """Start from zero, once per pass backward."""
        if not self.by_weight:
            self.by_weight = [torch.zeros_like(weight) for weight in self.weights]
            self.by_bias = [torch.zeros_like(bias) for bias in self.biases]

    def end(self) -> list[Tensor]:
        """Return the sums and forget them."""
        self.begin()
        found = self.by_weight + self.by_bias
        self.by_weight, self.by_bias = [], []
        return found


class _Start(torch.autograd.Function):
    """Stands before all evaluations, so that autograd comes back to it after the last of them."""

    @staticmethod
    def forward(ctx: Any, sums: _Sums, *_: Tensor) -> Tensor:
        ctx.sums = sums
        return sums.weights[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.sums.end()


class _Evaluate(torch.autograd.Function):
    """One evaluation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ticket: Tensor, sums: _Sums) -> Tensor:
        read = [x]  # by each layer
        for weight, bias in zip(sums.weights[:-1], sums.biases[:-1], strict=True):
            read.append(torch.addmm(bias, read[-1], weight.t()).tanh_())
        ctx.save_for_backward(*read)
        ctx.sums = sums
        return torch.addmm(sums.biases[-1], read[-1], sums.weights[-1].t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor, None]:
        sums, read = ctx.sums, ctx.saved_tensors
        sums.begin()
        for k in range(len(read) - 1, -1, -1):
            sums.by_weight[k].addmm_(slope.t(), read[k])
            sums.by_bias[k].add_(slope.sum(0))
            if k or ctx.needs_input_grad[0]:
                slope = slope @ sums.weights[k]
            if k:
                slope = torch.ops.aten.tanh_backward(slope, read[k])
        return slope if ctx.needs_input_grad[0] else None, slope.new_zeros(()), None
