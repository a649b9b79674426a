"""Prediction of an arm's state by a time-series model while its joint states are missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.motion_profile import Plan, State
from invdyn_ros.control.state_predictor import StatePredictorConfig
from invdyn_ros.models.timeseries.encoder_model import EncoderDecoder
from invdyn_ros.models.timeseries.observations import (
    Observations,
    check_observations,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

TIME_EPSILON = 1e-6  # [s]


class TrackedState(NamedTuple):
    """A joint state, and the desired state at the same time."""

    measured: MeasuredState
    desired: State


@torch.inference_mode()
def impute(model: TimeSeriesModel, observations: Observations) -> Tensor:
    """Return states (B, T, 2n) that pass through the observations without a jump.

    Bridge models do so by construction. The predictions of an encoder-decoder deviate from the
    observations by more than an arm moves in a few samples. Therefore its errors at both ends of
    a gap are subtracted from the predictions in between, weighted linearly in time.

    Raises:
        ValueError: the observations are invalid.
    """
    if not isinstance(model, EncoderDecoder):
        return model.predict(observations)
    check_observations(observations, model.n)
    state = torch.where(observations.mask[..., None], observations.state, 0.0).to(model.scale)
    # the latent state jumps at observations, so each row is also predicted just before and after
    time = observations.time[..., None] + TIME_EPSILON * torch.tensor([-1.0, 0.0, 1.0])
    mask = torch.zeros_like(time, dtype=torch.bool)
    mask[..., 1] = observations.mask
    tripled = Observations(state.repeat_interleave(3, 1), time.flatten(1), mask.flatten(1))
    early, predicted, late = model.forward(tripled).unflatten(1, (-1, 3)).unbind(2)
    before, after = surrounding_observations(observations.mask)
    first = torch.where(before < 0, after, before)
    last = torch.where(after >= observations.time.shape[1], before, after)
    batch, clock = torch.arange(len(state))[:, None], observations.time
    span = (clock[batch, last] - clock[batch, first]).clamp(min=TIME_EPSILON)
    weight = ((clock - clock[batch, first]) / span).clamp(0, 1)
    weight[before < 0], weight[after >= weight.shape[1]] = 1.0, 0.0
    weight = weight[..., None].to(state)
    first_error, last_error = (state - late)[batch, first], (state - early)[batch, last]
    correction = (1 - weight) * first_error + weight * last_error
    return torch.where(observations.mask[..., None], state, predicted + correction)


class LearnedStatePredictor:
    """State predictor with a time-series model, for a limited time.

    Besides the joint states, the model gets one future state as an observation: the planned state
    one sample later plus the tracking error of the last joint state, extrapolated linearly. So it
    does not have to predict where the controller moves the arm.
    """

    def __init__(
        self, model: TimeSeriesModel, robot: Robot, config: StatePredictorConfig | None = None
    ) -> None:
        """Create a predictor; it has no joint states yet.

        Args:
            model: time-series model of the arm's joints.
            robot: the arm.
            config: limits of prediction.

        Raises:
            ValueError: the model is of other joints.
        """
        if model.meta.joint_names != robot.joint_names:
            raise ValueError(
                f"the time-series model is of {', '.join(model.meta.joint_names)}; "
                f"'{robot.name}' has {', '.join(robot.joint_names)}"
            )
        self.model, self.period = model, 1 / robot.rate
        self.config = config or StatePredictorConfig()
        self._history: deque[TrackedState] = deque(maxlen=model.history_length)
        self._prediction: MeasuredState | None = None

    def update(self, measured: MeasuredState, desired: State | None) -> None:
        """Add a joint state and the desired state at its time; None if the arm is not driven.

        A repeated stamp replaces the joint state; an earlier stamp, and an arm that is not
        driven, clear the history. States that are not finite are ignored.

        Raises:
            ValueError: the joint state has no velocity.
        """
        if measured.qd.shape != measured.q.shape:
            raise ValueError(
                "joint states have no velocity, which a time-series model needs; run without a "
                "state predictor"
            )
        if not np.isfinite([measured.time, *measured.q, *measured.qd]).all():
            return
        if desired is None or (self._history and measured.time < self._history[-1].measured.time):
            self._history.clear()
        if desired is None:
            return
        if self._history and measured.time == self._history[-1].measured.time:
            self._history.pop()
        self._history.append(TrackedState(measured, desired))
        self._rollout_start, self._prediction = measured, None

    def predict(self, time: float, plan: Plan | None) -> MeasuredState | None:
        """Return the state at a time [s]; None without a joint state or after `max_dropout`.

        Raises:
            ValueError: the time is before the last joint state.
        """
        if not self._history or plan is None:
            return None
        last = self._history[-1].measured
        if time < last.time:
            raise ValueError(f"time {time} s is before the last joint state, at {last.time} s")
        if time == last.time:
            return last
        if time > last.time + self.config.max_dropout:
            return None
        if self._prediction is not None and self._prediction.time < time:
            self._rollout_start = self._prediction
        elif self._rollout_start.time >= time:
            self._rollout_start = last
        next_time = time + self.period
        # a model of one state continues from its last prediction: long gaps cost no more time
        observed = (
            [self._rollout_start]
            if self.model.history_length == 1
            else [measured for measured, _ in self._history]
        )
        next_state = _extrapolate_plan(self._history[-1], plan, next_time)
        observations = _observations(observed, time, next_time, next_state)
        q, qd = impute(self.model, observations)[0, -2].double().numpy().reshape(2, -1)
        self._prediction = MeasuredState(time, q, qd)
        return self._prediction


def _extrapolate_plan(last: TrackedState, plan: Plan, time: float) -> Array:
    """Return the planned state (2n,) at a time plus the extrapolated tracking error."""
    (last_time, q, qd, _), desired, planned = last.measured, last.desired, plan.at(time)
    velocity_error = qd - desired.qd
    return np.concatenate(
        [
            planned.q + q - desired.q + (time - last_time) * velocity_error,
            planned.qd + velocity_error,
        ]
    )


def _observations(
    observed: Sequence[MeasuredState], time: float, next_time: float, next_state: Array
) -> Observations:
    """Return the observed rows (T - 2), a row to predict, and the future state."""
    rows = [np.concatenate([m.q, m.qd]) for m in observed]
    times = [m.time for m in observed]
    states = torch.from_numpy(np.stack([*rows, next_state, next_state]))[None]
    mask = torch.ones(1, len(rows) + 2, dtype=torch.bool)
    mask[0, -2] = False
    all_times = torch.tensor([[*times, time, next_time]], dtype=torch.float64)
    return Observations(states, all_times, mask)
