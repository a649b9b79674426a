"""Check of a model's actions against the rigid-body dynamics of the URDF."""

from __future__ import annotations

import math

import numpy as np
import torch

from invdyn_ros.control.action_limits import SETPOINT_LEAD, SETPOINT_REACH
from invdyn_ros.control.computed_torque import ComputedTorqueController
from invdyn_ros.control.faults import MODEL_IMPLAUSIBLE, MODEL_NOT_FINITE, Fault, joint_fault
from invdyn_ros.models.inverse_dynamics import Prediction
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

ROTOR_GUESS = 0.002  # [s2/rad] rotor inertia of a typical geared joint, per effort limit
LOAD_RATIO = 0.25  # of the torque of the URDF [-] that a load or other masses may add
DOUBT_TIME = 0.02  # [s] for which implausible actions are replaced before they are a fault


class NominalModel:
    """Inverse dynamics of an arm by its URDF, or position servos without error.

    Attributes:
        offset: (n,) added to each action, such as friction that the URDF lacks.
    """

    n_obs_steps = 1

    def __init__(self, robot: Robot, unit: str) -> None:
        self.robot, self.unit = robot, unit
        self.rotor = ROTOR_GUESS * robot.effort
        self.offset = np.zeros(robot.n)

    def nominal(self, frame: Array) -> Array:
        """Return the action (n,) of a frame (3n,) without the offset."""
        q, qd, qdd = frame.reshape(3, -1)
        if self.unit != "N m":
            return q
        return self.robot.inverse_dynamics(q, qd, qdd) + self.rotor * qdd

    def act(self, frame: Array) -> Array:
        """Return the action (n,) of a frame (3n,)."""
        return self.nominal(frame) + self.offset

    def predict(self, motion: torch.Tensor, time: torch.Tensor) -> Prediction:
        """Return the actions (B, T, n) of motion (B, T, 3n)."""
        frames = motion.double().numpy()
        return Prediction(torch.from_numpy(np.apply_along_axis(self.act, -1, frames)), None)


class ModelCheck:
    """Check of the actions of a model of one arm.

    An action that no arm like that of the URDF needs is replaced by the nominal one, with the last
    plausible difference between the two. If that lasts, it is a fault.

    Attributes:
        model: the nominal model, with which an arm can be stopped.
    """

    def __init__(self, robot: Robot, unit: str, tolerance: float) -> None:
        """Create a check.

        Args:
            robot: the arm.
            unit: unit of the actions.
            tolerance: plausible difference of a torque, as a fraction of the effort limit [-].
        """
        self.model = NominalModel(robot, unit)
        self._names, self._unit = robot.joint_names, unit
        self._tolerance = tolerance * robot.effort
        self.reset()

    def reset(self) -> None:
        """Forget the actions so far."""
        self.model.offset = np.zeros(len(self._names))
        self._start: float | None = None

    def check(
        self, action: Array, controller: ComputedTorqueController, time: float
    ) -> tuple[Array, Fault | None]:
        """Return a plausible action (n,), and the fault if the model's actions are none.

        Args:
            action: (n,) of the model.
            controller: has the motion that the action is for.
            time: current time [s].
        """
        if controller.desired is None or not np.isfinite(action).all():
            return action, Fault(MODEL_NOT_FINITE, None, math.nan, math.inf, self._unit)
        nominal = self.model.nominal(controller.frame)
        if self._unit == "N m":
            difference = np.abs(action - nominal)
            allowed = self._tolerance + LOAD_RATIO * np.abs(nominal)
        else:
            q, qd, _ = controller.desired
            difference = np.abs(action - q)
            allowed = SETPOINT_REACH + SETPOINT_LEAD * np.abs(qd)
        if not np.count_nonzero(difference > allowed):
            self.model.offset, self._start = action - nominal, None
            return action, None
        self._start = time if self._start is None else self._start
        fault = None
        if time - self._start >= DOUBT_TIME:
            fault = joint_fault(MODEL_IMPLAUSIBLE, self._names, difference, allowed, self._unit)
        return nominal + self.model.offset, fault
