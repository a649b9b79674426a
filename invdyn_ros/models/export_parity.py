"""Whether a model is the same when run in another way: two enter, their difference leaves."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction

TOLERANCE = (
    1e-5  # what a model run in another way may differ by, as a share of the actions' spread
)
BATCH_SIZES = (1, 64)


class Predictor(Protocol):
    """Whatever predicts."""

    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions (B, T, n) of motion (B, T, 3n) at times (B, T) [s]."""


def check_parity(model: InverseDynamics, other: Predictor, what: str) -> float:
    """Return the difference of a model and the same model run in another way.

    Raises:
        ValueError: it is more than `PARITY`; the message starts with `what`.
    """
    difference = max_difference(model, other)
    if not difference <= TOLERANCE:  # also if it is not a number
        raise ValueError(
            f"{what}: its actions differ by {difference:.1e} of their spread from those of "
            f"{model.meta.family} in eager torch; at most {TOLERANCE:.0e} is right"
        )
    return difference


def max_difference(model: InverseDynamics, other: Predictor) -> float:
    """Return the largest difference, as a share of the spread of each joint's action."""
    mean = model.predict(*random_motion(model, max(BATCH_SIZES))).mean.flatten(0, 1)
    std = torch.maximum(mean.std(0), model.target_std)
    errors = [torch.zeros(())]
    for batch in BATCH_SIZES:
        motion, time = random_motion(model, batch, seed=batch)
        expected, actual = model.predict(motion, time), other.predict(motion, time)
        for ours, theirs in zip(expected, actual, strict=True):
            if ours is None and theirs is None:
                continue
            if ours is None or theirs is None or ours.shape != theirs.shape:
                return float("inf")
            errors.append(((ours - theirs) / std).abs().max())
    return float(torch.stack([error.double() for error in errors]).max())  # NaN stays NaN


def random_motion(model: InverseDynamics, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return motion (B, history, width) spread like the training data, and times (B, history)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, model.n_obs_steps, model.input_dim)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    mean, std = (x.double().cpu() for x in model.input_stats())
    time = (
        torch.arange(model.n_obs_steps, dtype=torch.float64) + 1 - model.n_obs_steps
    ) / model.meta.rate
    return mean + std * noise, time.repeat(batch, 1)
