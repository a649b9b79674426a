"""Make the arm follow a plan through an inverse-dynamics model.

Enters: a plan and the measured state. Leaves: the action (n,) that takes the arm from where it is
to where the plan will be when the action takes effect.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.safety_limits import Plan, State
from invdyn_ros.models.inverse_dynamics import Prediction
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


@dataclass(frozen=True)
class FeedbackConfig:
    """Feedback in acceleration space, added to the wanted acceleration before the model.

    Attributes:
        stiffness: acceleration per position error [1/s2].
        damping: acceleration per velocity error [1/s].
        integral: acceleration per integrated position error [1/s3].
        windup: largest integrated error [rad s].
        carried: share of the present position error that the model's state starts from [-].
    """

    stiffness: float = 225.0
    damping: float = 30.0
    integral: float = 600.0
    integral_limit: float = 0.05
    error_feedthrough: float = 1.0


# A position servo closes its own loop, so its setpoint starts from the plan, not from the error.
FEEDBACK = {
    "N m": FeedbackConfig(),
    "rad": FeedbackConfig(stiffness=0.0, damping=0.0, integral=0.0, error_feedthrough=0.0),
}


class InverseDynamicsModel(Protocol):
    """What the follower needs of a model; every family has it."""

    @property
    def n_obs_steps(self) -> int:
        """Frames of motion that a prediction looks at."""

    def predict(self, motion: torch.Tensor, time: torch.Tensor) -> Prediction:
        """Return the actions (B, T, n) of motion (B, T, 3n) at times (B, T) [s]."""


class ConstantInertiaModel:
    """No model: each joint a constant inertia, each servo perfect. What every model must beat."""

    n_obs_steps = 1

    def __init__(self, robot: Robot, unit: str) -> None:
        self.n = robot.n
        self.inertia = torch.from_numpy(np.diag(robot.mass_matrix(robot.home)).copy())
        self.unit = unit

    def predict(self, motion: torch.Tensor, time: torch.Tensor) -> Prediction:
        """Return inertia times wanted acceleration [N m], or the wanted position [rad]."""
        q, qdd = motion[..., : self.n], motion[..., 2 * self.n :]
        return Prediction(self.inertia * qdd if self.unit == "N m" else q, None)


class MeasuredState(NamedTuple):
    """What the arm reported: time [s], q (n,) [rad], qd (n,) [rad/s] or empty if not measured."""

    time: float
    q: Array
    qd: Array


class ComputedTorqueController:
    """Computed torque with a learned model (Luh, Walker, Paul 1980, with any model inside).

    The model sees the motion at the moment the action will act (`action_delay` after it is sent): the
    planned state moved by the present error, and the acceleration wanted by plan and feedback.
    `lost` tells whether the last action came, in part or whole, from the fallback; `wanted` is
    where the plan was at the time of the last measurement, None before one.
    """

    def __init__(
        self,
        model: InverseDynamicsModel,
        unit: str,
        action_delay: float,
        config: FeedbackConfig | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        if unit not in FEEDBACK:
            raise ValueError(f"no feedback for actions in '{unit}'; known: {sorted(FEEDBACK)}")
        self.model, self.action_delay, self.fallback = model, action_delay, fallback
        self.config = config or FEEDBACK[unit]
        # a model of single frames that is never in doubt may answer without torch
        self._act: Callable[[Array], Array] | None = getattr(model, "act", None)
        self.reset()

    def reset(self) -> None:
        """Forget the integrated error and the motion so far."""
        self.using_fallback = False
        self.desired: State | None = None
        self._integral: Array | float = 0.0
        self._last: float | None = None
        self._frames: deque[tuple[float, Array]] = deque(maxlen=self.model.n_obs_steps)

    def __call__(self, plan: Plan, measured: MeasuredState) -> Array:
        """Return the action (n,) to send now, in the model's unit."""
        config = self.config
        self.desired = now = plan.at(measured.time)
        then = plan.at(measured.time + self.action_delay) if self.action_delay else now
        error = now.q - measured.q
        rate_error = now.qd - measured.qd if measured.qd.size else np.zeros_like(error)
        if self._last is not None and measured.time > self._last:
            step = min(measured.time - self._last, 0.1)
            integral = np.maximum(self._integral + step * error, -config.integral_limit)
            self._integral = np.minimum(integral, config.integral_limit)
        desired = (
            then.qdd
            + config.stiffness * error
            + config.damping * rate_error
            + config.integral * self._integral
        )
        frame = np.concatenate(
            [then.q - config.error_feedthrough * error, then.qd, desired]
        )  # (3n,)
        if self._act is not None:
            self._last = measured.time
            return self._act(frame)
        if self._last == measured.time:  # asked again, about a newer plan
            self._frames.pop()
        self._frames.append((measured.time + self.action_delay, frame))
        self._last = measured.time
        while len(self._frames) < self.model.n_obs_steps:
            first = self._frames[0]
            self._frames.appendleft((first[0] - 1e-3, first[1]))
        times, frames = zip(*self._frames, strict=True)
        stamps = torch.tensor(times, dtype=torch.float64)
        return self._predict(torch.from_numpy(np.stack(frames))[None], stamps[None])

    def _predict(self, motion: torch.Tensor, time: torch.Tensor) -> Array:
        """Return the model's action (n,), or the fallback's where the model is in doubt."""
        mean, std = self.model.predict(motion, time)
        action, self.using_fallback = _last_frame(mean), False
        if self.fallback is not None and std is not None:
            share = self.fallback.weight(_last_frame(std))
            self.using_fallback = share > 0
            if self.using_fallback:
                rigid = _last_frame(self.fallback.model.predict(motion, time).mean)
                action = (1 - share) * action + share * rigid
        return action


def _last_frame(part: torch.Tensor) -> Array:
    """Return the last frame (n,) of a window's prediction (1, T, n)."""
    return part[0, -1].double().cpu().numpy()
