"""Controller of an arm that floats: a hand moves it, and it stays where it was left."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from invdyn_ros.control.command import Command
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import State
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.control.soft_stops import SoftStops
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.robots.robot import Robot

FLOATING = "floating"
NO_VELOCITY = "joint states have no velocities, which soft stops need"


class FloatingController(ArmController):
    """Gravity compensation of one arm within its safety limits.

    The arm gets the torque with which its model holds it where it is measured, and that of the
    soft stops. It follows no targets. Faults of joint states, of the model and of the driver stop
    it as they stop an arm that follows a plan.
    """

    def __init__(
        self, robot: Robot, model: Predictor, unit: str, *args: Any, **kwargs: Any
    ) -> None:
        """Create a disengaged controller, with the arguments of `ArmController`.

        Raises:
            ValueError: the model gives no torques.
        """
        if unit != "N m":
            raise ValueError(f"an arm floats by torques [N m]; the actions are in '{unit}'")
        super().__init__(robot, model, unit, *args, **kwargs)

    @cached_property
    def _stops(self) -> SoftStops:
        guard = self.planner.guard
        collision = None if guard is None else guard.collision
        return SoftStops(self.robot, self.limits, collision, self.safety)

    def set_safety(self, safety: SafetyLimitsConfig) -> None:
        """Change the speeds from which the arm is braked."""
        super().set_safety(safety)
        self._stops.safety = safety

    def follow(self, state: MeasuredState) -> Command:
        """Return the command for a measured state of an engaged arm."""
        if not state.qd.size:
            return Command(None, None, NO_VELOCITY, None)
        self.planner.hold(state.q, state.time, FLOATING)
        scale = self.actions.tracking_controller.gain_scale
        stop = self._stops(state.q, state.qd, state.time, scale)
        action, changed, fault = self.actions.at_rest(state, stop.torque, FLOATING)
        if fault is not None:
            self._on_fault(fault, state)
            return self._respond(state)
        desired = State(state.q, state.qd, np.zeros_like(state.q))
        return Command(action, desired, stop.reason or changed, None)

    def _expected(self, time: float) -> State | None:
        """Return None: a hand may move the arm as it likes."""
        return None

    def _forget_plan(self) -> None:
        super()._forget_plan()
        self._stops.reset()
