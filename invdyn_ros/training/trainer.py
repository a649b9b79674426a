"""Gradient descent on a loss: a fresh model enters, the best one leaves; may stop and go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.training.distributed import ProcessGroup
from invdyn_ros.training.optimizer import Learner, Optimizer, OptimizerConfig, Rows
from invdyn_ros.training.training_state import Progress, RunState, prefixed, under

SAVE_EVERY = 5.0  # [s] between states on disk: what a power cut costs
VALIDATED = 8192  # windows at a time, so that validation needs no more memory than training


class Trainer:
    """Fits a model in place, epoch by epoch, and leaves it at its best validation loss.

    All that is random in an epoch follows from the seed and the number of the epoch, so a resumed
    run ends like one that never stopped, and all processes draw the same batches.
    """

    def __init__(
        self,
        model: Learner,
        train: Rows,
        valid: Rows,
        config: OptimizerConfig,
        seed: int,
        state: RunState,
        ranks: ProcessGroup | None = None,
    ) -> None:
        """Take a model on the device of the data.

        Args:
            model: to be fitted.
            train: rows to learn from.
            valid: rows that decide when to stop and which weights to keep.
            config: epochs, batch size and step size.
            seed: of all that is random.
            state: where the run is kept on disk, and what makes it this run.
            ranks: this process among those that train together.
        """
        self.model, self.train, self.valid = model, train, valid
        self.config, self.seed, self.state = config, seed, state
        self.ranks = ranks or ProcessGroup()
        self.optimiser = Optimizer(model, config, self.ranks)
        self.progress = Progress()
        self.best = self._weights()
        self._saved, self._kept = -math.inf, 0

    def run(self, on_epoch: Callable[[Progress], None] = lambda progress: None) -> Progress:
        """Descend to the end, or until validation stops getting better.

        Args:
            on_epoch: called after each epoch, for a progress bar.

        Raises:
            ValueError: a loss that is no longer finite.
        """
        while not self._done():
            self._epoch()
            if time.monotonic() - self._saved > SAVE_EVERY:
                self._save()
            on_epoch(self.progress)
        self._save()
        self.model.load_state_dict(self.best)
        return self.progress

    def resume(self) -> None:
        """Go back to where the run on disk stood.

        Raises:
            ValueError: nothing to resume, a damaged state or one of another run.
        """
        device = self.optimiser.device
        content = self.state.content() if self.ranks.first else None
        self.progress, tensors = self.state.read(self.ranks.broadcast(content, device))
        tensors = {name: value.to(device) for name, value in tensors.items()}
        self.model.load_state_dict(under("model", tensors))
        self.best = under("best", tensors)
        self.optimiser.load(under("optimiser", tensors))

    def learn(self) -> tuple[float, float]:
        """Take one pass and return the mean loss and the mean length of the gradient."""
        device, epoch = self.optimiser.device, self.progress.epoch
        order = torch.Generator().manual_seed(_mixed(self.seed, epoch))
        batches = torch.randperm(self.train.size, generator=order).to(device)
        torch.manual_seed(_mixed(self.seed, epoch, 1 + self.ranks.rank))  # of dropout and noise
        self.model.train()
        losses, norms = [], []
        for index in batches.split(self.config.batch_size):
            mine = self.ranks.share(index)
            loss, norm = self.optimiser.step(
                self.train.rows(mine), len(mine) / len(index), self.progress.steps
            )
            losses.append(loss * len(index))  # read at the end only: a GPU need not wait here
            norms.append(norm)
            self.progress.steps += 1
        total = self.ranks.add(torch.stack(losses).double().sum())
        return float(total) / self.train.size, float(torch.stack(norms).mean())

    def _done(self) -> bool:
        waited = self.progress.epoch - self.progress.best_epoch
        return self.progress.epoch >= self.config.epochs or waited >= self.config.patience

    def _epoch(self) -> None:
        """Take one pass, validate and note both."""
        begun, progress = time.perf_counter(), self.progress
        cosine = math.cos(math.pi * progress.epoch / self.config.epochs)
        rate = self.config.learning_rate * 0.5 * (1 + cosine)
        self.optimiser.set_rate(rate)
        loss, norm = self.learn()
        with self.optimiser.averaged():
            losses = (loss, self._validate())
            progress.epoch += 1
            if not all(map(math.isfinite, losses)):
                raise ValueError(
                    f"loss is {losses[0]} in epoch {progress.epoch}; lower learning_rate"
                )
            progress.losses.append(losses)
            if losses[1] < progress.best:
                progress.best, progress.best_epoch = losses[1], progress.epoch
                self.best = self._weights()
        seconds = time.perf_counter() - begun
        progress.scalars = {"learning_rate": rate, "gradient_norm": norm, "epoch_seconds": seconds}

    @torch.no_grad()
    def _validate(self) -> float:
        """Return the mean loss, with the same noise each time for families that draw any."""
        self.model.eval()
        torch.manual_seed(_mixed(self.seed, 0, 1 + self.ranks.rank))
        rows = torch.arange(self.valid.size, device=self.optimiser.device)
        total = torch.zeros((), device=rows.device, dtype=torch.float64)
        for index in self.ranks.share(rows).split(VALIDATED):
            if len(index):  # splitting nothing gives one empty part
                total += self.model.loss(*self.valid.rows(index)) * len(index)
        return float(self.ranks.add(total)) / self.valid.size

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _save(self) -> None:
        """Write the state of the run and, where they got better, the best weights."""
        self._saved = time.monotonic()
        if not self.ranks.first:
            return
        tensors = prefixed("model", self.model.state_dict()) | prefixed("best", self.best)
        tensors |= prefixed("optimiser", self.optimiser.tensors())
        self.state.write(self.progress, tensors)
        if self._kept != self.progress.best_epoch:
            self.state.save_best(self.progress, self.best)
            self._kept = self.progress.best_epoch


def _mixed(*parts: int) -> int:
    """Return one seed out of several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])
