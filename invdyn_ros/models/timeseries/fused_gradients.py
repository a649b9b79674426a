"""Networks that a step of training evaluates over and over: gradients of their weights at once.

Autograd makes a gradient of all weights per evaluation and then adds them up, which takes about as
long as the arithmetic. Here each evaluation adds its part where the sum stands, and is one node of
autograd's instead of ten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def fused_mlp(network: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """Return a perceptron of tanh layers as a function (N, i) -> (N, o) to evaluate many times.

    Call this anew in each step of training; where no gradient is asked for, it is the network.
    """
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    sums = _accumulator([value for layer in linear for value in (layer.weight, layer.bias)])
    return network if sums is None else lambda x: _MlpFunction.apply(x, sums.anchor, sums)


def fused_gru_cell(cell: nn.GRUCell) -> Callable[[Tensor, Tensor], Tensor]:
    """Return recurrent units as a function (N, i), (N, h) -> (N, h), as `repeated` does."""
    sums = _accumulator([cell.weight_ih, cell.bias_ih, cell.weight_hh, cell.bias_hh])
    return (
        cell
        if sums is None
        else lambda x, code: _GruCellFunction.apply(x, code, sums.anchor, sums)
    )


class _GradientAccumulator:
    """Weights (o, i) and biases (o,) in turn, and the sums of their gradients so far."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.gradients: list[Tensor] = []
        self.anchor: Tensor = _Anchor.apply(self, *parameters)  # what each evaluation depends on

    def layer(self, k: int) -> tuple[Tensor, Tensor]:
        """Return the transposed weight (i, o) and the bias of a layer."""
        return self.parameters[2 * k].t(), self.parameters[2 * k + 1]

    def accumulate(self, k: int, inputs: Tensor, grad_output: Tensor) -> None:
        """Add what an evaluation has to say about a layer.

        Args:
            k: number of the layer.
            read: (N, i) what it read.
            slope: (N, o) gradient of what it said.
        """
        if not self.gradients:
            self.gradients = [torch.zeros_like(value) for value in self.parameters]
        self.gradients[2 * k].addmm_(grad_output.t(), inputs)
        self.gradients[2 * k + 1].add_(grad_output.sum(0))


def _accumulator(parameters: Sequence[Tensor]) -> _GradientAccumulator | None:
    device = parameters[0].device.type
    if torch.is_grad_enabled() and not torch.is_autocast_enabled(device):
        return _GradientAccumulator(parameters)
    return None


class _Anchor(torch.autograd.Function):
    """Stands before all evaluations, so that autograd comes back to it after the last of them."""

    @staticmethod
    def forward(ctx: Any, sums: _GradientAccumulator, *parameters: Tensor) -> Tensor:
        ctx.sums = sums
        return parameters[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        found, ctx.sums.found = ctx.sums.found, []
        return None, *(found or [None] * len(ctx.sums.parameters))


class _MlpFunction(torch.autograd.Function):
    """One evaluation of a perceptron."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ticket: Tensor, sums: _GradientAccumulator) -> Tensor:
        read, last = [x], len(sums.parameters) // 2 - 1  # read by each layer
        for k in range(last):
            weight, bias = sums.layer(k)
            read.append(torch.addmm(bias, read[-1], weight).tanh_())
        ctx.save_for_backward(*read)
        ctx.sums = sums
        weight, bias = sums.layer(last)
        return torch.addmm(bias, read[-1], weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        sums, read = ctx.sums, ctx.saved_tensors
        for k in range(len(read) - 1, -1, -1):
            sums.add(k, read[k], slope)
            slope = slope @ sums.parameters[2 * k]
            if k:
                slope = torch.ops.aten.tanh_backward(slope, read[k])
        return slope, slope.new_zeros(()), None


class _GruCellFunction(torch.autograd.Function):
    """One evaluation of gated recurrent units, as those of nn.GRUCell."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, code: Tensor, ticket: Tensor, sums: _GradientAccumulator
    ) -> Tensor:
        told = torch.addmm(sums.parameters[1], x, sums.layer(0)[0])  # (N, 3h)
        kept = torch.addmm(sums.parameters[3], code, sums.layer(1)[0])
        size = code.shape[1]
        gates = (told[:, : 2 * size] + kept[:, : 2 * size]).sigmoid_()
        reset, stay = gates.chunk(2, 1)
        was = kept[:, 2 * size :]
        new = torch.addcmul(told[:, 2 * size :], reset, was).tanh_()
        ctx.save_for_backward(x, code, gates, was, new)
        ctx.sums = sums
        return torch.lerp(new, code, stay)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        sums, (x, code, gates, was, new) = ctx.sums, ctx.saved_tensors
        reset, stay = gates.chunk(2, 1)
        by_code = slope * stay
        by_new = torch.ops.aten.tanh_backward(slope - by_code, new)
        by_gates = torch.cat([by_new * was, slope * (code - new)], 1)
        by_gates = torch.ops.aten.sigmoid_backward(by_gates, gates)
        by_told = torch.cat([by_gates, by_new], 1)
        by_kept = torch.cat([by_gates, by_new * reset], 1)
        sums.add(0, x, by_told)
        sums.add(1, code, by_kept)
        by_x = by_told @ sums.parameters[0] if ctx.needs_input_grad[0] else None
        by_code = torch.addmm(by_code, by_kept, sums.parameters[2])
        return by_x, by_code, slope.new_zeros(()), None
