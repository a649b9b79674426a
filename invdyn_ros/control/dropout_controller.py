"""The loop of an arm whose joint states come now and then: what comes enters, commands leave.

Joint states and the clock that they are missed by are told apart: stamps are the source's, and
how long nothing came is the time since the last one arrived, so the clocks need not agree.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController, Command
from invdyn_ros.control.motion_profile import JerkSegment
from invdyn_ros.control.state_predictor import LearnedStatePredictor

JOINT_STATES_MISSING = "joint states are missing"
NO_COMMAND = Command(None, None, JOINT_STATES_MISSING, None)
ALLOWED_DELAY = 0.5  # samples that one may be late


class StampedCommand(NamedTuple):
    """A command, and the time of the arm that it is for [s]."""

    time: float
    command: Command


class DropoutController:
    """Goes on driving while joint states are missing, sample by sample, until they are too old.

    `guessed` counts the samples that were answered without a joint state.
    """

    def __init__(self, controller: ArmController, predictor: LearnedStatePredictor) -> None:
        """Take an arm's driver, and who says where the arm is meanwhile."""
        self.controller, self.predictor = controller, predictor
        self.period = 1 / controller.robot.rate
        self.predicted_count = 0
        self._last_measured: MeasuredState | None = None
        self._arrival_time = self._command_time = -math.inf
        self._missing_count = 0

    def on_joint_state(self, measured: MeasuredState, clock: float) -> Command | None:
        """Answer a joint state; None to one that comes after its moment was answered for.

        Args:
            measured: with the source's stamp.
            clock: when it came [s], by any clock that only goes forward.

        Raises:
            ValueError: it is not of this arm, or has no velocity.
        """
        if self._last_measured is None or measured.time < self._last_measured.time:
            self._command_time = -math.inf  # the first one, or time that started again
        self._last_measured, self._arrival_time, self._missing_count = measured, clock, 0
        wanted = self.controller.tracking_controller.desired
        if measured.time < self._command_time and wanted is not None:
            late = JerkSegment.constant_acceleration(wanted, 0.0).at(
                measured.time - self._command_time
            )
            self.predictor.update(measured, late)
            return None
        self._command_time = measured.time
        command = self.controller.update(measured)
        self.predictor.update(measured, command.desired)
        return command

    def predict_missing(self, clock: float) -> StampedCommand | None:
        """Answer for the newest sample that should have come by now, if it has not been."""
        if self._last_measured is None or not self.controller.engaged:
            return None
        missed = math.floor((clock - self._arrival_time) / self.period - ALLOWED_DELAY)
        time = self._last_measured.time + missed * self.period
        if missed <= self._missing_count or time <= self._command_time:
            return None
        self._missing_count = missed
        answer = self._command_at(time)
        self.predicted_count += answer.command.action is not None
        return answer

    def recompute(self, clock: float) -> StampedCommand | None:
        """Answer once more for the last moment, now that there is a newer target."""
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
