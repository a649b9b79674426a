"""Where an arm is while its joint states are missing: what was seen of it enters, states leave."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from invdyn_ros.config import Validated
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.safety_limits import Plan, State
from invdyn_ros.models.timeseries.encoder_model import EncoderDecoder
from invdyn_ros.models.timeseries.observations import (
    Observations,
    check_observations,
    surrounding_observations,
)
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

TIME_EPSILON = 1e-6  # [s] that is no time


@dataclass(frozen=True)
class StatePredictorConfig(Validated):
    """How long an arm is driven unseen.

    Attributes:
        unseen: time after the last joint state from which on nothing is sent [s].
    """

    max_dropout: NonNegativeFloat = 0.1


class TrackedState(NamedTuple):
    """A joint state, and where the arm should have been then."""

    measured: MeasuredState
    desired: State


@torch.inference_mode()
def impute(model: TimeSeriesModel, observations: Observations) -> Tensor:
    """Return states (B, T, 2n) of a record that go through what was seen, without a jump.

    A bridge does so itself. A model that only reads observations misses even those by a little,
    which is more than an arm moves in a few samples: by how much it misses both ends of a gap is
    taken off what it says between, in proportion to time.

    Raises:
        ValueError: a record that no path goes through.
    """
    if not isinstance(model, EncoderDecoder):
        return model.predict(observations)
    check_observations(observations, model.n)
    state = torch.where(observations.mask[..., None], observations.state, 0.0).to(model.scale)
    # its code jumps where something is seen, so each row is asked about from both sides too
    time = observations.time[..., None] + TIME_EPSILON * torch.tensor([-1.0, 0.0, 1.0])
    seen = torch.zeros_like(time, dtype=torch.bool)
    seen[..., 1] = observations.mask
    told = Observations(state.repeat_interleave(3, 1), time.flatten(1), seen.flatten(1))
    early, found, late = model.forward(told).unflatten(1, (-1, 3)).unbind(2)
    before, after = surrounding_observations(observations.mask)
    first = torch.where(before < 0, after, before)
    last = torch.where(after >= observations.time.shape[1], before, after)
    each, clock = torch.arange(len(state))[:, None], observations.time
    span = (clock[each, last] - clock[each, first]).clamp(min=TIME_EPSILON)
    share = ((clock - clock[each, first]) / span).clamp(0, 1)
    share[before < 0], share[after >= share.shape[1]] = 1.0, 0.0
    share = share[..., None].to(state)
    off = (1 - share) * (state - late)[each, first] + share * (state - early)[each, last]
    return torch.where(observations.mask[..., None], state, found + off)


class LearnedStatePredictor:
    """Carries what was seen of an arm on to now, by a path model, for a limited time.

    The model is told what came, and one state ahead: where the plan is a sample later, strayed
    from as far as the arm had when it was seen last, and on at the rate it then had. So it need
    not guess where the arm is driven to.
    """

    def __init__(
        self, model: TimeSeriesModel, robot: Robot, config: StatePredictorConfig | None = None
    ) -> None:
        """Take a model of the arm's own joints.

        Raises:
            ValueError: a model of other joints.
        """
        if model.meta.joint_names != robot.joint_names:
            raise ValueError(
                f"the path model is of {', '.join(model.meta.joint_names)}; '{robot.name}' has "
                f"{', '.join(robot.joint_names)}"
            )
        self.model, self.period = model, 1 / robot.rate
        self.config = config or StatePredictorConfig()
        self._history: deque[TrackedState] = deque(maxlen=model.history_length)
        self._prediction: MeasuredState | None = None

    def update(self, measured: MeasuredState, desired: State | None) -> None:
        """Take a joint state, and where the arm should have been then; None: it is not driven.

        A stamp that comes again replaces what it was of; an earlier one starts anew from there,
        and so does an arm that is not driven. What is not finite is not taken.

        Raises:
            ValueError: an arm without velocities, which a path model reads.
        """
        if measured.qd.shape != measured.q.shape:
            raise ValueError(
                "joint states have no velocity, which a path model reads; drive without one"
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
        """Return where the arm is at a time [s]; None where nobody knows any more.

        Raises:
            ValueError: a time before the last joint state.
        """
        if not self._history or plan is None:
            return None
        last = self._history[-1].measured
        if time < last.time:
            raise ValueError(f"asked for {time} s; a joint state of {last.time} s is known")
        if time == last.time:
            return last
        if time > last.time + self.config.max_dropout:
            return None
        if self._prediction is not None and self._prediction.time < time:
            self._rollout_start = self._prediction
        elif self._rollout_start.time >= time:
            self._rollout_start = last
        then = time + self.period
        # what needs no more than one state goes on from what was said last: as quick in long gaps
        known = (
            [self._rollout_start]
            if self.model.history_length == 1
            else [m for m, _ in self._history]
        )
        record = _observations(known, time, then, _extrapolate_plan(self._history[-1], plan, then))
        q, qd = impute(self.model, record)[0, -2].double().numpy().reshape(2, -1)
        self._prediction = MeasuredState(time, q, qd)
        return self._prediction


def _extrapolate_plan(last: TrackedState, plan: Plan, time: float) -> Array:
    """Return the state (2n,) at a time that strays from the plan on as the last one seen does."""
    (then, q, qd), wanted, goal = last.measured, last.desired, plan.at(time)
    drift = qd - wanted.qd
    return np.concatenate([goal.q + q - wanted.q + (time - then) * drift, goal.qd + drift])


def _observations(
    seen: Sequence[MeasuredState], now: float, then: float, state: Array
) -> Observations:
    """Return what was seen (T - 2 rows), a row to be said, and the state ahead."""
    rows = [np.concatenate([m.q, m.qd]) for m in seen]
    times = [m.time for m in seen]
    states = torch.from_numpy(np.stack([*rows, state, state]))[None]
    known = torch.ones(1, len(rows) + 2, dtype=torch.bool)
    known[0, -2] = False
    return Observations(states, torch.tensor([[*times, now, then]], dtype=torch.float64), known)
