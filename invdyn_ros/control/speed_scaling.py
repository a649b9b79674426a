"""Scaling of the joint velocity limits by the speed of the tool and near singularities."""

from __future__ import annotations

import mujoco
import numpy as np

from invdyn_ros.control.motion_profile import Plan
from invdyn_ros.control.tool_speed import ToolSpeed
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

SAMPLE_TIMES = np.linspace(0.0, 0.25, 5)  # [s] from now, at which the plan is looked at
PERIOD = 0.015  # [s] between updates at least
SPEED_FRACTION = 0.9  # of the speed limit that plans are scaled to
SMALLEST_SCALE = 0.05
MAX_DECREASE, MAX_INCREASE = 8.0, 1.5  # [1/s] of the scale
SLOW_CONDITION, STOP_CONDITION = 17.0, 30.0  # condition numbers as in MoveIt Servo
SINGULAR_SCALE = 0.2  # at STOP_CONDITION and beyond: an arm must be able to leave a singularity


class SpeedScaling:
    """Factor of the velocity limits of the planner, which changes gradually.

    It promises nothing, but makes refusals rare: plans made with these limits soon reach 0.9 of
    the speed limit at most. The speed of a stretched arm is limited more than that of a folded
    one. An arm of six joints or more is slowed down while the condition number of its Jacobian,
    with lengths as fractions of the reach, rises from 17 to 30, but not on its way out of there.

    Attributes:
        limit: largest speed of tool and joints [m/s].
    """

    def __init__(self, robot: Robot, tool_speed: ToolSpeed, limit: float) -> None:
        """Start at full speed.

        Args:
            robot: the arm.
            tool_speed: computes its speeds.
            limit: largest speed of tool and joints [m/s].
        """
        self._robot, self._tool_speed, self.limit = robot, tool_speed, limit
        self._data = mujoco.MjData(robot.model())
        self._q = self._data.qpos  # a view: the attribute makes a new one each time
        self._tip = robot.model().body(robot.tip_link).id
        self._jacobian = np.zeros((6, robot.n))
        self.reset()

    def reset(self) -> None:
        """Return to full speed."""
        self.scale = 1.0
        self._time: float | None = None

    def update(self, plan: Plan, time: float, driver_speed: float = 1.0) -> float:
        """Return the factor, in (0, 1], for the next plan.

        Args:
            plan: the last nominal plan, made with the last factor.
            time: current time [s].
            driver_speed: fraction of the speed limit to use [-].
        """
        if self._time is not None and 0 <= time - self._time < PERIOD:
            return self.scale
        q, qd = plan.sample(time + SAMPLE_TIMES)
        fastest = float(self._tool_speed.speeds(q, qd).max())
        limit = SPEED_FRACTION * self.limit * driver_speed
        desired = self.scale * limit / max(fastest, 1e-3)
        if self._robot.n >= 6:
            desired = min(desired, self._singularity_scale(q[0], q[-1]))
        dt = 0.0 if self._time is None else max(time - self._time, 0.0)
        lowest, highest = self.scale - MAX_DECREASE * dt, self.scale + MAX_INCREASE * dt
        self.scale = min(max(desired, lowest, SMALLEST_SCALE), highest, 1.0)
        self._time = time
        return self.scale

    def _singularity_scale(self, q: Array, q_later: Array) -> float:
        later = self._condition(q_later)
        if later <= SLOW_CONDITION or later <= self._condition(q):
            return 1.0
        fraction = (STOP_CONDITION - later) / (STOP_CONDITION - SLOW_CONDITION)
        return min(max(fraction, SINGULAR_SCALE), 1.0)

    def _condition(self, q: Array) -> float:
        """Return the condition number of the Jacobian of the tip at a position (n,) [rad]."""
        model, data, jacobian = self._robot.model(), self._data, self._jacobian
        self._q[:] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacBody(model, data, jacobian[:3], jacobian[3:], self._tip)
        jacobian[:3] /= self._tool_speed.reach
        largest, *_, smallest = np.linalg.svd(jacobian, compute_uv=False).tolist()
        return float(largest / max(smallest, 1e-9))
