"""Training loop with validation, early stopping and exact resumption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from invdyn_ros.training.distributed import ProcessGroup
from invdyn_ros.training.optimizer import Optimizer, OptimizerConfig
from invdyn_ros.training.training_state import Progress, RunState, add_prefix, strip_prefix

SAVE_INTERVAL = 5.0  # [s] between saved states; a power cut loses at most this
VAL_BATCH_SIZE = 8192  # rows, so that validation takes no more memory than training


@dataclass(frozen=True)
class TrainerConfig(OptimizerConfig):
    """Settings of a training run; a cosine schedule lowers the learning rate to zero."""

    epochs: PositiveInt = 300
    """Maximum number of passes over the training data."""
    batch_size: PositiveInt = 512
    """Rows per step, over all processes."""
    early_stopping_patience: PositiveInt = 60
    """Training stops after this many epochs without a lower validation error."""


class Validation(NamedTuple):
    """Error of a model beside its loss that chooses the best weights.

    Attributes:
        error: returns the error of the model in evaluation mode; the same in all processes.
        interval: epochs from one evaluation to the next.
    """

    error: Callable[[], float]
    interval: int


class TrainingData(Protocol):
    """A dataset as columns of equal length, such as `Windows`."""

    @property
    def size(self) -> int:
        """Number of rows."""

    def rows(self, index: Any) -> TrainingData:
        """Return some of the rows."""

    def __iter__(self) -> Iterator[Tensor]:
        """Return the columns."""


class TrainableModel(Protocol):
    """A network whose `loss` takes the columns of its training data."""

    @property
    def loss(self) -> Callable[..., Tensor]:
        """Return the mean loss, a scalar."""

    @property
    def state_dict(self) -> Callable[[], dict[str, Tensor]]:
        """Return all tensors of the network."""

    @property
    def load_state_dict(self) -> Callable[[Mapping[str, Tensor]], object]:
        """Replace all tensors of the network."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the trainable parameters."""

    def train(self) -> object:
        """Switch to training mode."""

    def eval(self) -> object:
        """Switch to evaluation mode."""


class Trainer:
    """Train a model in place; it ends with the weights of the lowest validation error.

    All randomness in an epoch depends on the seed and the epoch number only. Therefore a resumed
    run equals an uninterrupted one bit for bit, and all processes draw the same batches.
    """

    def __init__(
        self,
        model: TrainableModel,
        train_data: TrainingData,
        val_data: TrainingData,
        config: TrainerConfig,
        seed: int,
        state: RunState,
        process_group: ProcessGroup | None = None,
        validation: Validation | None = None,
    ) -> None:
        """Create the trainer of a model that is on the device of its data.

        Args:
            model: the model to train.
            train_data: training data.
            val_data: validation data, for early stopping and the choice of the best weights.
            config: epochs, batch size and optimizer settings.
            seed: random seed of the batch order, and of dropout and noise in the model.
            state: files of the run, and its settings.
            process_group: the processes that train together; None: only this one.
            validation: error that chooses the weights; None: the validation loss.
        """
        self.validation = validation
        self.model, self.train_data, self.val_data = model, train_data, val_data
        self.config, self.seed, self.state = config, seed, state
        self.process_group = process_group or ProcessGroup()
        self.optimizer = Optimizer(model.parameters(), config, self.process_group)
        self.progress = Progress()
        self.best_weights = self._copy_weights()
        self._saved_at, self._saved_best_epoch = -math.inf, 0

    def run(self, on_epoch: Callable[[Progress], None] = lambda progress: None) -> Progress:
        """Train until the last epoch or early stopping.

        Args:
            on_epoch: called after each epoch, for instance for a progress bar.

        Raises:
            ValueError: the loss is not finite.
        """
        if self.validation is not None and self.progress.epoch == 0:
            self.model.eval()  # the initial weights may be the best ones
            self.progress.best_val_loss = self.validation.error()
        while not self._is_done():
            self._run_epoch()
            if time.monotonic() - self._saved_at > SAVE_INTERVAL:
                self._save()
            on_epoch(self.progress)
        self._save()
        self.load_best_weights()
        return self.progress

    def load_best_weights(self) -> None:
        """Give the model the weights of the lowest validation error so far."""
        self.model.load_state_dict(self.best_weights)

    def resume(self) -> None:
        """Restore the state on disk.

        Raises:
            ValueError: no saved state, or one that is damaged or of another run.
        """
        device = self.optimizer.device
        content = self.state.read_bytes() if self.process_group.is_main_process else None
        content = self.process_group.broadcast(content, device)
        self.progress, tensors = self.state.parse(content)
        tensors = {name: value.to(device) for name, value in tensors.items()}
        self.model.load_state_dict(strip_prefix("model", tensors))
        self.best_weights = strip_prefix("best", tensors)
        self.optimizer.load_state_dict(strip_prefix("optimizer", tensors))

    def train_epoch(self) -> tuple[float, float]:
        """Train for one epoch and return the mean loss and the mean gradient norm."""
        device, epoch = self.optimizer.device, self.progress.epoch
        generator = torch.Generator().manual_seed(combine_seeds(self.seed, epoch))
        order = torch.randperm(self.train_data.size, generator=generator).to(device)
        # the seed of dropout and noise
        torch.manual_seed(combine_seeds(self.seed, epoch, 1 + self.process_group.rank))
        self.model.train()
        losses, norms = [], []
        for index in order.split(self.config.batch_size):
            shard = self.process_group.shard(index)
            batch = self.train_data.rows(shard)
            loss, norm = self.optimizer.step(
                partial(self.model.loss, *batch) if batch.size else None,
                len(shard) / len(index),
                self.progress.global_step,
            )
            losses.append(loss * len(index))  # read after the epoch, to not synchronise with a GPU
            norms.append(norm)
            self.progress.global_step += 1
        total = self.process_group.all_reduce(torch.stack(losses).double().sum())
        return float(total) / self.train_data.size, float(torch.stack(norms).mean())

    def _is_done(self) -> bool:
        epoch, best_epoch = self.progress.epoch, self.progress.best_epoch
        stop_early = epoch - best_epoch >= self.config.early_stopping_patience
        return epoch >= self.config.epochs or stop_early

    def _run_epoch(self) -> None:
        """Train for one epoch, validate and record both losses."""
        start, progress = time.perf_counter(), self.progress
        cosine = math.cos(math.pi * progress.epoch / self.config.epochs)
        learning_rate = self.config.learning_rate * 0.5 * (1 + cosine)
        self.optimizer.set_learning_rate(learning_rate)
        train_loss, norm = self.train_epoch()
        with self.optimizer.ema_weights():
            val_loss = self._validate()
            progress.epoch += 1
            if not math.isfinite(train_loss) or not math.isfinite(val_loss):
                raise ValueError(
                    f"loss is {train_loss} in epoch {progress.epoch}; lower learning_rate"
                )
            progress.losses.append((train_loss, val_loss))
            error = self._validation_error(val_loss)
            if error < progress.best_val_loss:
                progress.best_val_loss, progress.best_epoch = error, progress.epoch
                self.best_weights = self._copy_weights()
        progress.scalars = {
            "learning_rate": learning_rate,
            "gradient_norm": norm,
            "epoch_seconds": time.perf_counter() - start,
        }

    @torch.no_grad()
    def _validate(self) -> float:
        """Return the mean validation loss; noise in the loss is the same each time."""
        self.model.eval()
        torch.manual_seed(combine_seeds(self.seed, 0, 1 + self.process_group.rank))
        rows = torch.arange(self.val_data.size, device=self.optimizer.device)
        total = torch.zeros((), device=rows.device, dtype=torch.float64)
        for index in self.process_group.shard(rows).split(VAL_BATCH_SIZE):
            if len(index):  # an empty shard splits into one empty part
                total += self.model.loss(*self.val_data.rows(index)) * len(index)
        return float(self.process_group.all_reduce(total)) / self.val_data.size

    def _validation_error(self, val_loss: float) -> float:
        """Return the error by which weights are chosen; infinite if it is not their turn."""
        if self.validation is None:
            return val_loss
        epoch = self.progress.epoch
        is_due = epoch % self.validation.interval == 0 or epoch == self.config.epochs
        return self.validation.error() if is_due else math.inf

    def _copy_weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _save(self) -> None:
        """Write the state of the run and, if they are new, the best weights."""
        self._saved_at = time.monotonic()
        if not self.process_group.is_main_process:
            return
        tensors = add_prefix("model", self.model.state_dict())
        tensors |= add_prefix("best", self.best_weights)
        tensors |= add_prefix("optimizer", self.optimizer.state_dict())
        self.state.write(self.progress, tensors)
        if self._saved_best_epoch != self.progress.best_epoch:
            self.state.save_best(self.progress, self.best_weights)
            self._saved_best_epoch = self.progress.best_epoch


def combine_seeds(*seeds: int) -> int:
    """Return one seed that depends on several numbers."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0])
