"""Checkpoint metadata of the residuals of a model on validation data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from invdyn_ros.data.windows import Windows
    from invdyn_ros.models.inverse_dynamics import InverseDynamics
    from invdyn_ros.models.model_metadata import ModelMetadata

RESIDUALS_KEY = "residuals"  # in `ModelMetadata.data`


class ResidualStatistics(NamedTuple):
    """Residuals of a model of torques, action minus prediction, on validation data.

    Attributes:
        std: (n,) root mean square [action unit].
        correlation_time: (n,) integral of the autocorrelation from zero on [s].
    """

    std: Array
    correlation_time: Array

    @classmethod
    def from_metadata(cls, meta: ModelMetadata) -> ResidualStatistics | None:
        """Return the statistics in a checkpoint, None in one without them.

        Raises:
            ValueError: they are not those of n joints.
        """
        values = meta.data.get(RESIDUALS_KEY)
        if values is None:
            return None
        arrays = [np.array(values.get(name), float) for name in cls._fields]
        n = len(meta.joint_names)
        if any(a.shape != (n,) or not (np.isfinite(a) & (a >= 0)).all() for a in arrays):
            raise ValueError(f"{RESIDUALS_KEY} of the checkpoint are not those of {n} joints")
        return cls(*arrays)


def residual_metadata(model: InverseDynamics, recordings: Iterable[Windows]) -> dict[str, Any]:
    """Return the statistics of a model of torques as checkpoint metadata, else nothing.

    Args:
        model: the trained model.
        recordings: whole validation recordings, each of one row.
    """
    from invdyn_ros.models.effort_lag import filter_actions

    residuals = []
    for motion, time, action in recordings:
        mean = filter_actions(model.predict(motion, time).mean, model.meta)  # as live
        residual = (action - mean)[0, model.warmup_frames :]
        residuals.append(residual.double().cpu().numpy())
    statistics = residual_statistics(residuals, model.meta.rate)
    return {RESIDUALS_KEY: {k: v.tolist() for k, v in statistics._asdict().items()}}


def residual_statistics(residuals: list[Array], rate: float) -> ResidualStatistics:
    """Return the statistics of residuals (T, n) of several recordings at a rate [Hz].

    The autocorrelation is summed up to its first value that is not positive.
    """
    square = np.mean(np.concatenate([r**2 for r in residuals]), axis=0)
    longest = max(map(len, residuals))
    covariance, count = np.zeros((longest, square.size)), np.zeros((longest, 1))
    for r in residuals:
        spectrum = np.abs(np.fft.rfft(r, 2 * len(r), axis=0)) ** 2
        covariance[: len(r)] += np.fft.irfft(spectrum, axis=0)[: len(r)]
        count[: len(r), 0] += np.arange(len(r), 0, -1)
    correlation = covariance / np.maximum(count, 1) / np.maximum(square, 1e-300)
    is_counted = np.logical_and.accumulate(correlation > 0, axis=0)
    return ResidualStatistics(
        np.sqrt(square), ((correlation * is_counted).sum(axis=0) - 0.5).clip(0.5) / rate
    )
