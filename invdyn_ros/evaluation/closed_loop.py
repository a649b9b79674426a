"""The same wanted motion through other models: Samples enter, how the arm followed them leaves."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import (
    ComputedTorqueController,
    InverseDynamicsModel,
    MeasuredState,
)
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.safety_limits import Plan, State, Target
from invdyn_ros.control.state_predictor import StatePredictor
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation import Excitation, ExcitationConfig
from invdyn_ros.typing import Array, Mask

HOLD_TIME = 0.1  # [s] that arms go on with a command before they brake


class ZeroOrderHold:
    """The last joint state stays the measured one: what a live node does without a path model."""

    def update(self, measured: MeasuredState, desired: State | None) -> None:
        """Take a joint state."""
        self.measured = measured

    def predict(self, time: float, plan: Plan | None) -> MeasuredState | None:
        """Return the last one, as old as it is."""
        return self.measured


class LossyChannel(NamedTuple):
    """What comes through of an arm's joint states, and who says what does not.

    Attributes:
        arrived: (T,) whether each sample comes; the first one must.
        sight: in place of those that do not come.
    """

    arrived: Mask
    predictor: StatePredictor


class ClosedLoopRun(NamedTuple):
    """How a simulated arm followed a motion.

    Attributes:
        time: (T,) [s].
        wanted: (T, n) where it should have been [rad].
        measured: (T, n) where it was [rad].
        action: (T, n) what it was sent.
        lost: (T,) whether that came, in part or whole, from the fallback.
    """

    time: Array
    desired: Array
    measured: Array
    action: Array
    used_fallback: Mask

    @property
    def error(self) -> Array:
        """(T, n) [rad]."""
        return self.measured - self.desired

    @property
    def rms(self) -> float:
        """RMS tracking error over time and joints [rad]."""
        return float(np.sqrt(np.mean(np.square(self.error))))


def replay(
    robot: Robot,
    model: InverseDynamicsModel,
    unit: str,
    action_delay: float,
    desired: JointSamples,
    plant: PlantConfig | None = None,
    seed: int = 0,
    controller: ComputedTorqueController | None = None,
    fallback: Fallback | None = None,
    channel: LossyChannel | None = None,
) -> ClosedLoopRun:
    """Drive the simulated arm along a wanted motion with a model, as the live node does.

    Args:
        robot: the arm.
        model: what turns states into actions.
        unit: unit of its actions.
        action_delay: how far its actions act ahead [s].
        wanted: where the guard wanted the arm, at the arm's rate.
        plant: the arm's own by default.
        seed: of the plant's noise.
        follower: how plan and feedback reach the model; by default as in the live node.
        fallback: what the live node, and so the default follower, drives by out of the data.
        link: what comes through of the joint states; by default all of it.

    Raises:
        ValueError: too short a motion, a link that does not fit it, or the guard stopped the arm.
    """
    time, states = _resample(desired, robot.rate)
    # The motion has passed the guard already; at its limits, rounding must not make it pass again.
    free = replace(robot, velocity=1.5 * robot.velocity, acceleration=4 * robot.acceleration)
    driver = ArmController(free, model, unit, action_delay, fallback=fallback)
    driver.tracking_controller = controller or driver.tracking_controller
    driver.engage(True)
    count = len(states) - 1
    channel = channel or LossyChannel(np.ones(count, bool), ZeroOrderHold())
    if len(channel.arrived) < count or not channel.arrived[0]:
        raise ValueError(f"{count} samples need a link as long, and the first one must come")
    with Simulation(robot, plant or load_plant(robot.name), unit, seed=seed) as simulation:
        simulation.reset(seed, states[0].q)
        arm = _SimulatedArm(simulation, driver, channel)
        steps = [arm.follow(s, bool(a)) for s, a in zip(states[1:], channel.arrived, strict=False)]
    measured, action, lost = (np.stack(part) for part in zip(*steps, strict=True))
    return ClosedLoopRun(
        time, np.stack([state.q for state in states[:-1]]), measured, action, lost
    )


def excitation_motion(robot: Robot, seed: int | tuple[int, ...], seconds: float) -> JointSamples:
    """Return a motion to drive by: an excitation of its own seed, at the arm's rate."""
    random = np.random.default_rng(seed)
    motion = Excitation(robot, ExcitationConfig(episode_seconds=seconds), random, speed_scale=1.0)
    time = np.arange(round(seconds * robot.rate)) / robot.rate
    q, qd, _ = (np.stack(part) for part in zip(*map(motion.state_at, time), strict=True))
    return JointSamples(time, q, qd, np.empty((len(time), 0)), np.full(len(time), np.nan))


def _resample(wanted: JointSamples, rate: float) -> tuple[Array, list[State]]:
    """Resample a wanted motion of T samples and one more onto the arm's grid, from (T,) 0 [s]."""
    if len(wanted.time) < 3:
        raise ValueError(f"a replay needs 3 wanted states or more, got {len(wanted.time)}")
    time = np.arange(wanted.time[0], wanted.time[-1], 1 / rate)
    q, qd = (
        np.stack([np.interp(time, wanted.time, c) for c in part.T], axis=1)
        for part in (wanted.q, wanted.qd)
    )
    qdd = np.gradient(qd, 1 / rate, axis=0)
    return time[:-1] - time[0], [State(*state) for state in zip(q, qd, qdd, strict=True)]


class _SimulatedArm:
    """A simulated arm whose joint states come through a link."""

    def __init__(self, simulation: Simulation, driver: ArmController, link: LossyChannel) -> None:
        self.simulation, self.driver, self.sight = simulation, driver, link.predictor
        self._command: Array = np.zeros(driver.robot.n)
        self._sent = 0.0  # time of the last command [s]

    def follow(self, wish: State, come: bool) -> tuple[Array, Array, bool]:
        """Follow for one sample.

        Returns:
            Where it was (n,), what it was sent (n,), and whether the fallback had a share in that.
        """
        sample, driver = self.simulation.state(), self.driver
        driver.set_target(Target(sample.time, wish, 1 / driver.robot.rate))
        measured = MeasuredState(sample.time, sample.q, sample.qd)
        said = measured if come else self.sight.predict(sample.time, driver.plan)
        if said is not None:
            command = driver.update(said)
            if command.action is None:
                raise ValueError(f"the guard stopped the replay: {command.reason}")
            self._command, self._sent = command.action, sample.time
            if come:
                self.sight.update(measured, command.desired)
        braked = sample.time - self._sent > HOLD_TIME
        self.simulation.step(None if braked else self._command)
        return sample.q, self._command, driver.tracking_controller.using_fallback
