"""Networks evaluated many times per training step, with gradients accumulated in place.

Autograd computes a gradient of all weights for each evaluation and then adds them up, which takes
about as long as the arithmetic. Here each evaluation adds to one buffer, and is one node of the
autograd graph instead of ten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def fused_mlp(network: nn.Sequential) -> Callable[[Tensor], Tensor]:
    """Return a perceptron of tanh layers as a function (N, i) -> (N, o) to evaluate many times.

    Call this once per training step. If gradients are disabled, it returns the network.
    """
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    sums = _accumulator([value for layer in linear for value in (layer.weight, layer.bias)])
    return network if sums is None else lambda x: _MlpFunction.apply(x, sums.anchor, sums)


def fused_gru_cell(cell: nn.GRUCell) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a GRU cell as a function (N, i), (N, h) -> (N, h), as `fused_mlp` does."""
    sums = _accumulator([cell.weight_ih, cell.bias_ih, cell.weight_hh, cell.bias_hh])
    return (
        cell
        if sums is None
        else lambda x, hidden: _GruCellFunction.apply(x, hidden, sums.anchor, sums)
    )


class _GradientAccumulator:
    """Weights (o, i) and biases (o,) in turn, and the sums of their gradients so far."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.gradients: list[Tensor] = []
        self.anchor: Tensor = _Anchor.apply(self, *parameters)  # an input of each evaluation

    def layer(self, k: int) -> tuple[Tensor, Tensor]:
        """Return the transposed weight (i, o) and the bias of a layer."""
        return self.parameters[2 * k].t(), self.parameters[2 * k + 1]

    def accumulate(self, k: int, inputs: Tensor, grad_output: Tensor) -> None:
        """Add the gradients of one evaluation of a layer.

        Args:
            k: index of the layer.
            inputs: (N, i) inputs of the layer.
            grad_output: (N, o) gradient of its outputs.
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
    """Input of all evaluations, so that its backward pass runs after those of all of them."""

    @staticmethod
    def forward(ctx: Any, sums: _GradientAccumulator, *parameters: Tensor) -> Tensor:
        ctx.sums = sums
        return parameters[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.sums.gradients = ctx.sums.gradients, []
        return None, *(gradients or [None] * len(ctx.sums.parameters))


class _MlpFunction(torch.autograd.Function):
    """One evaluation of a perceptron."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, sums: _GradientAccumulator) -> Tensor:
        inputs, last = [x], len(sums.parameters) // 2 - 1  # inputs of each layer
        for k in range(last):
            weight, bias = sums.layer(k)
            inputs.append(torch.addmm(bias, inputs[-1], weight).tanh_())
        ctx.save_for_backward(*inputs)
        ctx.sums = sums
        weight, bias = sums.layer(last)
        return torch.addmm(bias, inputs[-1], weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        sums, inputs = ctx.sums, ctx.saved_tensors
        for k in range(len(inputs) - 1, -1, -1):
            sums.accumulate(k, inputs[k], grad)
            grad = grad @ sums.parameters[2 * k]
            if k:
                grad = torch.ops.aten.tanh_backward(grad, inputs[k])
        return grad, grad.new_zeros(()), None


class _GruCellFunction(torch.autograd.Function):
    """One evaluation of a GRU cell, with the equations of nn.GRUCell."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, hidden: Tensor, anchor: Tensor, sums: _GradientAccumulator
    ) -> Tensor:
        from_input = torch.addmm(sums.parameters[1], x, sums.layer(0)[0])  # (N, 3h)
        from_hidden = torch.addmm(sums.parameters[3], hidden, sums.layer(1)[0])
        size = hidden.shape[1]
        gates = (from_input[:, : 2 * size] + from_hidden[:, : 2 * size]).sigmoid_()
        reset, update = gates.chunk(2, 1)
        hidden_new = from_hidden[:, 2 * size :]
        new = torch.addcmul(from_input[:, 2 * size :], reset, hidden_new).tanh_()
        ctx.save_for_backward(x, hidden, gates, hidden_new, new)
        ctx.sums = sums
        return torch.lerp(new, hidden, update)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        sums, (x, hidden, gates, hidden_new, new) = ctx.sums, ctx.saved_tensors
        reset, update = gates.chunk(2, 1)
        grad_hidden = grad * update
        grad_new = torch.ops.aten.tanh_backward(grad - grad_hidden, new)
        grad_gates = torch.cat([grad_new * hidden_new, grad * (hidden - new)], 1)
        grad_gates = torch.ops.aten.sigmoid_backward(grad_gates, gates)
        grad_from_input = torch.cat([grad_gates, grad_new], 1)
        grad_from_hidden = torch.cat([grad_gates, grad_new * reset], 1)
        sums.accumulate(0, x, grad_from_input)
        sums.accumulate(1, hidden, grad_from_hidden)
        grad_x = grad_from_input @ sums.parameters[0] if ctx.needs_input_grad[0] else None
        grad_hidden = torch.addmm(grad_hidden, grad_from_hidden, sums.parameters[2])
        return grad_x, grad_hidden, grad.new_zeros(()), None
