"""Evaluation of a model by a program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.models.arm_model import Model
from invdyn_ros.models.checkpoint import load


def evaluate_model(model: Model, data: str | Path | Sequence[Trajectory]) -> dict[str, Any]:
    """Return the report of 'invdyn evaluate': errors on held-out motion, beside baselines.

    Args:
        model: from `load`.
        data: dataset folder, or trajectories; of the training data, only the test split is used.

    Raises:
        ValueError: data of another arm or unit, without actions or without a test split.
    """
    trajectories = read_dataset(data).trajectories if isinstance(data, str | Path) else data
    return evaluate(load(model.path), trajectories)
