"""The controller of an arm for programs with their own loop."""

from __future__ import annotations

import time as clocks
from typing import Any

import numpy as np

from invdyn_ros.control.command import Command
from invdyn_ros.control.computed_torque import NO_EFFORT, MeasuredState
from invdyn_ros.control.controller_loading import load_controller
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.models.arm_model import Model
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.typing import Array


class Controller:
    """Drive an arm along guarded motions with a model, one step per measured state.

    It is what the node `inverse_dynamics` runs: it plans to the target inside the limits, keeps
    clear of table and arm, and stops at faults until `engage`. It acts only when `step` is called:
    whoever reads the states must notice when they stop.

    Attributes:
        robot: the arm.
    """

    def __init__(
        self,
        robot: Robot | str,
        model: Model,
        *,
        speed: float = 1.0,
        tool_speed: float = 1.0,
        unsafe: bool = False,
    ) -> None:
        """Create an engaged controller.

        Args:
            robot: the arm, or its name.
            model: from `load`.
            speed: fraction of the joint speeds that is used, 0 to 1.
            tool_speed: largest speed of tool and elbow [m/s]; 0.25 beside a person.
            unsafe: whether to drive with a model that was refused after its training.

        Raises:
            ValueError: the model is of another arm, cannot drive, or was refused as a driver.
        """
        self.robot = load_robot(robot) if isinstance(robot, str) else robot
        safety = SafetyLimitsConfig(speed=speed, tool_speed=tool_speed)
        self._controller = load_controller(
            self.robot, str(model.path), "cpu", safety, unsafe=unsafe
        ).controller
        self._controller.engage(True)

    @property
    def fault(self) -> str | None:
        """Why the arm is stopped, None without a fault."""
        return None if self._controller.fault is None else str(self._controller.fault)

    def step(
        self,
        q: Any,
        qd: Any,
        target: Any = None,
        *,
        time: float | None = None,
        effort: Any = None,
    ) -> Command:
        """Return the command for a measured state; call it at the rate of the arm.

        Args:
            q: (n,) measured position [rad].
            qd: (n,) measured velocity [rad/s]; empty if the arm does not measure it.
            target: (n,) position [rad] to go to, or (q, qd, qdd) to pass through now; None: the
                arm holds once the last target is older than 0.25 s.
            time: stamp of the state [s], from any origin; default: a monotonic clock.
            effort: (n,) measured effort in the arm's own unit, if it measures one.

        Returns:
            Its `action` (n,) in the model's unit is to be sent, None: send nothing; `reason` says
            why the arm holds.

        Raises:
            ValueError: a target of the wrong shape.
        """
        stamp = clocks.monotonic() if time is None else float(time)
        if target is not None:
            self._controller.set_target(Target(stamp, self._state(target), 0.0))
        measured = MeasuredState(
            stamp,
            np.asarray(q, float),
            np.asarray(qd, float),
            NO_EFFORT if effort is None else np.asarray(effort, float),
        )
        return self._controller.update(measured, None)

    def stop(self) -> None:
        """Brake to rest in the next steps, then send nothing until `engage`."""
        self._controller.stop()

    def engage(self) -> str | None:
        """Drive again after a stop or a fault; return why not, None if it was done."""
        return self._controller.engage(True)

    def _state(self, target: Any) -> State:
        """Return a target as a state; a position alone is one at rest."""
        values: Array = np.asarray(target, float)
        n = self.robot.n
        if values.shape == (n,):
            values = np.stack([values, np.zeros(n), np.zeros(n)])
        if values.shape != (3, n):
            raise ValueError(
                f"target has shape {values.shape}; expected ({n},), or (3, {n}) of q, qd and qdd"
            )
        return State(*values)
