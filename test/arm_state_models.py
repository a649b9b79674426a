"""Time-series models of arms that need no training."""

from __future__ import annotations

import numpy as np
import torch
from oracle import robot

from invdyn_ros.models.timeseries.observations import Motions
from invdyn_ros.models.timeseries.registry import build_time_series_model
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata, TimeSeriesModel

RATE = 125.0


def waves(time: np.ndarray, count: int = 6) -> np.ndarray:
    """Return states (..., 2n) of joints with different frequencies at times (...) [s]."""
    frequency = 1.0 + np.arange(count)
    t = np.asarray(time)[..., None]
    return np.concatenate([np.sin(frequency * t), frequency * np.cos(frequency * t)], -1)


def bridge(arm: str = "ur5") -> TimeSeriesModel:
    """Return an untrained bridge, which predicts parabolas."""
    torch.manual_seed(0)
    names = robot(arm).joint_names
    model = build_time_series_model(
        TimeSeriesMetadata("bridge", arm, names, RATE, {"width": 32, "depth": 1})
    ).eval()
    time = torch.arange(200, dtype=torch.float64).expand(3, -1) / RATE
    state = torch.from_numpy(waves(time.numpy(), len(names))).float()
    model.standardise(Motions(state, time))
    return model
