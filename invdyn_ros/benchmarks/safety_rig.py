"""A simulated arm in closed loop with its shipped model, for the safety benchmark."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from functools import cache
from typing import NamedTuple

import numpy as np

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.benchmarks.safety_checks import ActionBounds
from invdyn_ros.control.action_limits import (
    SETPOINT_LEAD,
    SETPOINT_REACH,
    TORQUE_RATE,
    TORQUE_STEP,
)
from invdyn_ros.control.command import Command
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.registry import ROBOTS, load_plant, load_robot_spec
from invdyn_ros.robots.robot import Robot, load_robot, package_file
from invdyn_ros.typing import Array

CHECK_RATE = 100.0  # of the watchdog [Hz]
START_TIME = 1e5  # [s] of the stamps
LATENCY = 123.4  # [s] between the clock of the controller and the stamps
TARGET_RATE = 30.0  # [Hz] of a camera


class Setup(NamedTuple):
    """An arm and the shipped checkpoint that drives it."""

    arm: str
    checkpoint: str

    @property
    def is_servo(self) -> bool:
        """Whether the actions are setpoints, as the name and the arm tell."""
        is_position = self.checkpoint.endswith("_position")
        return is_position or load_robot_spec(self.arm).action_unit == "rad"


def shipped_setups(arms: tuple[str, ...] = ()) -> list[Setup]:
    """Return all arms with their shipped checkpoints, torque and position ones.

    Args:
        arms: names of arms; empty: all that have a checkpoint.

    Raises:
        ValueError: an arm is unknown or has no checkpoint.
    """
    folder = package_file("config/checkpoints")
    setups = []
    for arm in arms or tuple(ROBOTS):
        names = dict.fromkeys((arm, load_robot_spec(arm).real_checkpoint or arm))
        shipped = [Setup(arm, name) for name in names if (folder / name).is_dir()]
        if arms and not shipped:
            raise ValueError(f"no checkpoint is shipped for '{arm}'")
        setups += shipped
    return setups


@cache
def load_setup(setup: Setup) -> tuple[Robot, Predictor, str, float]:
    """Return the arm, its model, the unit of its actions and their delay [s]."""
    robot = load_robot(setup.arm)
    model = load_runtime(package_file("config/checkpoints") / setup.checkpoint, "cpu", robot)
    return robot, model, model.meta.action_unit, model.meta.action_delay


def action_bounds() -> ActionBounds:
    """Return the bounds of actions that the controller promises."""
    return ActionBounds(TORQUE_STEP, TORQUE_RATE, SETPOINT_REACH, SETPOINT_LEAD)


def tool_speed_limit() -> float:
    """Return the speed [m/s] of tool and joints that the motion guard promises."""
    return SafetyLimitsConfig().tool_speed


class Sample(NamedTuple):
    """State of a driven arm at one tick.

    Attributes:
        time: [s].
        q: (n,) true position [rad].
        qd: (n,) true velocity [rad/s].
        reference: (3n,) planned position, velocity and acceleration, NaN if there is none.
        action: (n,) sent at this tick, NaN if none was.
        fault: the latched fault, or None.
        reason: why the arm holds or the action was changed, or None.
        holds: whether the plan is to hold.
    """

    time: float
    q: Array
    qd: Array
    reference: Array
    action: Array
    fault: str | None
    reason: str | None
    holds: bool


class Tampering:
    """Base class of what goes wrong between the parts; here nothing does.

    All times are since the onset [s]; nothing is called before it.
    """

    def target(self, target: Target | None, time: float) -> Target | None:
        """Return the target that arrives."""
        return target

    def states(self, state: MeasuredState, time: float) -> list[MeasuredState]:
        """Return the joint states that arrive."""
        return [state]

    def command(self, action: Array | None, time: float) -> Array | None:
        """Return the command that arrives at the arm."""
        return action

    def act_on(self, simulation: Simulation, time: float) -> None:
        """Change the physics before a step."""

    def clear(self, simulation: Simulation) -> None:
        """Undo the changes of the physics."""


class DrivenArm(AbstractContextManager["DrivenArm"]):
    """A simulated arm with its controller.

    Attributes:
        controller: what drives it.
        simulation: the arm.
        samples: all ticks so far.
        ticks: number of control ticks.
    """

    def __init__(
        self,
        setup: Setup,
        seed: int = 0,
        delay: float = 0.0,
        model: Predictor | None = None,
    ) -> None:
        """Start at home, engaged.

        Args:
            setup: the arm and its checkpoint.
            seed: seed of the noise.
            delay: additional delay of the commands [s].
            model: replaces the shipped model.
        """
        self.robot, shipped, unit, action_delay = load_setup(setup)
        fallback = None
        if model is None:
            fallback = fallback_from_metadata(shipped.meta)  # type: ignore[attr-defined]
        self.controller = ArmController(
            self.robot, model or shipped, unit, action_delay, fallback=fallback
        )
        self.simulation = Simulation(self.robot, load_plant(setup.arm), unit, seed=seed)
        self.samples: list[Sample] = []
        self._delayed: deque[Array | None] = deque([None] * round(delay * self.robot.rate))
        self._next_check, self.ticks = 0.0, 0
        self.controller.engage(True)

    def __exit__(self, *_: object) -> None:
        self.simulation.close()

    @property
    def time(self) -> float:
        """Stamp of the present state [s]."""
        return START_TIME + self.simulation.time

    @property
    def camera_due(self) -> bool:
        """Whether a target is due at this tick."""
        every = max(1, round(self.robot.rate / TARGET_RATE))
        return self.ticks % every == 0

    def step(
        self, target: Target | None, tampering: Tampering | None = None, since: float = 0.0
    ) -> Sample:
        """Run one control tick.

        Args:
            target: target that the source sends now, if any.
            tampering: what goes wrong.
            since: time since its onset [s].
        """
        simulation, controller = self.simulation, self.controller
        sample, now = simulation.state(), self.time
        measured = MeasuredState(now, sample.q, sample.qd, sample.effort)
        states = [measured]
        if tampering is not None:
            target = tampering.target(target, since)
            states = tampering.states(measured, since)
        if target is not None:
            controller.set_target(target)
        command: Command | None = None
        for state in states:
            reply = controller.update(state, now + LATENCY)
            if command is None or reply.action is not None:
                command = reply
        if not states and now >= self._next_check:
            self._next_check = now + 1 / CHECK_RATE
            command = controller.check(now + LATENCY)
        action = None if command is None else command.action
        self._delayed.append(action)
        arriving = self._delayed.popleft()
        if tampering is not None:
            arriving = tampering.command(arriving, since)
            tampering.act_on(simulation, since)
        row = self._row(command, now, action)
        simulation.step(arriving)
        self.ticks += 1
        self.samples.append(row)
        return row

    def _row(self, command: Command | None, now: float, action: Array | None) -> Sample:
        q, qd = self.simulation.true_state()
        n, plan = self.robot.n, self.controller.plan
        desired = None if command is None else command.desired
        fault = self.controller.fault
        return Sample(
            now,
            q,
            qd,
            np.full(3 * n, np.nan) if desired is None else np.concatenate(desired),
            np.full(n, np.nan) if action is None else action,
            None if fault is None else str(fault),
            None if command is None else command.reason,
            plan is None or plan.hold_reason is not None,
        )


def wave(robot: Robot, time: float, size: float, frequency: float = 0.4) -> State:
    """Return a state of a motion of all joints about home that starts at rest.

    Args:
        robot: the arm.
        time: stamp [s].
        size: amplitude [rad].
        frequency: [Hz].
    """
    time -= START_TIME
    w = 2 * np.pi * frequency
    room = np.minimum(robot.upper - robot.home, robot.home - robot.lower)
    towards = np.where(robot.upper - robot.home >= robot.home - robot.lower, 1.0, -1.0)
    centre = robot.home + towards * np.where(room < 2 * size, 2 * size, 0.0)
    ramp = min(time * frequency, 1.0)  # of one period
    blend, rate = ramp**2 * (3 - 2 * ramp), 6 * ramp * (1 - ramp) * frequency
    s, c = size * np.sin(w * time), size * w * np.cos(w * time)
    shift = centre - robot.home
    return State(
        robot.home + blend * (shift + s), rate * (shift + s) + blend * c, np.zeros(robot.n)
    )
