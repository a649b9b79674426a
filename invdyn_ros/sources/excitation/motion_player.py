"""Source of the joint targets of a recorded or designed motion, and of its recording."""

from __future__ import annotations

import numpy as np

from invdyn_ros.control.joint_motion import SETTLING, JointMotion
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.typing import Array

END = 0.5  # [s] at rest after the motion, which are recorded too
START_TOLERANCE = 1e-3  # [rad] of a plan that is at the start of the motion
MAX_DEVIATION = 0.1  # [rad] of the plan from the motion
MAX_SILENCE = 0.2  # [s] without a planned state: the arm is not driven
NOT_DRIVEN = "the arm is not driven; engage it: invdyn engage"
TO_START = "the arm moves to the start of the motion"


class MotionPlayer:
    """Targets of a motion for an arm that is driven: first to its start, then along it.

    Attributes:
        hold_reason: why the motion does not run yet, None while it does.
        is_over: whether the motion is complete.
    """

    def __init__(self, motion: JointMotion) -> None:
        """Start with an arm that is not driven."""
        self.motion = motion
        self.hold_reason: str | None = NOT_DRIVEN
        self.is_over = False
        self._start = self._arrival = np.inf  # of the motion, and at its start [s]
        self._planned: tuple[float, Array] | None = None  # last planned state
        self._rows: list[tuple[float, Array, Array, Array]] = []

    def set_planned(self, time: float, q: Array) -> None:
        """Note the state (n,) [rad] that the arm is planned to have at a time [s]."""
        self._planned = time, q

    def update(self, time: float, q: Array, qd: Array, effort: Array) -> Target:
        """Return the target for a joint state.

        Args:
            time: its stamp [s].
            q: (n,) [rad].
            qd: (n,) [rad/s], empty if not measured.
            effort: (n,), empty if not measured.

        Raises:
            ValueError: the arm stopped, or left the motion.
        """
        planned = self._planned
        if planned is not None and time - planned[0] >= MAX_SILENCE:
            planned = None
        if np.isfinite(self._start):
            self._rows.append((time, q, qd, effort))
            return self._play(time, planned)
        first = self.motion.q[0]
        still = np.zeros_like(first)
        is_there = planned is not None and np.abs(planned[1] - first).max() < START_TOLERANCE
        self._arrival = min(self._arrival, time) if is_there else np.inf
        self.hold_reason = NOT_DRIVEN if planned is None else TO_START
        if time - self._arrival >= SETTLING:
            self._start, self.hold_reason = time, None
        return Target(time, State(first, still, still), 0.0)

    def _play(self, time: float, planned: tuple[float, Array] | None) -> Target:
        """Return the target along the motion, for the last planned time [s] and position (n,)."""
        elapsed, step = time - self._start, 1 / self.motion.rate
        if planned is None:
            raise ValueError("the arm stopped during the motion; see its fault, then start again")
        due = self.motion.state_at(planned[0] - self._start).q
        deviation = np.abs(planned[1] - due).max()
        if deviation > MAX_DEVIATION:
            raise ValueError(
                f"the plan left the motion by {deviation:.2f} rad; the motion guard held the arm: "
                "is the motion made for these obstacles and this tool_speed?"
            )
        self.is_over = elapsed > self.motion.duration + END
        return Target(time, self.motion.state_at(elapsed + step), step)

    def recorded(self, unit: str) -> tuple[Trajectory, int]:
        """Return the recorded motion, and how many of its joint states repeated a stamp.

        Args:
            unit: of the effort.

        Raises:
            ValueError: no effort is measured, or the unit is unknown.
        """
        times, q, qd, effort = (np.array(column) for column in zip(*self._rows, strict=True))
        if not effort.size:
            raise ValueError(f"the joint states of {self.motion.arm} have no effort to identify")
        kept = np.append(True, np.diff(times) > 0)
        recorded = Trajectory(
            time=times[kept],
            position=q[kept],
            velocity=qd[kept] if qd.size else np.empty((0, q.shape[1])),
            acceleration=np.empty((0, q.shape[1])),
            action=effort[kept],
            joint_names=self.motion.joint_names,
            action_unit=unit,
        )
        return recorded, len(times) - len(recorded)
