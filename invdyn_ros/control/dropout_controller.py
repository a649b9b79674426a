"""The loop of an arm whose joint states come now and then: what comes enters, commands leave.

Joint states and the clock that they are missed by are told apart: stamps are the source's, and
how long nothing came is the time since the last one arrived, so the clocks need not agree.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from invdyn_ros.control.computed_torque import Measured
from invdyn_ros.control.controller import ArmController, Command
from invdyn_ros.control.motion_profile import JerkSegment
from invdyn_ros.control.state_predictor import LearnedStatePredictor

MISSING = "joint states are missing"
NOTHING = Command(None, None, MISSING, None)
PATIENCE = 0.5  # samples that one may be late


class StampedCommand(NamedTuple):
    """A command, and the time of the arm that it is for [s]."""

    time: float
    command: Command


class DropoutController:
    """Goes on driving while joint states are missing, sample by sample, until they are too old.

    `guessed` counts the samples that were answered without a joint state.
    """

    def __init__(self, driver: ArmController, blind: LearnedStatePredictor) -> None:
        """Take an arm's driver, and who says where the arm is meanwhile."""
        self.driver, self.blind = driver, blind
        self.step = 1 / driver.robot.rate
        self.guessed = 0
        self._last: Measured | None = None
        self._came = self._answered = -math.inf
        self._missed = 0

    def on_joint_state(self, measured: Measured, clock: float) -> Command | None:
        """Answer a joint state; None to one that comes after its moment was answered for.

        Args:
            measured: with the source's stamp.
            clock: when it came [s], by any clock that only goes forward.

        Raises:
            ValueError: it is not of this arm, or has no velocity.
        """
        if self._last is None or measured.time < self._last.time:
            self._answered = -math.inf  # the first one, or time that started again
        self._last, self._came, self._missed = measured, clock, 0
        wanted = self.driver.follower.wanted
        if measured.time < self._answered and wanted is not None:
            late = JerkSegment.steady(wanted, 0.0).at(measured.time - self._answered)
            self.blind.update(measured, late)
            return None
        self._answered = measured.time
        command = self.driver.tick(measured)
        self.blind.update(measured, command.desired)
        return command

    def overdue(self, clock: float) -> StampedCommand | None:
        """Answer for the newest sample that should have come by now, if it has not been."""
        if self._last is None or not self.driver.engaged:
            return None
        missed = math.floor((clock - self._came) / self.step - PATIENCE)
        time = self._last.time + missed * self.step
        if missed <= self._missed or time <= self._answered:
            return None
        self._missed = missed
        answer = self._answer(time)
        self.guessed += answer.command.action is not None
        return answer

    def again(self, clock: float) -> StampedCommand | None:
        """Answer once more for the last moment, now that there is a newer target."""
        if self._last is None:
            return None
        if self.driver.engaged and clock - self._came > self.blind.config.max_dropout:
            return StampedCommand(self._answered, NOTHING)
        return self._answer(self._answered)

    def _answer(self, time: float) -> StampedCommand:
        if self._last is not None and time == self._last.time:
            return StampedCommand(time, self.driver.tick(self._last))
        measured = self.blind.predict(time, self.driver.plan)
        if measured is None:
            return StampedCommand(time, NOTHING)
        self._answered = time
        return StampedCommand(time, self.driver.tick(measured))
