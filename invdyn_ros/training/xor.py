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
    stack_layers,
)
from invdyn_ros.models.network_history import (
    Loss,
    NetworkHistory,
    Samples,
    SnapshotList,
    thin_losses,
)
from invdyn_ros.typing import Array

CASES = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
TARGETS = np.array([[0], [1], [1], [0]], np.float32)
RIGHT = 0.5  # an answer is right if it is nearer to its target than this


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


def train_xor(config: XorConfig) -> NetworkHistory:
    """Train the network and return its history."""
    network = build_xor(config)
    snapshots, losses = SnapshotList(network.layers), []
    snapshots.record(0)
    parameters = [(layer.weight.numpy(), layer.bias.numpy()) for layer in network.layers]
    for epoch in range(1, config.epochs + 1):
        loss = gradient_step(parameters, config.learning_rate)
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
        Samples(CASES.astype(float), TARGETS.astype(float), "all four cases"),
    )


def gradient_step(parameters: Sequence[tuple[Array, Array]], learning_rate: float) -> float:
    """Take one step down the gradient of the cross entropy, in place, and return its mean.

    Written out for tanh and a last sigmoid: the call overhead of autograd would be nine tenths of
    the time of a network as small as this.

    Args:
        parameters: weight (units, inputs) and bias (units,) of each layer.
        learning_rate: size of the step.
    """
    values = [CASES]
    for weight, bias in parameters[:-1]:
        values.append(np.tanh(values[-1] @ weight.T + bias))
    weight, bias = parameters[-1]
    logit = values[-1] @ weight.T + bias
    gradient = (1 / (1 + np.exp(-logit)) - TARGETS) / len(CASES)  # of the loss by the sums
    loss = float(np.mean(np.logaddexp(0, logit) - TARGETS * logit))
    for (weight, bias), value in zip(reversed(parameters), reversed(values), strict=True):
        below = (gradient @ weight) * (1 - value * value)
        weight -= learning_rate * gradient.T @ value
        bias -= learning_rate * gradient.sum(0)
        gradient = below
    return loss


def right_answers(history: NetworkHistory) -> int:
    """Return how many of the four answers of the trained network are right."""
    answers = history.network(-1).answer(torch.as_tensor(history.samples.inputs).float())
    return int((np.abs(answers.numpy() - history.samples.targets) < RIGHT).sum())
