"""Checks whether an arm may be driven: fresh joint states, at rest, within its limits."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.faults import Fault
from invdyn_ros.control.measurement_monitor import MeasurementMonitor
from invdyn_ros.robots.robot import Robot

REST_SPEED = 0.05  # [rad/s] above which an arm moves: noise of encoders and velocities is below
FRESH_TIME = 0.1  # [s] for which joint states must have come without a fault before engaging
BEYOND_LIMIT = 0.1  # [rad] beyond a limit that a joint may be moved by hand, or sag


class Readiness:
    """Readiness of one arm to be driven from where it is measured.

    Attributes:
        last_problem: last fault, and the stamp of the joint state before it [s]; None without one.
    """

    def __init__(self, robot: Robot, monitor: MeasurementMonitor) -> None:
        """Check an arm by the joint states of its monitor."""
        self.robot, self.monitor = robot, monitor
        self.last_problem: tuple[Fault, float] | None = None

    def add_problem(self, fault: Fault) -> None:
        """Remember a fault."""
        last = self.monitor.measured
        self.last_problem = (fault, 0.0 if last is None else last.time)

    def refusal(self) -> str | None:
        """Return why the arm must not be engaged, None if it may or has no joint state yet."""
        measured, age = self.monitor.measured, self.monitor.age()
        if measured is None:
            return None
        if age > FRESH_TIME:
            return f"no fresh joint states: the last one came {age:.3g} s ago"
        if self.last_problem is not None:
            fault, time = self.last_problem
            if 0 <= measured.time - time < FRESH_TIME:
                return f"a fault persists: {fault.reason}"
        return self.obstruction(is_speed_needed=False)

    def obstruction(self, is_speed_needed: bool) -> str | None:
        """Return why no motion can start at the measured place: it is impossible, or not at rest.

        Args:
            is_speed_needed: whether an unknown speed counts as moving; a simulated arm starts at
                rest.
        """
        return self._beyond_limits() or self._moving(is_speed_needed)

    def _beyond_limits(self) -> str | None:
        if self.monitor.measured is None:
            return None
        robot, q = self.robot, self.monitor.measured.q
        excess = np.maximum(robot.lower - q, q - robot.upper)
        j = int(np.argmax(excess))
        if excess[j] <= BEYOND_LIMIT:
            return None
        return (
            f"{robot.joint_names[j]} is at {q[j]:.3g} rad, outside of {robot.lower[j]:.3g} to "
            f"{robot.upper[j]:.3g}; move it back by hand, or check its encoder"
        )

    def _moving(self, is_speed_needed: bool) -> str | None:
        speed = self.monitor.speed()
        if speed is None:
            return "the speed of the arm is not known yet" if is_speed_needed else None
        j = int(np.argmax(speed))
        if speed[j] <= REST_SPEED:
            return None
        return f"the arm moves: {self.robot.joint_names[j]} at {speed[j]:.3g} rad/s"
