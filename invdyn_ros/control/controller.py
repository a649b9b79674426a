"""Control loop of one arm: from targets and joint states to safe commands.

The live node and every replay in simulation run this same class.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from invdyn_ros.control.action_limits import ActionLimits
from invdyn_ros.control.computed_torque import (
    ComputedTorqueController,
    FeedbackConfig,
    InverseDynamicsModel,
    MeasuredState,
)
from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.fault_response import FaultResponse
from invdyn_ros.control.faults import (
    FOLLOWING_ERROR,
    LOOP_DELAY,
    MODEL_NOT_FINITE,
    NOT_FOLLOWING,
    STOP_REQUESTED,
    STOPPED,
    Fault,
    MeasurementMonitorConfig,
)
from invdyn_ros.control.loop_delay import MAX_DELAY, CommandGaps, LoopDelay
from invdyn_ros.control.measurement_monitor import MeasurementMonitor
from invdyn_ros.control.motion_guard import MotionGuard, MotionGuardConfig
from invdyn_ros.control.motion_planner import NO_PLAN, MotionPlanner
from invdyn_ros.control.motion_profile import Plan, State, Target
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.control.target_planning import hold_plan
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.registry import ROBOTS
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

USING_FALLBACK = "model uncertain: rigid-body fallback"
NOT_ENGAGED = "not engaged"
SETTLING = "waiting for the first torque to arrive"
SETTLING_TIME = 0.15  # [s] a plan that starts before the brakes open builds up torque
IGNORED = "joint state ignored"
REST_SPEED = 0.05  # [rad/s] above which an arm moves: noise of encoders and velocities is below
GAPS = (STOPPED, LOOP_DELAY)  # faults after which an arm stands where it is measured
FRESH_TIME = 0.1  # [s] for which joint states must have come without a fault before engaging


class Command(NamedTuple):
    """Output of one control step.

    Attributes:
        action: (n,) in the model's unit, or None: send nothing.
        desired: planned state at the time of the measurement, None while disengaged.
        reason: why the arm holds or the action was changed, None otherwise.
        target_stamp: stamp of the target [s] if this command is the first to act on it.
        fault: the latched fault, in one line; None without one.
    """

    action: Array | None
    desired: State | None
    reason: str | None
    target_stamp: float | None
    fault: str | None = None


class ArmController:
    """Control of one arm by an inverse-dynamics model within safety limits.

    Nothing is sent until `engage` is called. The plan starts at the measured joints, at rest, so
    engaging never causes a jump. A fault stops the arm until `engage` is called again.

    Attributes:
        fault: the latched fault, None without one.
        planner: plans the motion.
        monitor: finds the faults of the joint states.
    """

    def __init__(
        self,
        robot: Robot,
        model: InverseDynamicsModel,
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
        self.tracking_controller = ComputedTorqueController(
            model, unit, action_delay, feedback, fallback
        )
        self.action_limits = ActionLimits(unit, self.limits)
        self._loop_delay, self._gaps = LoopDelay(robot, action_delay), CommandGaps(robot)
        self.monitor = MeasurementMonitor(robot, unit, monitor)
        guard = None
        if is_guarded:
            if obstacles is None:
                obstacles = ROBOTS[robot.name].obstacles if robot.name in ROBOTS else Obstacles()
            config = MotionGuardConfig(tool_speed=self.safety.tool_speed)
            guard = MotionGuard(robot, self.limits, config, obstacles)
        self.planner = MotionPlanner(robot.n, self.limits, self.safety, guard)
        zero = np.zeros(robot.n)
        # The first call of a model takes a hundred times as long as later ones.
        self.tracking_controller(
            hold_plan(robot.home, 0.0, None), MeasuredState(0.0, robot.home, zero)
        )
        if fallback is not None:
            fallback.model.predict(torch.zeros(1, 1, 3 * robot.n), torch.zeros(1, 1))
        self.fault: Fault | None = None
        self.stop_reason: str | None = None
        self._armed = False
        self._clock: float | None = None
        self.reset()

    @property
    def engaged(self) -> bool:
        """Whether the arm is driven, or will be from its first joint state at rest."""
        return self._armed and self.fault is None

    @property
    def loop_delay(self) -> float | None:
        """Measured delay from a torque command to its effect [s], None if it is not known."""
        return self._loop_delay.delay

    @property
    def plan(self) -> Plan | None:
        """The verified motion that the arm follows, None while it follows none."""
        return self.planner.plan

    def reset(self) -> None:
        """Forget the joint states so far, and start again at the next ones if engaged."""
        self.monitor.reset()
        self._last_problem: tuple[Fault, float] | None = None
        self._forget_plan()

    def _forget_plan(self) -> None:
        self.planner.clear()
        self._settled_time = -math.inf
        self._response: FaultResponse | None = None
        self.action_limits.reset(None)
        self.tracking_controller.reset()
        self._loop_delay.reset()
        self._adapt_to_delay()

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
        refusal = self._refusal()
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
        if self._time_restarted(measured, clock):
            self.reset()  # a new start of a simulated arm
        self._clock = clock
        if clock is not None:
            self._gaps.update(clock)
        is_driven = self.plan is not None and self._armed
        desired = self.plan.at(measured.time) if self.plan is not None and is_driven else None
        fault = self.monitor.update(measured, desired, clock)
        if fault is not None:
            is_complete = self.monitor.is_complete(measured)
            self._on_fault(fault, measured if is_complete else None)
        if not self._armed:
            return self._respond(measured)
        if fault is not None:
            return Command(None, None, str(fault), None)
        if not self.monitor.is_new or self.monitor.measured is None:
            return Command(None, self.tracking_controller.desired, IGNORED, None)
        if self.plan is None:
            moving = self._moving(is_clock_known=clock is not None)
            if moving is not None:
                return Command(None, None, moving, None)
            self.planner.start(self.monitor.measured.q, measured.time)
            if self.unit == "N m" and self.safety.slow_in_time:
                self._settled_time = measured.time + SETTLING_TIME
            self.monitor.start_following()
        return None

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
        if not is_stopping or self.monitor.age() < 2 / self.robot.rate:
            return None  # `update` answers
        return self._respond(None)

    def follow(self, state: MeasuredState) -> Command:
        """Return the command for a measured or predicted state of an engaged arm.

        Raises:
            ValueError: the arm is not driven.
        """
        target_stamp = None
        if state.time < self._settled_time and self._loop_delay.delay is None:
            self.planner.stop(SETTLING, state.time)
        else:
            target_stamp = self.planner.update(state.time)
        if self.plan is None:
            raise ValueError(NO_PLAN)
        action = self.tracking_controller(self.plan, state)
        desired = self.tracking_controller.desired
        if desired is None or not np.isfinite(action).all():
            self._on_fault(Fault(MODEL_NOT_FINITE, None, math.nan, math.inf, self.unit), None)
            return self._respond(state)
        action, clipped = self.action_limits.limit(action, state.time, state.q, desired)
        is_late = self._is_late(action, state)
        if is_late is not None:
            self._on_fault(is_late, state)
            return self._respond(state)
        reason = self.planner.hold_reason or clipped
        if reason is None and self.tracking_controller.using_fallback:
            reason = USING_FALLBACK
        return Command(action, desired, reason, target_stamp)

    def _is_late(self, action: Array, state: MeasuredState) -> Fault | None:
        """Adapt the feedback to the measured delay; return a fault if it is too long."""
        if self.unit != "N m" or state.effort.shape != action.shape:
            return None
        if self._loop_delay.update(action, state.effort):
            self._adapt_to_delay()
        delay = self._loop_delay.delay
        if delay is None or delay <= MAX_DELAY:
            return None
        return Fault(LOOP_DELAY, None, delay, MAX_DELAY, "s")

    def _adapt_to_delay(self) -> None:
        self.tracking_controller.extra_delay = self._loop_delay.excess
        self.tracking_controller.gain_scale = self._loop_delay.gain_scale
        self.monitor.set_error_scale(1 / self._loop_delay.gain_scale)

    def _time_restarted(self, measured: MeasuredState, clock: float | None) -> bool:
        """Return whether simulated time started again at zero."""
        last = self.monitor.measured
        if last is None or not (clock is None or self.monitor.config.simulated_time):
            return False
        return bool(measured.time < last.time and 0 <= measured.time < 0.5)

    def _refusal(self) -> str | None:
        """Return why the arm cannot be engaged, None if it can."""
        monitor = self.monitor
        if monitor.measured is None:
            return None
        if (age := monitor.age()) > FRESH_TIME:
            return f"no fresh joint states: the last one came {age:.3g} s ago"
        if self._last_problem is not None:
            fault, time = self._last_problem
            if 0 <= monitor.measured.time - time < FRESH_TIME:
                return f"a fault persists: {fault.reason}"
        return self._moving(is_clock_known=False)

    def _moving(self, is_clock_known: bool) -> str | None:
        """Return that the arm moves, None if it is at rest.

        Args:
            is_clock_known: whether an unknown speed counts as moving; a simulated arm starts at
                rest.
        """
        speed = self.monitor.speed()
        if speed is None:
            return "the speed of the arm is not known yet" if is_clock_known else None
        if not (speed > REST_SPEED).any():
            return None
        j = int(np.argmax(speed))
        return f"the arm moves: {self.robot.joint_names[j]} at {speed[j]:.3g} rad/s"

    def _on_fault(self, fault: Fault, measured: MeasuredState | None) -> None:
        """Latch a fault of a driven arm, until engaged again.

        Args:
            fault: what happened.
            measured: joint state that shows it, None if none came.
        """
        monitor, loop, cause = self.monitor, self._loop_delay, fault
        gap = None if self._clock is None else self._gaps.recent(self._clock)
        if fault.is_measurement_trusted and loop.delay is not None and loop.gain_scale < 0.7:
            cause = fault = Fault(LOOP_DELAY, None, loop.delay, loop.action_delay, "s")
        elif fault.reason in (FOLLOWING_ERROR, NOT_FOLLOWING) and gap is not None:
            cause = Fault(LOOP_DELAY, None, gap, self._gaps.limit, "s")
        if self._response is not None:
            self._response.cut()
        if self.plan is not None and self._armed:
            self.fault, self._armed = cause, False
            self._start_response(fault, monitor.measured if monitor.is_new else measured)
        last = monitor.measured
        self._last_problem = (cause, 0.0 if last is None else last.time)

    def _start_response(self, fault: Fault, measured: MeasuredState | None) -> None:
        """Start the way to rest.

        Args:
            fault: why.
            measured: newest joint state, None if there is none.
        """
        self._start_time, self._start_clock = self.monitor.time(self._clock), self._clock
        self._response_count = 0
        is_known = fault.is_measurement_trusted or fault.reason in GAPS
        self._response = FaultResponse(
            fault,
            self.planner,
            self._start_time,
            measured if is_known else None,
            self.tracking_controller,
            self.action_limits,
        )

    def _respond(self, measured: MeasuredState | None) -> Command:
        """Return the command of an arm that is not driven: on its way to rest, then none.

        Args:
            measured: joint state that came now, None if none did.
        """
        action, desired = None, None
        if self._response is not None:
            if self._clock is None or self._start_clock is None:
                time = self._start_time + self._response_count / self.robot.rate
            else:
                time = self._start_time + self._clock - self._start_clock
            self._response_count += 1
            is_useful = measured is not None and self.monitor.is_new
            if is_useful and self.unit == "N m" and self.monitor.measured is not None:
                time = self.monitor.measured.time  # torques are computed for joint states only
            action, desired = self._response.update(
                time, self.monitor.measured if is_useful else None
            )
            if self.fault is None and self._response.is_over:
                self._forget_plan()
        if self.fault is None:
            return Command(action, desired, self.stop_reason or NOT_ENGAGED, None)
        text = str(self.fault)
        return Command(action, desired, text, None, text)
