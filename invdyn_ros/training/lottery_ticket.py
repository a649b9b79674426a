"""Lottery tickets: iterative magnitude pruning with rewinding to the first weights.

Frankle and Carbin 2019, arXiv 1803.03635: a part of a network that is found by pruning the trained
network and starts from the same first weights learns as well as the whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.dense_network import DenseNetwork, dense_network
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.network_history import NetworkHistory, Samples, sample_error
from invdyn_ros.models.pruning import Mask, magnitude_mask, prune, random_mask, sparsity_of
from invdyn_ros.models.registry import build
from invdyn_ros.training.network_recorder import NetworkRecorder
from invdyn_ros.training.trainer import Trainer, TrainerConfig
from invdyn_ros.training.training_state import RunState
from invdyn_ros.training.xor import XOR_SAMPLES, XorConfig, build_xor, train_xor

NEW_WEIGHTS_SEED = 1000  # added to the seed of a ticket for its other first weights


class TicketTask(Protocol):
    """A network to train, again and again from chosen first weights."""

    @property
    def samples(self) -> Samples:
        """Held-out data that errors are computed on."""

    def first(self, seed: int) -> DenseNetwork:
        """Return a network with random first weights."""

    def train(self, first: DenseNetwork, mask: Mask, seed: int) -> NetworkHistory:
        """Train a network whose removed weights stay zero, and return its history.

        Args:
            first: first weights, zero where they are removed; they are not changed.
            mask: which weights are kept.
            seed: random seed of the batch order.
        """


class Ticket(NamedTuple):
    """Result of one training, or of pruning alone."""

    kind: str  # a key of TICKET_KINDS
    sparsity: float
    error: float
    history: NetworkHistory | None


TICKET_KINDS = {
    "ticket": "pruned by magnitude, first weights again",
    "new weights": "the same weights kept, other first weights",
    "random mask": "other weights kept at random, first weights again",
    "pruned": "pruned by magnitude, not trained again",
}


def find_tickets(task: TicketTask, seed: int, rounds: int, rate: float) -> Iterator[Ticket]:
    """Yield the dense network, then for each round the ticket and its controls.

    Args:
        task: what to train.
        seed: random seed of first weights, batch order and controls.
        rounds: rounds of pruning.
        rate: fraction of the remaining weights that each round removes.
    """
    first = task.first(seed)
    mask: Mask = tuple(torch.ones_like(layer.weight, dtype=torch.bool) for layer in first.layers)
    generator = torch.Generator().manual_seed(seed)
    history = task.train(prune(first, mask), mask, seed)
    dense = trained = history.network(-1)
    yield Ticket("ticket", 0.0, sample_error(dense, task.samples), history)
    for k in range(1, rounds + 1):
        mask = magnitude_mask(trained, 1 - (1 - rate) ** k, mask)
        sparsity = sparsity_of(mask)
        history = task.train(prune(first, mask), mask, seed)
        trained = history.network(-1)
        yield Ticket("ticket", sparsity, sample_error(trained, task.samples), history)
        other = task.first(seed + NEW_WEIGHTS_SEED)
        control = task.train(prune(other, mask), mask, seed).network(-1)
        yield Ticket("new weights", sparsity, sample_error(control, task.samples), None)
        shuffled = random_mask(mask, generator)
        control = task.train(prune(first, shuffled), shuffled, seed).network(-1)
        yield Ticket("random mask", sparsity, sample_error(control, task.samples), None)
        alone = prune(dense, magnitude_mask(dense, sparsity))
        yield Ticket("pruned", sparsity, sample_error(alone, task.samples), None)


@dataclass(frozen=True)
class XorTask:
    """The network that learns exclusive or; there are no other cases than those it learns."""

    config: XorConfig

    @property
    def samples(self) -> Samples:
        """All four cases."""
        return XOR_SAMPLES

    def first(self, seed: int) -> DenseNetwork:
        """Return a network with random first weights."""
        return build_xor(replace(self.config, seed=seed))

    def train(self, first: DenseNetwork, mask: Mask, seed: int) -> NetworkHistory:
        """Train a network whose removed weights stay zero.

        Args:
            first: first weights.
            mask: which weights are kept.
            seed: not used; each step takes all cases.
        """
        return train_xor(self.config, first, mask)


@dataclass(frozen=True)
class MotionTask:
    """A family with a plain stack of layers, trained on motion as `invdyn train` does."""

    meta: ModelMetadata
    train_data: Windows
    val_data: Windows
    samples: Samples
    config: TrainerConfig

    def first(self, seed: int) -> DenseNetwork:
        """Return a network with random first weights."""
        torch.manual_seed(seed)
        return dense_network(self._model())

    def train(self, first: DenseNetwork, mask: Mask, seed: int) -> NetworkHistory:
        """Train a network whose removed weights stay zero; the best weights are the last ones.

        Args:
            first: first weights.
            mask: which weights are kept.
            seed: random seed of the batch order.
        """
        model, recorder = self._model(), NetworkRecorder()
        network = dense_network(model)
        for layer, source, keep in zip(network.layers, first.layers, mask, strict=True):
            for parameter, value in zip(layer.parameters, source.parameters, strict=True):
                parameter.data.copy_(value.detach())
            # without a gradient AdamW leaves a weight at zero
            layer.weight.register_hook(partial(torch.mul, keep))
        recorder.start(model, self.val_data)
        with tempfile.TemporaryDirectory() as folder:
            state = RunState(Path(folder), {}, self.meta)
            trainer = Trainer(model, self.train_data, self.val_data, self.config, seed, state)
            trainer.run(recorder.record)
        return recorder.history(finished=True)

    def _model(self) -> InverseDynamics:
        model = build(self.meta)
        model.standardise(self.train_data)
        return model
