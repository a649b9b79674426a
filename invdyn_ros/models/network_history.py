"""History of a dense network while it trains: a bounded number of snapshots of its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from invdyn_ros.models.dense_network import (
    DenseLayer,
    DenseNetwork,
    Feature,
    NetworkInput,
    NetworkOutput,
)
from invdyn_ros.typing import Array

MAX_SNAPSHOTS = 200
MAX_BYTES = 24 * 2**20  # of all snapshots together
MAX_EXACT_PARAMETERS = 20_000  # of a network whose snapshots are all exact
MAX_PARAMETERS = 2_500_000  # two exact snapshots need 20 MB
INT8_MAX = 127


class LayerShape(NamedTuple):
    """Size and activation function of a dense layer."""

    name: str
    inputs: int
    units: int
    activation: str
    norm_eps: float | None  # None: without LayerNorm


class Snapshot(NamedTuple):
    """Parameters of all layers after an epoch, little-endian.

    Exact: per layer weight, bias and the two of the normalisation as float32. Else first, per
    layer, the scale of each row of the weight, the bias and the normalisation as float32; then
    the weights of all layers as int8.
    """

    epoch: int
    exact: bool
    content: bytes


class Loss(NamedTuple):
    """Loss of an epoch, on the training and on the validation data."""

    epoch: int
    train: float
    val: float


class Samples(NamedTuple):
    """Samples that an error is computed on, and what they are."""

    inputs: Array  # (N, I) in SI units
    targets: Array  # (N, O) in SI units
    source: str


@dataclass(frozen=True)
class NetworkHistory:
    """History of a network, from its first to its last weights."""

    title: str
    inputs: tuple[NetworkInput, ...]
    features: tuple[Feature, ...]
    outputs: tuple[NetworkOutput, ...]
    shapes: tuple[LayerShape, ...]
    snapshots: tuple[Snapshot, ...]
    losses: tuple[Loss, ...]
    samples: Samples
    finished: bool = True
    """Whether the training has ended."""
    best_epoch: int | None = None
    """Epoch of the last snapshot's weights, where it is not the last epoch."""

    def network(self, index: int) -> DenseNetwork:
        """Return the network of a snapshot."""
        layers = decode(self.shapes, self.snapshots[index])
        return DenseNetwork(self.inputs, self.features, layers, self.outputs)


def layer_shapes(layers: Sequence[DenseLayer]) -> tuple[LayerShape, ...]:
    """Return the shapes of layers.

    Raises:
        ValueError: the network is too large for a history.
    """
    count = sum(p.numel() for layer in layers for p in layer.parameters)
    if count > MAX_PARAMETERS:
        raise ValueError(
            f"the network has {count} parameters; a history holds {MAX_PARAMETERS} at most, lower "
            "width or depth"
        )
    return tuple(
        LayerShape(
            layer.name,
            layer.weight.shape[1],
            layer.weight.shape[0],
            layer.activation,
            None if layer.norm is None else layer.norm.eps,
        )
        for layer in layers
    )


def encode(layers: Sequence[DenseLayer], epoch: int, exact: bool) -> Snapshot:
    """Return a snapshot of the parameters of layers.

    Args:
        layers: the layers.
        epoch: after which they have these parameters.
        exact: whether all are float32; else the weights are int8.
    """
    parts, integers = [], []
    for layer in layers:
        weight, *others = (p.detach().cpu().numpy().astype("<f4") for p in layer.parameters)
        if not exact:
            scale = np.maximum(np.abs(weight).max(1, keepdims=True), 1e-30) / INT8_MAX
            integers.append(np.rint(weight / scale).astype(np.int8))
            weight = scale.astype("<f4")
        parts += [weight, *others]
    return Snapshot(epoch, exact, b"".join(part.tobytes() for part in (*parts, *integers)))


def decode(shapes: Sequence[LayerShape], snapshot: Snapshot) -> tuple[DenseLayer, ...]:
    """Return the layers of a snapshot."""
    rest = memoryview(snapshot.content)

    def take(count: int, dtype: str = "<f4") -> Tensor:
        nonlocal rest
        size = count * np.dtype(dtype).itemsize
        values, rest = np.frombuffer(rest[:size], dtype), rest[size:]
        return torch.from_numpy(values.astype(np.float32))

    layers = []
    for shape in shapes:
        columns = shape.inputs if snapshot.exact else 1
        weight = take(shape.units * columns).reshape(shape.units, columns)
        bias, norm = take(shape.units), None
        if shape.norm_eps is not None:
            norm = nn.LayerNorm(shape.units, shape.norm_eps).requires_grad_(False)
            norm.weight.copy_(take(shape.units))
            norm.bias.copy_(take(shape.units))
        layers.append(DenseLayer(shape.name, weight, bias, shape.activation, norm))
    if not snapshot.exact:
        for k, shape in enumerate(shapes):
            integers = take(shape.units * shape.inputs, "i1").reshape(shape.units, shape.inputs)
            layers[k] = layers[k]._replace(weight=integers * layers[k].weight)
    return tuple(layers)


class SnapshotList:
    """Snapshots as a training goes on: many early, fewer later, at most a fixed number.

    They are about evenly spaced in the square root of the epoch, because a network changes most
    at first. The first snapshot is kept.
    """

    def __init__(self, layers: Sequence[DenseLayer]) -> None:
        """Record some layers, whose tensors are read at each snapshot."""
        self.layers, self.shapes = layers, layer_shapes(layers)
        count = sum(p.numel() for layer in layers for p in layer.parameters)
        self.exact = count <= MAX_EXACT_PARAMETERS
        size = 4 * count if self.exact else count  # of a snapshot in the middle
        self.limit = max(min(MAX_SNAPSHOTS, (MAX_BYTES - 8 * count) // size), 2)
        self.snapshots: list[Snapshot] = []

    def is_due(self, epoch: int) -> bool:
        """Return whether an epoch is to be recorded."""
        if not self.snapshots:
            return True
        spacing = math.sqrt(epoch) / self.limit
        return math.sqrt(epoch) - math.sqrt(self.snapshots[-1].epoch) >= 0.75 * spacing

    def record(self, epoch: int) -> None:
        """Record an epoch if it is due; remove another if there are too many."""
        if not self.is_due(epoch):
            return
        exact = self.exact or not self.snapshots
        self.snapshots.append(encode(self.layers, epoch, exact))
        if len(self.snapshots) >= self.limit:  # one place is for the last weights
            root = np.sqrt([s.epoch for s in self.snapshots])
            del self.snapshots[1 + int(np.argmin(root[2:] - root[:-2]))]

    def up_to(self, epoch: int) -> tuple[Snapshot, ...]:
        """Return the snapshots up to an epoch, which is the last one, with exact weights."""
        earlier = [s for s in self.snapshots if s.epoch < epoch]
        return (*earlier, encode(self.layers, epoch, True))


def thin_losses(losses: Sequence[Loss], count: int = 1000) -> tuple[Loss, ...]:
    """Return about `count` of the losses, evenly spaced in the square root, the last included."""
    if len(losses) <= count:
        return tuple(losses)
    index = np.linspace(0, 1, count) ** 2 * (len(losses) - 1)
    return tuple(losses[k] for k in np.unique(np.rint(index).astype(int)))


@torch.no_grad()
def sample_error(network: DenseNetwork, samples: Samples) -> float:
    """Return the mean over the outputs of squared error / variance of the targets."""
    predictions = network.predict(torch.as_tensor(samples.inputs).float()).double().numpy()
    variance = samples.targets.var(0)
    squares = np.square(predictions - samples.targets).mean(0)
    return float((squares / np.where(variance > 0, variance, 1.0)).mean())
