"""Comparison of the predictions of a model in two runtimes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.models.torch_predictor import TorchPredictor

TOLERANCE = 1e-5  # largest difference, in standard deviations of the action
BATCH_SIZES = (1, 64)


def check_parity(model: InverseDynamics, other: Predictor, what: str) -> float:
    """Return the largest difference between a model and the same model in another runtime.

    Args:
        model: in eager torch, on the CPU.
        other: the same model in the other runtime.
        what: start of the error message.

    Raises:
        ValueError: the difference exceeds TOLERANCE.
    """
    difference = max_difference(model, other)
    if not difference <= TOLERANCE:  # also for NaN
        raise ValueError(
            f"{what}: its actions differ by {difference:.1e} standard deviations from those of "
            f"{model.meta.family} in eager torch; the tolerance is {TOLERANCE:.0e}"
        )
    return difference


def max_difference(model: InverseDynamics, other: Predictor) -> float:
    """Return the largest difference, in standard deviations of each joint's action."""
    eager = TorchPredictor(model)
    inputs = [x.numpy() for x in random_motion(model, max(BATCH_SIZES))]
    scale = eager.predict(*inputs).mean.std((0, 1))
    std = np.maximum(scale, model.target_std.double().cpu().numpy())
    errors = [0.0]
    for batch in BATCH_SIZES:
        motion, time = (x.numpy() for x in random_motion(model, batch, seed=batch))
        expected, actual = eager.predict(motion, time), other.predict(motion, time)
        for a, b in zip(expected, actual, strict=True):
            if a is None and b is None:
                continue
            if a is None or b is None or a.shape != b.shape:
                return float("inf")
            errors.append(np.abs((a - b) / std).max())
    return float(np.max(errors))  # NaN stays NaN


def random_motion(model: InverseDynamics, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return random motion (B, n_obs_steps, input_dim) like the training data, and its times.

    Args:
        model: the model.
        batch: B.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, model.n_obs_steps, model.input_dim)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    mean, std = (x.double().cpu() for x in model.input_stats())
    time = (
        torch.arange(model.n_obs_steps, dtype=torch.float64) + 1 - model.n_obs_steps
    ) / model.meta.rate
    return mean + std * noise, time.repeat(batch, 1)
