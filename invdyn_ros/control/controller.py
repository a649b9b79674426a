"""Control loop of one arm: from targets and joint states to safe commands.

The live node and every replay in simulation run this same class.
"""

from __future__ import annotations

import math

from invdyn_ros.control.action_computation import ActionComputation
from invdyn_ros.control.command import IGNORED, SETTLING, Command
from invdyn_ros.control.computed_torque import FeedbackConfig, MeasuredState
from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.fault_response import FaultResponse
from invdyn_ros.control.faults import (
    NOT_ENGAGED,
    STOP_REQUESTED,
    STOPPED,
    Fault,
    MeasurementMonitorConfig,
)
from invdyn_ros.control.measurement_monitor import MeasurementMonitor
from invdyn_ros.control.motion_guard import arm_guard
from invdyn_ros.control.motion_planner import NO_PLAN, MotionPlanner
from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.readiness import Readiness
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot

SETTLING_TIME = 0.15  # [s] a plan that starts before the brakes open builds up torque


class ArmController:
    """Control of one arm by an inverse-dynamics model within safety limits.

    Nothing is sent until `engage` is called. The plan starts at the measured joints, at rest, so
    engaging never causes a jump. A fault stops the arm until `engage` is called again.

    Attributes:
        fault: the latched fault, None without one.
        planner: plans the motion.
        monitor: finds the faults of the joint states.
        actions: computes the actions.
        pause: why the driver of the arm executes no commands, None if it does; set from outside.
    """

    def __init__(
        self,
        robot: Robot,
        model: Predictor,
        unit: str,
        action_delay: float,
        safety: SafetyLimitsConfig | None = None,
        feedback: FeedbackConfig | None = None,
        fallback: Fallback | None = None,
        obstacles: Obstacles | None = None,
        monitor: MeasurementMonitorConfig | None = None,
        is_guarded: bool = True,
    ) -> None:
        """Create a disengaged controller.

        Args:
            robot: the arm.
            model: maps motion to actions.
            unit: unit of the model's actions.
            action_delay: time from sending an action to its effect [s].
            safety: margins and timeouts of the safety limits.
            feedback: gains; by default those of the unit.
            fallback: replaces the model where its standard deviation is too large.
            obstacles: what the arm must not touch; default: those of the arm's entry.
            monitor: thresholds of the faults.
            is_guarded: whether a motion guard verifies the motions; not if recorded motions are
                repeated in free space.
        """
        self.robot, self.unit = robot, unit
        self.safety = safety or SafetyLimitsConfig()
        self.limits = Limits.from_robot(robot, self.safety)
        self.monitor = MeasurementMonitor(robot, unit, monitor)
        self.actions = ActionComputation(
            model, unit, action_delay, self.limits, self.monitor, feedback, fallback
        )
        self._readiness = Readiness(robot, self.monitor)
        guard = arm_guard(robot, self.limits, self.safety, obstacles) if is_guarded else None
        self.planner = MotionPlanner(robot.n, self.limits, self.safety, guard)
        self.fault: Fault | None = None
        self.stop_reason: str | None = None
        self.pause: str | None = None
        self._armed = False
        self._clock: float | None = None
        self._observed_time = -math.inf  # of the last joint state, usable or not, by the clock [s]
        self.reset()

    @property
    def engaged(self) -> bool:
        """Whether the arm is driven, or will be from its first joint state at rest."""
        return self._armed and self.fault is None

    @property
    def is_moving(self) -> bool:
        """Whether the arm is driven, or is on its way to rest."""
        is_stopping = self._response is not None and not self._response.is_over
        return is_stopping or (self._armed and self.plan is not None)

    @property
    def loop_delay(self) -> float | None:
        """Measured delay from a torque command to its effect [s], None if it is not known."""
        return self.actions.delays.delay

    @property
    def plan(self) -> Plan | None:
        """The verified motion that the arm follows, None while it follows none."""
        return self.planner.plan

    def reset(self) -> None:
        """Forget the joint states so far, and start again at the next ones if engaged."""
        self.monitor.reset()
        self._readiness.last_problem = None
        self._forget_plan()

    def _forget_plan(self) -> None:
        self.planner.clear()
        self._settled_time = -math.inf
        self._response: FaultResponse | None = None
        self.actions.reset()

    def set_safety(self, safety: SafetyLimitsConfig) -> None:
        """Change the reconfigurable fields of the safety limits; the next plan uses them."""
        self.safety = safety
        self.planner.set_safety(safety)

    def engage(self, engaged: bool) -> str | None:
        """Engage or disengage; engaging also clears a fault and a stop.

        Returns:
            None if it was done, else why it was refused. Before the first joint state it is done:
            the arm is driven from its first joint state at rest.
        """
        if not engaged:
            self.fault = None
            self.stop(NOT_ENGAGED)
            return None
        refusal = self._readiness.refusal()
        if refusal is None:
            self._armed, self.fault, self.stop_reason = True, None, None
            self._forget_plan()
        return refusal

    def stop(self, reason: str = STOP_REQUESTED) -> None:
        """Brake to rest, then send nothing until engaged again."""
        is_driven = self._armed and self.plan is not None
        self._armed, self.stop_reason = False, reason
        if is_driven:
            self._start_response(Fault(STOP_REQUESTED, None, 0.0, 0.0, "s"), self.monitor.measured)

    def latch(self, fault: Fault) -> None:
        """Stop until engaged again because of a fault that the joint states do not show."""
        if self._armed and self.plan is None:
            self.fault, self._armed = fault, False
        else:
            self._on_fault(fault, None)

    def set_driver_speed(self, speed: float) -> None:
        """Set the fraction of a planned speed that the arm executes [-]; plans get as slow."""
        self.planner.driver_speed = speed
        self.monitor.set_speed(speed)

    def set_target(self, target: Target) -> None:
        """Set the newest target; the next `update` acts on it."""
        self.planner.set_target(target)

    def update(self, measured: MeasuredState, clock: float | None = None) -> Command:
        """Return the command for a joint state; call it once for each.

        Args:
            measured: joint state with the stamp of its source; a useless one is ignored.
            clock: time of arrival [s] by any monotonic clock; None: the stamps are this clock,
                and time may start again at zero.
        """
        command = self.observe(measured, clock)
        if command is not None or self.monitor.measured is None:
            return command or Command(None, None, IGNORED, None)
        return self.follow(self.monitor.measured)

    def observe(self, measured: MeasuredState, clock: float | None) -> Command | None:
        """Take a joint state without following the plan.

        Args:
            measured: joint state with the stamp of its source.
            clock: time of arrival [s], as for `update`.

        Returns:
            The command where the arm is not driven with this joint state, None where it is: the
            newest joint state of the monitor is to be followed.
        """
        if self.monitor.has_restarted(measured, clock):
            self.reset()  # a new start of a simulated arm
        self._clock = clock
        self._observed_time = -math.inf if clock is None else clock
        self.actions.delays.add_arrival(clock)
        fault = self.monitor.update(measured, self._expected(measured.time), clock)
        if fault is not None:
            self._on_fault(fault, measured if self.monitor.is_complete(measured) else None)
        if not self._armed:
            return self._respond(measured)
        if fault is not None:
            return Command(None, None, str(fault), None)
        if not self.monitor.is_new or self.monitor.measured is None:
            return Command(None, self.actions.tracking_controller.desired, IGNORED, None)
        if self.plan is None:
            obstruction = self._readiness.obstruction(is_speed_needed=clock is not None)
            if obstruction is not None:
                return Command(None, None, obstruction, None)
            self.planner.start(self.monitor.measured.q, measured.time)
            if self.unit == "N m" and self.safety.slow_in_time:
                self._settled_time = measured.time + SETTLING_TIME
            self.monitor.start_following()
        return None

    def _expected(self, time: float) -> State | None:
        """Return the state that a driven arm should have at a time [s]; None: it may have any."""
        return self.plan.at(time) if self.plan is not None and self._armed else None

    def check(self, clock: float) -> Command | None:
        """Return the command to send now if joint states stopped, None: send nothing.

        Args:
            clock: time [s] by the clock of `update`; call it 100 times a second.
        """
        self._clock = clock
        fault = self.monitor.check(clock)
        if fault is not None:
            self._on_fault(fault, None)
        is_stopping = self.fault is not None or self._response is not None
        if not is_stopping or clock - self._observed_time < 2 / self.robot.rate:
            return None  # `update` answers
        return self._respond(None)

    def follow(self, state: MeasuredState) -> Command:
        """Return the command for a measured or predicted state of an engaged arm.

        Raises:
            ValueError: the arm is not driven.
        """
        target_stamp = None
        if self.pause is not None:
            # an arm that is paused stays where it is measured, and does not catch up afterwards
            self.planner.start(state.q, state.time, self.pause)
            self.monitor.start_following()
            self.actions.restart()
        elif state.time < self._settled_time and self.loop_delay is None:
            self.planner.stop(SETTLING, state.time)
        else:
            target_stamp = self.planner.update(state.time)
        if self.plan is None:
            raise ValueError(NO_PLAN)
        action, changed, fault = self.actions(self.plan, state)
        if fault is not None:
            self._on_fault(fault, state)
            return self._respond(state)
        desired = self.actions.tracking_controller.desired
        return Command(action, desired, self.planner.hold_reason or changed, target_stamp)

    def _on_fault(self, fault: Fault, measured: MeasuredState | None) -> None:
        """Latch a fault of a driven arm, until engaged again.

        Args:
            fault: what happened.
            measured: joint state that shows it, None if none came.
        """
        fault, cause = self.actions.delays.explain(fault, self._clock)
        if self._response is not None:
            self._response.cut()
        if self.plan is not None and self._armed:
            self.fault, self._armed = cause, False
            is_known = self.monitor.is_new and fault.reason != STOPPED
            self._start_response(fault, self.monitor.measured if is_known else measured)
        self._readiness.add_problem(cause)

    def _start_response(self, fault: Fault, measured: MeasuredState | None) -> None:
        """Start the way to rest from the newest joint state, None if there is none."""
        self._response = FaultResponse(
            fault, self.planner, self.monitor, self._clock, measured, self.actions
        )

    def _respond(self, measured: MeasuredState | None) -> Command:
        """Return the command of an arm that is not driven: on its way to rest, then none.

        Args:
            measured: joint state that came now, None if none did.
        """
        action, desired = None, None
        if self._response is not None:
            is_useful = measured is not None and self.monitor.is_new
            newest = self.monitor.measured if is_useful else None
            executes = self.pause is None
            action, desired = self._response.update(self._clock, newest, executes)
            if self.fault is None and self._response.is_over:
                self._forget_plan()
        if self.fault is None:
            return Command(action, desired, self.stop_reason or NOT_ENGAGED, None)
        text = str(self.fault)
        return Command(action, desired, text, None, text)
