"""A simulated arm with its shipped model, whose joint states a test may falsify."""

from __future__ import annotations

from collections import deque
from functools import cache

import numpy as np
import pybullet
from oracle import robot

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.command import Command
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.models.runtime import Runtime, load_runtime
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import package_file

EPOCH, CLOCK = 1.7e9, 500.0  # [s] stamp and clock at the start; the clocks are not synchronised
START = 0.44  # [s] at which a fault begins, at 0.38 rad/s
ARMS = ("ur5", "dofbot")
NO_SLOW_IN = SafetyLimitsConfig(slow_in_time=0.0)


@cache
def shipped(arm: str) -> Runtime:
    return load_runtime(str(package_file(f"config/checkpoints/{arm}")), "cpu", robot(arm))


class Arm:
    """A simulated arm with its shipped model; joint states may be falsified on their way."""

    def __init__(self, arm: str, delay: float = 0.0, safety: SafetyLimitsConfig = NO_SLOW_IN):
        self.robot, model = robot(arm), shipped(arm)
        self.controller = ArmController(
            self.robot,
            model,
            model.meta.action_unit,
            model.meta.action_delay,
            safety,
            fallback=fallback_from_metadata(model.meta),
        )
        self.simulation = Simulation(self.robot, load_plant(arm), model.meta.action_unit, seed=1)
        self.queue: deque[np.ndarray | None] = deque([None] * round(delay * self.robot.rate))
        self.command: Command | None = None
        self.fastest = 0.0
        assert self.controller.engage(True) is None

    def __enter__(self) -> Arm:
        return self

    def __exit__(self, *_: object) -> None:
        self.simulation.close()

    def measure(self) -> MeasuredState:
        sample = self.simulation.state()
        return MeasuredState(EPOCH + sample.time, sample.q, sample.qd, sample.effort)

    def step(self, measured: MeasuredState | None, pause: bool = False) -> None:
        """Advance by one period with 30 targets a second; None: no joint state arrives."""
        controller, rate, clock = self.controller, self.robot.rate, self.simulation.time
        if self.simulation.ticks % round(rate / 30) == 0:
            controller.set_target(Target(EPOCH + clock, self.target(clock), 0.0))
        command = None if measured is None else controller.update(measured, CLOCK + clock)
        if (late := controller.check(CLOCK + clock + 0.5 / rate)) is not None:
            command = late
        self.command = command or self.command
        self.queue.append(None if command is None or pause else command.action)
        self.simulation.step(self.queue.popleft())
        q, qd = self.simulation.true_state()
        self.fastest = max(self.fastest, float((np.abs(qd) / self.robot.velocity).max()))
        self.q = q

    def target(self, t: float) -> State:
        """A sine of 0.3 rad and 0.3 Hz in all joints."""
        arm, w = self.robot, 2 * np.pi * 0.3
        size = np.where(arm.home + 0.36 > arm.upper, -0.3, 0.3)
        return State(arm.home + size * np.sin(w * t), size * w * np.cos(w * t), np.zeros(arm.n))

    def run(self, seconds: float) -> None:
        """Run without a fault for a time [s]."""
        for _ in range(round(seconds * self.robot.rate)):
            self.step(self.measure())

    def jam(self, j: int) -> None:
        """Jam a joint: a motor of large force holds it."""
        simulation = self.simulation
        simulation.client.setJointMotorControl2(
            simulation.body,
            simulation.joints[j],
            pybullet.VELOCITY_CONTROL,
            targetVelocity=0.0,
            force=1e4,
        )
