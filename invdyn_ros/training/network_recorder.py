"""Recording of the network of a model while it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.dense_network import DenseNetwork, dense_network
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.network_history import (
    Loss,
    NetworkHistory,
    Samples,
    SnapshotList,
    encode,
    layer_shapes,
    thin_losses,
)
from invdyn_ros.training.training_state import Progress
from invdyn_ros.typing import Array

MAX_SAMPLES = 200  # evaluation samples in a history


class NetworkRecorder:
    """History of the network of a model, for `training.train.train`."""

    def __init__(
        self, on_epoch: Callable[[NetworkRecorder], None] = lambda recorder: None
    ) -> None:
        """Record a training; `on_epoch` is called after each epoch."""
        self.on_epoch = on_epoch
        self.losses: Sequence[tuple[float, float]] = ()

    def start(self, model: InverseDynamics, val: Windows) -> None:
        """Record the first weights of a model.

        Args:
            model: the model, with its standardisation.
            val: validation data, from which samples are kept.

        Raises:
            ValueError: the family has no plain stack of layers, or it is too large.
        """
        self.title = f"{model.meta.family} for {model.meta.robot}"
        self.network = dense_network(model)
        self.samples = motion_samples(self.network, val)
        self.snapshots = SnapshotList(self.network.layers)
        self.snapshots.record(0)
        self.epoch = self.best_epoch = 0

    def record(self, progress: Progress) -> None:
        """Record the weights after an epoch, if it is due, and its loss."""
        self.epoch, self.best_epoch = progress.epoch, progress.best_epoch
        self.losses = progress.losses
        self.snapshots.record(progress.epoch)
        self.on_epoch(self)

    def history(self, finished: bool) -> NetworkHistory:
        """Return the history up to now; the last snapshot holds the weights the model has now.

        After the training these are the best ones.
        """
        losses = [Loss(k + 1, *pair) for k, pair in enumerate(self.losses)]
        network = self.network
        return NetworkHistory(
            self.title,
            network.inputs,
            network.features,
            network.outputs,
            self.snapshots.shapes,
            self.snapshots.up_to(self.epoch),
            thin_losses(losses),
            self.samples,
            finished,
            self.best_epoch if finished else None,
        )


def motion_samples(network: DenseNetwork, data: Windows) -> Samples:
    """Return samples of the inputs and outputs of a network, evenly drawn from windows.

    Args:
        network: a network of motion.
        data: windows at least as long as the network needs.
    """
    index = torch.linspace(0, data.size - 1, min(MAX_SAMPLES, data.size)).round().long()
    chosen = data.rows(index.to(data.motion.device))
    width = chosen.motion.shape[-1]
    frames = len(network.inputs) // width  # the rest are deviations of the interval, zero here
    motion = chosen.motion[:, -frames:].flatten(1)
    inputs = torch.zeros(len(index), len(network.inputs))
    inputs[:, : motion.shape[1]] = motion
    return Samples(to_array(inputs), to_array(chosen.action[:, -1]), "validation data")


def random_samples(network: DenseNetwork, seed: int = 0) -> Samples:
    """Return random inputs with the network's own predictions."""
    limits = torch.tensor([(i.low, i.high) for i in network.inputs])
    generator = torch.Generator().manual_seed(seed)
    fraction = torch.rand(MAX_SAMPLES, len(network.inputs), generator=generator)
    inputs = torch.lerp(limits[:, 0], limits[:, 1], fraction)
    with torch.no_grad():
        predictions = network.predict(inputs)
    return Samples(
        to_array(inputs), to_array(predictions), "random inputs, predictions of this network"
    )


def to_array(values: torch.Tensor) -> Array:
    """Return a tensor as float64 array."""
    return np.asarray(values.detach().cpu(), dtype=np.float64)


def checkpoint_history(models: Sequence[InverseDynamics]) -> NetworkHistory:
    """Return the history of one network from its checkpoints, first to last.

    A snapshot has the epochs of its checkpoint's training; if these do not increase, its number.

    Raises:
        ValueError: no plain stack of layers, or networks of different shapes.
    """
    networks = [dense_network(model) for model in models]
    shapes = [layer_shapes(network.layers) for network in networks]
    for model, other in zip(models, shapes, strict=True):
        if other != shapes[0] or model.meta.joint_names != models[0].meta.joint_names:
            raise ValueError(
                f"a network of family {model.meta.family} for {model.meta.robot} differs in shape "
                f"from the first, {models[0].meta.family} for {models[0].meta.robot}; give "
                "checkpoints of one network"
            )
    epochs = [int(model.meta.data.get("epochs", 0)) for model in models]
    if any(after <= before for before, after in pairwise(epochs)):
        epochs = list(range(1, len(models) + 1))
    last = networks[-1]
    return NetworkHistory(
        f"{models[-1].meta.family} for {models[-1].meta.robot}",
        last.inputs,
        last.features,
        last.outputs,
        shapes[0],
        tuple(encode(n.layers, k, True) for n, k in zip(networks, epochs, strict=True)),
        (),
        random_samples(last),
    )
