"""Model family with dropout, and a program that trains it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from invdyn_ros.models.mlp import MLP, MLPConfig
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS
from invdyn_ros.training import trainer as trainer_module
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.training.training_state import Progress

VALUES = {
    "family": "dropout",
    "width": 32,
    "depth": 1,
    "epochs": 20,
    "batch_size": 64,
    "ema_decay": 0.9,
}


@dataclass(frozen=True)
class DropoutConfig(MLPConfig):
    rate: float = 0.2


class Dropout(MLP):
    """MLP with dropout after the first hidden layer."""

    Config = DropoutConfig

    def __init__(self, meta: ModelMetadata) -> None:
        super().__init__(meta)
        self.net.insert(2, nn.Dropout(self.config.rate))


def fit(data: str | Path, out: str | Path, resume: bool = False) -> list[int]:
    """Train, print the number of each epoch, and return them."""
    epochs: list[int] = []

    def on_epoch(progress: Progress) -> None:
        epochs.append(progress.epoch)
        print(progress.epoch, flush=True)

    config = parse_train_config(VALUES | {"action_delay": 0.012}, "test")
    train(config, data, out, resume, on_epoch=on_epoch)
    return epochs


if __name__ == "__main__":
    MODELS["dropout"] = Dropout
    trainer_module.SAVE_INTERVAL = 0.0  # [s] save after each epoch
    fit(*sys.argv[1:])
