"""Check of the steps between joint states: jumps, wrong velocities, frozen joint states."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.faults import (
    CONTRADICTION,
    FROZEN,
    JUMPED,
    Fault,
    MeasurementMonitorConfig,
    joint_fault,
)
from invdyn_ros.control.motion_profile import State
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array


class StepCheck:
    """Check of each joint state of one arm against the one before."""

    def __init__(
        self, robot: Robot, config: MeasurementMonitorConfig, stall_travel: float
    ) -> None:
        """Create a check without a joint state.

        Args:
            robot: the arm.
            config: thresholds.
            stall_travel: planned travel after which a joint that stands is a fault anyway [rad].
        """
        self.robot, self.config, self._stall_travel = robot, config, stall_travel
        self._velocity_tolerance = config.velocity_tolerance * robot.velocity
        self.reset()

    def reset(self) -> None:
        """Forget all joint states."""
        self._identical_count = self._contradiction_count = 0
        self._smallest_step = np.full(self.robot.n, np.inf)
        self._last_difference: Array | None = None
        self._last_raw: MeasuredState | None = None
        self.start_following()

    def start_following(self) -> None:
        """Forget the desired states so far: a plan starts."""
        self._identical_start: Array | None = None

    def check_position(
        self, last: MeasuredState, measured: MeasuredState, planned: tuple[Array, Array] | None
    ) -> Fault | None:
        """Return a jump: neither the velocity nor the plan explains the step of a position.

        Args:
            last: the joint state before.
            measured: the joint state.
            planned: (n,) desired position of each [rad], None if the arm is not driven.
        """
        moved, step = measured.q - last.q, measured.time - last.time
        innovation = moved
        if measured.qd.size and last.qd.size:
            innovation = moved - step / 2 * (last.qd + measured.qd)
        elif self._last_difference is not None:
            innovation = moved - step * self._last_difference
        innovation, limit = np.abs(innovation), self.config.position_jump
        if not np.count_nonzero(innovation > limit):
            return None
        if planned is not None:
            before, now = planned
            innovation = np.minimum(innovation, np.abs(moved - (now - before)))
        return joint_fault(JUMPED, self.robot.joint_names, innovation, limit, "rad")

    def check_velocity(
        self, last: MeasuredState, measured: MeasuredState, desired: State | None
    ) -> tuple[MeasuredState, Fault | None]:
        """Return the joint state, its velocity replaced if it contradicts the positions.

        Args:
            last: the joint state before.
            measured: the joint state.
            desired: planned state, None if the arm is not driven.
        """
        c, step, qd = self.config, measured.time - last.time, measured.qd
        self._last_difference = difference = (measured.q - last.q) / step
        if not qd.size:
            return measured, None
        contradiction = np.abs(qd - difference)
        if not np.count_nonzero(contradiction > self._velocity_tolerance):
            self._contradiction_count = 0
            return measured, None
        tolerance = self._velocity_tolerance + step * self.robot.acceleration
        tolerance += c.stamp_jitter / step * np.abs(difference)
        wrong = contradiction > tolerance
        if not wrong.any():
            self._contradiction_count = 0
            return measured, None
        raw = self._last_raw
        if raw is not None and np.array_equal(raw.q, measured.q) and np.array_equal(raw.qd, qd):
            return measured, None  # the same joint state again: `check_frozen` names it
        self._contradiction_count += 1
        reference = last.qd if desired is None else desired.qd
        nearer = np.abs(difference - reference) < np.abs(qd - reference)
        repaired = measured
        if (wrong & nearer).any():
            repaired = measured._replace(qd=np.where(wrong & nearer, difference, qd))
        if self._contradiction_count < c.contradiction_count:
            return repaired, None
        names = self.robot.joint_names
        return repaired, joint_fault(CONTRADICTION, names, contradiction, tolerance, "rad/s")

    def check_frozen(self, measured: MeasuredState, lagged: Array | None) -> Fault | None:
        """Return a fault if all joints are bit-identical while the plan moves them.

        Args:
            measured: the joint state.
            lagged: (n,) desired position when the arm should have been where it is measured
                [rad], None if it is not driven.
        """
        last, self._last_raw = self._last_raw, measured
        if last is None:
            return None
        moved = np.abs(measured.q - last.q)
        if np.count_nonzero(moved) or not np.array_equal(measured.qd, last.qd):
            np.minimum(self._smallest_step, moved, out=self._smallest_step, where=moved > 0)
            self._identical_count, self._identical_start = 0, None
            return None
        self._identical_count += 1
        if lagged is None:
            return None
        if self._identical_start is None:
            self._identical_start = lagged
            return None
        if self._identical_count < self.config.frozen_count:
            return None
        travel = np.abs(lagged - self._identical_start)
        resolution = np.where(np.isfinite(self._smallest_step), self._smallest_step, 0.0)
        limit = self.config.frozen_travel + self.config.frozen_steps * resolution
        if not measured.qd.size:  # frozen joint states look like a joint that stands
            limit = np.maximum(limit, self._stall_travel)
        return joint_fault(FROZEN, self.robot.joint_names, travel, limit, "rad")
