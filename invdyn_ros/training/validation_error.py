"""Error of a trained model on its validation data, for closed-form fits as well."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.timeseries.observations import Motions, Observations
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel

MAX_ROWS = 2000  # windows or motions of which the error is computed, evenly spaced
BATCH_SIZE = 100
OBSERVED_STEP = 4  # every fourth sample of a motion is observed, the others are predicted
MIN_VARIANCE = 1e-12  # of a target that is not constant, relative to the largest mean square


class ValidationError(NamedTuple):
    """Error on validation data.

    Attributes:
        rmse: root mean square error, mean over the columns of the target, in their unit.
        nmse: mean square error by variance, mean over the columns; None: all are constant.
    """

    rmse: float
    nmse: float | None

    def text(self, unit: str) -> str:
        """Return the error in words; the RMSE only with a unit, as columns may have several."""
        nmse = "nMSE undefined" if self.nmse is None else f"nMSE {100 * self.nmse:.3g}%"
        return f"validation {nmse}" + (f", RMSE {self.rmse:.3g} {unit}" if unit else "")


def validation_error(model: InverseDynamics, val: Windows) -> ValidationError:
    """Return the error of the last action of each validation window."""
    errors, targets = [], []
    for part in _evenly_spaced(val.size).split(BATCH_SIZE):
        motion, time, action = val.rows(part.to(val.motion.device))
        mean = model.as_recorded(model.predict(motion, time).mean, motion)[:, -1]
        targets.append(model.target(motion, action)[:, -1, : mean.shape[-1]].double())
        errors.append((mean - action[:, -1, : mean.shape[-1]]).double())
    return _error(torch.cat(errors), torch.cat(targets))


def time_series_validation_error(model: TimeSeriesModel, val: Motions) -> ValidationError:
    """Return the error of the samples between the observed ones, every fourth of a motion."""
    errors, targets = [], []
    for part in _evenly_spaced(val.size).split(BATCH_SIZE):
        state, time = val.rows(part.to(val.state.device))
        mask = torch.zeros(time.shape, dtype=torch.bool, device=time.device)
        mask[:, ::OBSERVED_STEP] = True
        predicted = model.predict(Observations(state, time, mask))
        targets.append(state[~mask].double())
        errors.append((predicted - state)[~mask].double())
    return _error(torch.cat(errors), torch.cat(targets))


def _evenly_spaced(size: int) -> Tensor:
    """Return up to MAX_ROWS indices, evenly spaced."""
    return torch.linspace(0, size - 1, min(size, MAX_ROWS)).round().long()


def _error(errors: Tensor, targets: Tensor) -> ValidationError:
    """Return the mean error over the columns of errors (T, n) of targets (T, n)."""
    square = errors.square().mean(0)
    variance = targets.var(0, correction=0)
    varies = variance > MIN_VARIANCE * targets.square().mean(0).max()
    nmse = float((square[varies] / variance[varies]).mean()) if bool(varies.any()) else None
    return ValidationError(float(square.sqrt().mean()), nmse)
