"""Control loop of an arm whose joint states arrive irregularly.

Stamps are those of the source. The time since the last joint state arrived is measured with the
receiver's clock, so the two clocks need not be synchronised.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController, Command
from invdyn_ros.control.state_predictor import LearnedStatePredictor

JOINT_STATES_MISSING = "joint states are missing"
NO_COMMAND = Command(None, None, JOINT_STATES_MISSING, None)
ALLOWED_DELAY = 0.5  # delay of a joint state [samples] before it counts as missing


class StampedCommand(NamedTuple):
    """A command, and the time that it is for by the clock of the source [s]."""

    time: float
    command: Command


class DropoutController:
    """Arm controller that predicts missing joint states for a limited time.

    Attributes:
        predicted_count: number of actions that were computed from a predicted joint state.
    """

    def __init__(self, controller: ArmController, predictor: LearnedStatePredictor) -> None:
        """Wrap the controller of an arm with a predictor of its state."""
        self.controller, self.predictor = controller, predictor
        self.period = 1 / controller.robot.rate
        self.predicted_count = 0
        self._last_measured: MeasuredState | None = None
        self._arrival_time = self._command_time = -math.inf
        self._missing_count = 0

    def on_joint_state(self, measured: MeasuredState, clock: float) -> Command | None:
        """Return the command for a joint state; None if its time already has one.

        Args:
            measured: joint state with the source's stamp.
            clock: time of arrival [s], by any monotonic clock.

        Raises:
            ValueError: the joint state has another number of joints, or no velocity.
        """
        if self._last_measured is None or measured.time < self._last_measured.time:
            self._command_time = -math.inf  # the first joint state, or time started again
        self._last_measured, self._arrival_time, self._missing_count = measured, clock, 0
        desired = self.controller.tracking_controller.desired
        if measured.time < self._command_time and desired is not None:
            desired_then = desired.extrapolate(measured.time - self._command_time)
            self.predictor.update(measured, desired_then)
            return None
        self._command_time = measured.time
        command = self.controller.update(measured)
        self.predictor.update(measured, command.desired)
        return command

    def predict_missing(self, clock: float) -> StampedCommand | None:
        """Return the command for the newest missing joint state; None if none is missing."""
        if self._last_measured is None or not self.controller.engaged:
            return None
        count = math.floor((clock - self._arrival_time) / self.period - ALLOWED_DELAY)
        time = self._last_measured.time + count * self.period
        if count <= self._missing_count or time <= self._command_time:
            return None
        self._missing_count = count
        stamped = self._command_at(time)
        self.predicted_count += stamped.command.action is not None
        return stamped

    def recompute(self, clock: float) -> StampedCommand | None:
        """Compute the last command again, for a new target; None before the first joint state."""
        if self._last_measured is None:
            return None
        if (
            self.controller.engaged
            and clock - self._arrival_time > self.predictor.config.max_dropout
        ):
            return StampedCommand(self._command_time, NO_COMMAND)
        return self._command_at(self._command_time)

    def _command_at(self, time: float) -> StampedCommand:
        if self._last_measured is not None and time == self._last_measured.time:
            return StampedCommand(time, self.controller.update(self._last_measured))
        measured = self.predictor.predict(time, self.controller.plan)
        if measured is None:
            return StampedCommand(time, NO_COMMAND)
        self._command_time = time
        return StampedCommand(time, self.controller.update(measured))
