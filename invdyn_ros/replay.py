"""The same wanted motion through other models: Samples enter, how the arm followed them leaves."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.arms.bullet import Simulation
from invdyn_ros.arms.plant import PlantConfig, load_plant
from invdyn_ros.control.driver import Driver
from invdyn_ros.control.fallback import Fallback
from invdyn_ros.control.follower import Follower, Measured, Model
from invdyn_ros.control.guard import State, Target
from invdyn_ros.recording import Samples
from invdyn_ros.robot import Robot
from invdyn_ros.sources.simulation import Excitation, ExcitationConfig

Array = NDArray[np.float64]


class Run(NamedTuple):
    """How a simulated arm followed a motion.

    Attributes:
        time: (T,) [s].
        wanted: (T, n) where it should have been [rad].
        measured: (T, n) where it was [rad].
        action: (T, n) what it was sent.
        lost: (T,) whether that came, in part or whole, from the fallback.
    """

    time: Array
    wanted: Array
    measured: Array
    action: Array
    lost: NDArray[np.bool_]

    @property
    def error(self) -> Array:
        """(T, n) [rad]."""
        return self.measured - self.wanted

    @property
    def rms(self) -> float:
        """RMS tracking error over time and joints [rad]."""
        return float(np.sqrt(np.mean(np.square(self.error))))


def replay(
    robot: Robot,
    model: Model,
    unit: str,
    lead: float,
    wanted: Samples,
    plant: PlantConfig | None = None,
    seed: int = 0,
    follower: Follower | None = None,
    fallback: Fallback | None = None,
) -> Run:
    """Drive the simulated arm along a wanted motion with a model, as the live node does.

    Args:
        robot: the arm.
        model: what turns states into actions.
        unit: unit of its actions.
        lead: how far its actions act ahead [s].
        wanted: where the guard wanted the arm, at the arm's rate.
        plant: the arm's own by default.
        seed: of the plant's noise.
        follower: how plan and feedback reach the model; by default as in the live node.
        fallback: what the live node, and so the default follower, drives by out of the data.

    Raises:
        ValueError: too short a motion, or the guard stopped the arm.
    """
    time, states = _uniform(wanted, robot.rate)
    # The motion has passed the guard already; at its limits, rounding must not make it pass again.
    free = replace(robot, velocity=1.5 * robot.velocity, acceleration=4 * robot.acceleration)
    driver = Driver(free, model, unit, lead, fallback=fallback)
    driver.follower = follower or driver.follower
    driver.engage(True)
    with Simulation(robot, plant or load_plant(robot.name), unit, seed=seed) as simulation:
        simulation.reset(seed, states[0].q)
        steps = [_step(simulation, driver, state) for state in states[1:]]
    measured, action, lost = (np.stack(part) for part in zip(*steps, strict=True))
    return Run(time, np.stack([state.q for state in states[:-1]]), measured, action, lost)


def excitation(robot: Robot, seed: int | tuple[int, ...], seconds: float) -> Samples:
    """Return a motion to drive by: an excitation of its own seed, at the arm's rate."""
    random = np.random.default_rng(seed)
    motion = Excitation(robot, ExcitationConfig(episode=seconds), random, pace=1.0)
    time = np.arange(round(seconds * robot.rate)) / robot.rate
    q, qd, _ = (np.stack(part) for part in zip(*map(motion.at, time), strict=True))
    return Samples(time, q, qd, np.empty((len(time), 0)), np.full(len(time), np.nan))


def _uniform(wanted: Samples, rate: float) -> tuple[Array, list[State]]:
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


def _step(simulation: Simulation, driver: Driver, wish: State) -> tuple[Array, Array, bool]:
    """Let the arm follow for one sample.

    Returns:
        Where it was (n,), what it was sent (n,), and whether the fallback had a share in that.
    """
    sample = simulation.state()
    driver.aim(Target(sample.time, wish, 1 / driver.robot.rate))
    command = driver.tick(Measured(sample.time, sample.q, sample.qd))
    if command.action is None:
        raise ValueError(f"the guard stopped the replay: {command.reason}")
    simulation.step(command.action)
    return sample.q, command.action, driver.follower.lost
