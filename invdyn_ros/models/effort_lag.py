"""Low-pass filter between the torque of a joint and the effort that a robot reports.

Robots report a filtered effort, so it lags the motion. Identified without the lag, the inertia of
a joint with much friction comes out too small, even negative: friction B qd that is late by the
time T looks like B qd - B T qdd. The filter is of first order, one time constant per joint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.typing import Array

WARMUP = 4.0  # time constants until the state before a recording has no effect, 2% are left


class EffortFilter(NamedTuple):
    """Filter of first order between the effort of each joint and what is recorded of it."""

    lag: tuple[float, ...]  # (n,) time constants [s]
    rate: float  # sample rate [Hz]

    @property
    def warmup(self) -> int:
        """Number of frames until the filter has forgotten what was before them."""
        return int(np.ceil(WARMUP * max(self.lag) * self.rate))

    def columns(self, values: Tensor) -> Tensor:
        """Filter the columns (N, T, n, m) of a regression, without the first `warmup` frames."""
        filtered = low_pass(values.movedim(-1, 0).cpu().numpy(), self.lag, self.rate)
        return torch.from_numpy(filtered).to(values).movedim(0, -1)[:, self.warmup :]


def low_pass(values: Array, lag: Sequence[float], rate: float) -> Array:
    """Filter values (..., T, n) along the time T, with one time constant per joint.

    Between samples the input is linear. The filter starts at rest with the first sample.

    Args:
        values: of n joints.
        lag: (n,) time constants [s]; empty: no filter.
        rate: sample rate [Hz].
    """
    from scipy.signal import lfilter  # slow to import; most nodes need none

    filtered = np.array(values)
    for k, time_constant in enumerate(lag):
        if time_constant > 0:
            x = values[..., k]
            a = np.exp(-1 / (rate * time_constant))
            gain = rate * time_constant * (1 - a)
            b = (1 - gain, gain - a)
            filtered[..., k] = lfilter(b, (1.0, -a), x, -1, zi=(1 - b[0]) * x[..., :1])[0]
    return filtered


def filter_actions(actions: Tensor, meta: ModelMetadata) -> Tensor:
    """Return actions (..., T, n) of successive frames behind the filter of the effort."""
    if not any(meta.effort_lag):
        return actions
    filtered = low_pass(actions.cpu().numpy(), meta.effort_lag, meta.rate)
    return torch.from_numpy(filtered).to(actions)
