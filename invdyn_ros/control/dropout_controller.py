"""Control loop of an arm whose joint states arrive irregularly.

Stamps are those of the source. The time since the last joint state arrived is measured with the
receiver's clock, so the two clocks need not be synchronised.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from invdyn_ros.control.command import Command
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController

if TYPE_CHECKING:  # slow to import
    from invdyn_ros.control.learned_state_predictor import LearnedStatePredictor

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
        """Wrap the controller of an arm with a predictor of its state.

        Joint states count as stopped once they cannot be predicted any more.
        """
        self.controller, self.predictor = controller, predictor
        controller.monitor.extend_timeout(predictor.config.max_dropout)
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
            ValueError: the first joint state has no velocity.
        """
        monitor, last = self.controller.monitor, self._last_measured
        command = self.controller.observe(measured, clock)
        if not monitor.is_new or monitor.measured is None:
            return command
        accepted = monitor.measured
        self._last_measured, self._arrival_time, self._missing_count = accepted, clock, 0
        if last is None or accepted.time < last.time:
            self._command_time = -math.inf  # the first joint state, or time started again
        desired = self.controller.actions.tracking_controller.desired
        if accepted.time < self._command_time and desired is not None and command is None:
            desired_then = desired.extrapolate(accepted.time - self._command_time)
            self.predictor.update(accepted, desired_then)
            return None
        self._command_time = accepted.time
        if command is None:
            command = self.controller.follow(accepted)
        if last is None or accepted.qd.size:
            self.predictor.update(accepted, command.desired)
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

    def _command_at(self, time: float) -> StampedCommand:
        """Return the command for a predicted state, which is no measurement to the monitor."""
        measured = None
        if self.controller.plan is not None and self.controller.fault is None:
            measured = self.predictor.predict(time, self.controller.plan)
        if measured is None:
            return StampedCommand(time, NO_COMMAND)
        self._command_time = time
        return StampedCommand(time, self.controller.follow(measured))
