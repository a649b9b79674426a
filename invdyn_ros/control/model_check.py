"""Check of a model's actions against the rigid-body dynamics of the URDF."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from invdyn_ros.control.action_limits import SETPOINT_LEAD
from invdyn_ros.control.computed_torque import ComputedTorqueController, MeasuredState
from invdyn_ros.control.faults import (
    MODEL_FAULTS,
    MODEL_IMPLAUSIBLE,
    MODEL_NOT_FINITE,
    TRACKING,
    Fault,
    MeasurementMonitorConfig,
    joint_fault,
)
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.robots.feedback import nominal_rotor_inertia
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

LOAD_RATIO = 0.25  # of the torque of the URDF [-] that a load or other masses may add
DOUBT_TIME = 0.02  # [s] for which implausible actions are replaced before they are a fault
LOAD_WINDOW = 0.015  # [s] over which an acceleration is measured
STAMP_MARGIN = 1e-6  # [s]
# of the bandwidth in a stop [-]: an unknown load makes the arm heavier than its nominal model
STOP_GAIN_SCALE = 1.6
HISTORY = 64  # torques, more than are on their way and in the window


class NominalModel:
    """Inverse dynamics of an arm by its URDF, or position servos without error.

    Attributes:
        offset: (n,) added to each action, such as friction that the URDF lacks.
    """

    n_obs_steps = 1

    def __init__(self, robot: Robot, unit: str) -> None:
        self.robot, self.unit = robot, unit
        self.rotor = nominal_rotor_inertia(robot.effort)
        self.offset = np.zeros(robot.n)

    def nominal(self, frame: Array) -> Array:
        """Return the action (n,) of a frame (3n,) without the offset."""
        q, qd, qdd = frame.reshape(3, -1)
        if self.unit != "N m":
            return q
        return self.robot.inverse_dynamics(q, qd, qdd) + self.rotor * qdd

    def inertial_torque(self, q: Array, qdd: Array) -> Array:
        """Return the torque (n,) [N m] that accelerations (n,) take at positions (n,)."""
        still = np.zeros_like(q)
        robot = self.robot
        rigid = robot.inverse_dynamics(q, still, qdd) - robot.inverse_dynamics(q, still, still)
        return rigid + self.rotor * qdd

    def act(self, frame: Array) -> Array:
        """Return the action (n,) of a frame (3n,)."""
        return self.nominal(frame) + self.offset

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the actions (B, T, n) of motion (B, T, 3n)."""
        return PredictedAction(np.apply_along_axis(self.act, -1, motion), None)


class _Sent(NamedTuple):
    """A joint state, and the torque (n,) that answered it."""

    state: MeasuredState
    torque: Array


class ModelCheck:
    """Check of the actions of a model of one arm.

    An action that no arm like that of the URDF needs is replaced by the nominal one, with the last
    plausible difference between the two. If that lasts, it is a fault.

    Attributes:
        model: the nominal model, with which an arm is stopped after a fault of model or tracking.
    """

    def __init__(self, robot: Robot, unit: str, config: MeasurementMonitorConfig) -> None:
        """Create a check.

        Args:
            robot: the arm.
            unit: unit of the actions.
            config: its `model_error` and `servo_model_error` are used.
        """
        self.model = NominalModel(robot, unit)
        self._names, self._unit = robot.joint_names, unit
        self._tolerance = config.model_error * robot.effort
        self._reach = config.servo_model_error
        self.reset()

    def reset(self) -> None:
        """Forget the actions so far."""
        self.model.offset = np.zeros(len(self._names))
        self._start: float | None = None
        self._sent: deque[_Sent] = deque(maxlen=HISTORY)

    def add_sent(self, state: MeasuredState, torque: Array) -> None:
        """Note the torque (n,) that answers a joint state."""
        self._sent.append(_Sent(state, torque))

    def stop_controller(
        self, fault: Fault, controller: ComputedTorqueController
    ) -> ComputedTorqueController:
        """Return the controller of the way to rest after a fault: the nominal model if need be.

        Args:
            fault: why the arm stops.
            controller: has driven it.
        """
        if self._unit != "N m" or fault.reason not in TRACKING | MODEL_FAULTS:
            return controller
        if fault.reason in TRACKING:
            self._estimate_load(controller.action_delay + controller.extra_delay)
        feedback = replace(controller.config, space="acceleration")
        stop = ComputedTorqueController(self.model, self._unit, controller.action_delay, feedback)
        stop.extra_delay = controller.extra_delay
        stop.gain_scale = STOP_GAIN_SCALE * controller.gain_scale
        return stop

    def _estimate_load(self, delay: float) -> None:
        """Set the offset of the nominal model to what the measured acceleration leaves over.

        The torques sent minus those that the URDF needs for the measured motion are friction and
        load, known to the model or not.

        Args:
            delay: time until a torque takes effect [s].
        """
        if not self._sent or not self._sent[-1].state.qd.size:
            return
        last = self._sent[-1].state
        earlier = (s.state for s in reversed(self._sent))
        first = next((s for s in earlier if last.time - s.time >= LOAD_WINDOW), None)
        if first is None:
            return
        start, end = (s.time - delay - STAMP_MARGIN for s in (first, last))
        torques = [s.torque for s in self._sent if start <= s.state.time < end]
        if not torques:
            return
        qdd = (last.qd - first.qd) / (last.time - first.time)
        motion = np.concatenate([(first.q + last.q) / 2, (first.qd + last.qd) / 2, qdd])
        self.model.offset = np.mean(torques, axis=0) - self.model.nominal(motion)

    def check(
        self, action: Array, controller: ComputedTorqueController, time: float
    ) -> tuple[Array, Fault | None]:
        """Return a plausible action (n,), and the fault if the model's actions are none.

        Args:
            action: (n,) of the model.
            controller: has the motion that the action is for.
            time: current time [s].
        """
        if controller.desired is None or np.count_nonzero(np.isfinite(action)) < action.size:
            return action, Fault(MODEL_NOT_FINITE, None, math.nan, math.inf, self._unit)
        nominal = self.model.nominal(controller.frame)
        if self._unit == "N m":
            difference = np.abs(action - nominal)
            allowed = self._tolerance + LOAD_RATIO * np.abs(nominal)
        else:
            q, qd, _ = controller.desired
            difference = np.abs(action - q)
            allowed = self._reach + SETPOINT_LEAD * np.abs(qd)
        if not np.count_nonzero(difference > allowed):
            self.model.offset, self._start = action - nominal, None
            return action, None
        self._start = time if self._start is None else self._start
        fault = None
        if time - self._start >= DOUBT_TIME:
            fault = joint_fault(MODEL_IMPLAUSIBLE, self._names, difference, allowed, self._unit)
        return nominal + self.model.offset, fault
