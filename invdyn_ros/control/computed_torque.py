"""Computed-torque control of an arm with an inverse-dynamics model."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.motion_profile import Plan, State
from invdyn_ros.control.safety_limits import clip
from invdyn_ros.models.predictor import PredictedAction, Predictor
from invdyn_ros.robots.feedback import FEEDBACK, MAX_VELOCITY_TO_PLAN, FeedbackConfig
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

NO_EFFORT = np.empty(0)


class ConstantInertiaModel:
    """Baseline without dynamics: joints of constant inertia, or position servos without error."""

    n_obs_steps = 1

    def __init__(self, robot: Robot, unit: str) -> None:
        self.n = robot.n
        self.inertia = np.diag(robot.mass_matrix(robot.home))
        self.unit = unit

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return inertia times desired acceleration [N m], or the desired position [rad]."""
        q, qdd = motion[..., : self.n], motion[..., 2 * self.n :]
        return PredictedAction(self.inertia * qdd if self.unit == "N m" else q, None)


class MeasuredState(NamedTuple):
    """A measured joint state.

    Attributes:
        time: stamp of the source [s].
        q: (n,) [rad].
        qd: (n,) [rad/s], empty if the arm does not measure velocities.
        effort: (n,) torque, current or load in the arm's own unit, empty if it measures none.
    """

    time: float
    q: Array
    qd: Array
    effort: Array = NO_EFFORT


class ComputedTorqueController:
    """Computed-torque control with a learned model (Luh, Walker, Paul 1980).

    The model's input is the motion at the moment when the action takes effect, `action_delay`
    after it is sent: the planned position minus the current error, the planned velocity plus the
    one at which the error is to vanish, and the planned acceleration plus feedback. With this
    reference velocity (Slotine, Li 1987) the model's dry friction acts towards the plan also
    where the plan is slow or at rest, so that friction does not hold a joint beside it.

    Attributes:
        using_fallback: whether the fallback contributed to the last action.
        extra_delay: measured time beyond `action_delay` until an action takes effect [s].
        gain_scale: factor of the bandwidth of the feedback [-].
        desired: planned state at the time of the last measurement, None before the first one.
        frame: (3n,) motion of the last action: position, velocity, acceleration with feedback.
    """

    def __init__(
        self,
        model: Predictor,
        unit: str,
        action_delay: float,
        config: FeedbackConfig | None = None,
        fallback: Fallback | None = None,
        inertial_torque: Callable[[Array, Array], Array] | None = None,
    ) -> None:
        """Create a controller.

        Args:
            model: maps motion to actions.
            unit: unit of the model's actions.
            action_delay: time from sending an action to its effect [s]; a negative one, of a
                recorded effort that was late, counts as zero.
            config: feedback gains; by default those of the unit.
            fallback: replaces the model where its standard deviation is too large.
            inertial_torque: torque of accelerations at positions, for feedback in torque space.

        Raises:
            ValueError: no default feedback for the unit, or no inertia for feedback in torque
                space.
        """
        if unit not in FEEDBACK:
            raise ValueError(f"no feedback for actions in '{unit}'; known: {sorted(FEEDBACK)}")
        self.model, self.action_delay, self.fallback = model, max(action_delay, 0.0), fallback
        self.config = config or FEEDBACK[unit]
        if self.config.space == "torque" and inertial_torque is None:
            raise ValueError("feedback in torque space needs the inertia of the arm")
        self._inertial_torque = inertial_torque
        self.extra_delay, self.gain_scale = 0.0, 1.0
        self._recent_count = 8
        # a model of single frames without a standard deviation has `act`, which is faster
        self._act: Callable[[Array], Array] | None = getattr(model, "act", None)
        self.reset()

    def reset(self) -> None:
        """Clear the integrated error and the motion so far."""
        self.using_fallback = False
        self.desired: State | None = None
        self.frame: Array = np.empty(0)
        self._integral: Array | float = 0.0
        self._bias: Array | float = 0.0
        self._recent: deque[tuple[float, Array, Array]] = deque(maxlen=self._recent_count)
        self._last_time: float | None = None
        self._frames: deque[tuple[float, Array]] = deque(maxlen=self.model.n_obs_steps)

    def hold_disturbance(self) -> None:
        """Add the acceleration that the arm lacked lately, so that an unknown load is held.

        It is the commanded minus the measured acceleration, which is what a load takes.
        """
        if len(self._recent) < 3 or not self._recent[-1][1].size:
            return
        (start, qd_start, _), (end, qd_end, _) = self._recent[-3], self._recent[-1]
        measured = (qd_end - qd_start) / max(end - start, 1e-3)
        self._bias = self._recent[-3][2] - measured

    def __call__(self, plan: Plan, measured: MeasuredState) -> Array:
        """Return the action (n,) to send now, in the model's unit."""
        config = self.config
        self.desired = now = plan.at(measured.time)
        delay = self.action_delay + self.extra_delay
        planned = plan.at(measured.time + delay) if delay else now
        error = now.q - measured.q
        velocity_error = now.qd - measured.qd if measured.qd.size else np.zeros_like(error)
        if self._last_time is not None and measured.time > self._last_time:
            dt = min(measured.time - self._last_time, 0.1)
            integral, limit = self._integral + dt * error, config.integral_limit
            self._integral = clip(integral, -limit, limit)
        s = self.gain_scale  # poles scale with the bandwidth
        feedback = (
            s**2 * config.stiffness * error
            + s * config.damping * velocity_error
            + s**3 * config.integral * self._integral
            + self._bias
        )
        qdd = planned.qdd + feedback
        self._recent.append((measured.time, measured.qd, qdd))
        q = planned.q - config.error_feedthrough * error
        to_plan = s * config.convergence_rate * error
        qd = planned.qd + clip(to_plan, -MAX_VELOCITY_TO_PLAN, MAX_VELOCITY_TO_PLAN)
        self.frame = np.concatenate([q, qd, qdd])
        if config.space == "torque" and self._inertial_torque is not None:
            frame = np.concatenate([planned.q, qd, planned.qdd])
            torque = self._inertial_torque(planned.q, feedback)
            return self._model_action(frame, measured.time, delay) + torque
        return self._model_action(self.frame, measured.time, delay)

    def _model_action(self, frame: Array, time: float, delay: float) -> Array:
        """Return the model's action (n,) for a new frame of motion.

        Args:
            frame: (3n,) position, velocity and acceleration.
            time: of the measurement [s].
            delay: time until the action takes effect [s].
        """
        if self._act is not None:
            self._last_time = time
            return self._act(frame)
        if self._last_time == time:  # the same measurement with a newer plan
            self._frames.pop()
        self._frames.append((time + delay, frame))
        self._last_time = time
        while len(self._frames) < self.model.n_obs_steps:
            first = self._frames[0]
            self._frames.appendleft((first[0] - 1e-3, first[1]))
        times, frames = zip(*self._frames, strict=True)
        return self._predict(np.stack(frames)[None], np.array([times]))

    def _predict(self, motion: Array, time: Array) -> Array:
        """Return the model's action (n,), blended with the fallback's by its weight."""
        mean, std = self.model.predict(motion, time)
        action, self.using_fallback = mean[0, -1], False
        if self.fallback is not None and std is not None:
            weight = self.fallback.weight(std[0, -1])
            self.using_fallback = weight > 0
            if self.using_fallback:
                fallback_action = self.fallback.model.predict(motion, time).mean[0, -1]
                action = (1 - weight) * action + weight * fallback_action
        return action
