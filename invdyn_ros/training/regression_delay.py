"""Estimate of the action delay of a mechanism without a URDF, by a linear regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import Split
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.training.action_timing import max_lateness, subsample
from invdyn_ros.typing import Array

MAX_DELAY = 4  # [sample intervals] of an action before its motion
SIGN_VELOCITY = 0.05  # [rad/s] at which dry friction is developed
RIDGE = 1e-6  # of the standardised regressors
MIN_IMPROVEMENT = 0.05  # fraction by which a delay must lower the error, against overfitting
MAX_UNEXPLAINED = 0.5  # fraction of the action's power above which the regression tells nothing


def estimate_delay_by_regression(meta: ModelMetadata, data: Split) -> float:
    """Estimate the action delay [s]: the shift with which a regression predicts actions best.

    The regressors are those of a pendulum in each joint, and how the inertia and the torques of
    velocities change with the posture. The candidates are sample intervals, and half ones where
    they are clearly better, as between samples the noise is less. The delay is zero where none
    explains held-out data clearly better.

    Args:
        meta: of the model.
        data: training and validation data.
    """
    half = 0.5 / meta.rate
    longest = max((len(t) for t in data.test), default=0)
    late = min(int(max_lateness(meta.action_unit) * meta.rate), longest // 4)
    early = min(MAX_DELAY, longest // 4)
    errors = {k: _unexplained(data, k * half) for k in range(-2 * late, 2 * early + 1, 2)}
    best = min(errors, key=lambda k: (errors[k], abs(k)))
    for k in (best - 1, best + 1):
        error = _unexplained(data, k * half) if longest > 4 else np.inf
        if error < (1 - MIN_IMPROVEMENT) * errors[best]:
            errors[k], best = error, k
    if errors[best] < min((1 - MIN_IMPROVEMENT) * errors[0], MAX_UNEXPLAINED):
        return best * half
    return 0.0


def _unexplained(data: Split, delay: float) -> float:
    """Return the fraction of the action's power in held-out data that is not explained."""
    (x, y), (x_test, y_test) = (_samples(part, delay) for part in (data.train, data.test))
    scale, mean = np.maximum(x.std(axis=0), 1e-9), x.mean(axis=0)
    x, x_test = (x - mean) / scale, (x_test - mean) / scale
    offset = y.mean(axis=0)
    gram = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (y - offset))  # (k, n)
    error = ((y_test - offset - x_test @ weights) ** 2).mean(axis=0)
    power = np.maximum(y_test.var(axis=0), 1e-12)
    return float(np.exp(np.log(np.maximum(error / power, 1e-9)).mean()))


def _samples(trajectories: Sequence[Trajectory], delay: float) -> tuple[Array, Array]:
    """Return regressors (N, k) and actions (N, n)."""
    rows = subsample(trajectories, delay)
    motion, action = rows.motion[:, 0].double().numpy(), rows.action[:, 0].double().numpy()
    q, qd, qdd = np.split(motion, 3, axis=1)
    posture = np.hstack([np.sin(q), np.cos(q)])  # (N, 2n)
    pairs = [(posture[:, :, None] * v[:, None]).reshape(len(q), -1) for v in (qdd, qd**2)]
    return np.hstack([q, posture, qd, np.tanh(qd / SIGN_VELOCITY), qdd, *pairs]), action
