"""A small network that learns exclusive or: one, if and only if its two inputs differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import nn

from invdyn_ros.config import PositiveInts, Validated
from invdyn_ros.models.dense_network import (
    DenseNetwork,
    Feature,
    NetworkInput,
    NetworkOutput,
    copy_network,
    stack_layers,
)
from invdyn_ros.models.network_history import (
    Loss,
    NetworkHistory,
    Samples,
    SnapshotList,
    thin_losses,
)
from invdyn_ros.models.pruning import Mask
from invdyn_ros.typing import Array

CASES = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
TARGETS = np.array([[0], [1], [1], [0]], np.float32)
XOR_SAMPLES = Samples(CASES.astype(float), TARGETS.astype(float), "all four cases")
RIGHT = 0.5  # a prediction is right if it is nearer to its target than this


@dataclass(frozen=True)
class XorConfig(Validated):
    """Size and training of the network."""

    widths: PositiveInts = (8, 8)
    """Units per hidden layer."""
    epochs: PositiveInt = 20_000
    """Steps of gradient descent, each on all four cases."""
    learning_rate: PositiveFloat = 0.05
    """Learning rate."""
    seed: int = 0
    """Random seed of the first weights."""


def build_xor(config: XorConfig) -> DenseNetwork:
    """Return an untrained network."""
    modules: list[nn.Module] = []
    inputs = 2
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        for width in config.widths:
            modules += [nn.Linear(inputs, width), nn.Tanh()]
            inputs = width
        net = nn.Sequential(*modules, nn.Linear(inputs, 1), nn.Sigmoid()).requires_grad_(False)
    variables = tuple(NetworkInput(name, "", 0.0, 1.0, 0.0) for name in ("a", "b"))
    outputs = (NetworkOutput("a xor b", ""),)
    return DenseNetwork(variables, (Feature(0), Feature(1)), stack_layers(net), outputs)


def train_xor(
    config: XorConfig, first: DenseNetwork | None = None, mask: Mask | None = None
) -> NetworkHistory:
    """Train the network and return its history.

    Args:
        config: size and training.
        first: first weights, which are not changed; None: random ones.
        mask: which weights are kept, the others stay as they are; None: all.
    """
    network = copy_network(build_xor(config) if first is None else first)
    snapshots, losses = SnapshotList(network.layers), []
    snapshots.record(0)
    parameters = [(layer.weight.numpy(), layer.bias.numpy()) for layer in network.layers]
    rates = [np.full_like(weight, config.learning_rate) for weight, _ in parameters]
    if mask is not None:
        rates = [rate * keep.numpy() for rate, keep in zip(rates, mask, strict=True)]
    for epoch in range(1, config.epochs + 1):
        loss = gradient_step(parameters, rates, config.learning_rate)
        losses.append(Loss(epoch, loss, loss))
        snapshots.record(epoch)
    return NetworkHistory(
        "Exclusive or",
        network.inputs,
        network.features,
        network.outputs,
        snapshots.shapes,
        snapshots.up_to(config.epochs),
        thin_losses(losses),
        XOR_SAMPLES,
    )


def gradient_step(
    parameters: Sequence[tuple[Array, Array]], rates: Sequence[Array], bias_rate: float
) -> float:
    """Take one step down the gradient of the cross entropy, in place, and return its mean.

    Written out for tanh and a last sigmoid: the call overhead of autograd would be nine tenths of
    the time of a network as small as this.

    Args:
        parameters: weight (units, inputs) and bias (units,) of each layer.
        rates: learning rate of each weight, (units, inputs) per layer.
        bias_rate: learning rate of the biases.
    """
    values = [CASES]
    for weight, bias in parameters[:-1]:
        values.append(np.tanh(values[-1] @ weight.T + bias))
    weight, bias = parameters[-1]
    logit = values[-1] @ weight.T + bias
    gradient = (1 / (1 + np.exp(-logit)) - TARGETS) / len(CASES)  # of the loss by the sums
    loss = float(np.mean(np.logaddexp(0, logit) - TARGETS * logit))
    layers = zip(reversed(parameters), reversed(rates), reversed(values), strict=True)
    for (weight, bias), rate, value in layers:
        below = (gradient @ weight) * (1 - value * value)
        weight -= rate * (gradient.T @ value)
        bias -= bias_rate * gradient.sum(0)
        gradient = below
    return loss


def correct_predictions(history: NetworkHistory) -> int:
    """Return how many of the four predictions of the trained network are right."""
    predictions = history.network(-1).predict(torch.as_tensor(history.samples.inputs).float())
    return int((np.abs(predictions.numpy() - history.samples.targets) < RIGHT).sum())
