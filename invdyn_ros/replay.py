"""The same wanted motion through other models: a Recording enters, tracking errors leave."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.arms.bullet import Simulation
from invdyn_ros.arms.plant import PlantConfig, load_plant
from invdyn_ros.control.driver import Driver
from invdyn_ros.control.follower import Measured, Model
from invdyn_ros.control.guard import State, Target
from invdyn_ros.recording import Samples
from invdyn_ros.robot import Robot

Array = NDArray[np.float64]


def replay(
    robot: Robot,
    model: Model,
    unit: str,
    lead: float,
    wanted: Samples,
    plant: PlantConfig | None = None,
    seed: int = 0,
) -> float:
    """Return the RMS tracking error [rad] of a model on a wanted motion in simulation.

    Args:
        robot: the arm.
        model: what turns states into actions.
        unit: unit of its actions.
        lead: how far its actions act ahead [s].
        wanted: where the guard wanted the arm, at the arm's rate.
        plant: the arm's own by default.
        seed: of the plant's noise.
    """
    time, q, qd = _uniform(wanted, robot.rate)
    step = 1 / robot.rate
    qdd = np.gradient(qd, step, axis=0)
    # The motion has passed the guard already; at its limits, rounding must not make it pass again.
    free = replace(robot, velocity=1.5 * robot.velocity, acceleration=4 * robot.acceleration)
    driver = Driver(free, model, unit, lead)
    driver.engage(True)
    errors = []
    with Simulation(robot, plant or load_plant(robot.name), unit, seed=seed) as simulation:
        simulation.reset(seed, q[0])
        for k in range(len(time) - 1):
            sample = simulation.state()
            wish = State(q[k + 1], qd[k + 1], qdd[k + 1])
            driver.aim(Target(sample.time, wish, step))
            command = driver.tick(Measured(sample.time, sample.q, sample.qd))
            if command.action is None:
                raise ValueError(f"the guard stopped the replay: {command.reason}")
            errors.append(sample.q - q[k])
            simulation.step(command.action)
    return float(np.sqrt(np.mean(np.square(errors))))


def _uniform(wanted: Samples, rate: float) -> tuple[Array, Array, Array]:
    """Resample a wanted motion onto the arm's own grid."""
    if len(wanted.time) < 3:
        raise ValueError(f"a replay needs 3 wanted states or more, got {len(wanted.time)}")
    time = np.arange(wanted.time[0], wanted.time[-1], 1 / rate)
    columns = [
        np.stack([np.interp(time, wanted.time, c) for c in part.T], axis=1)
        for part in (wanted.q, wanted.qd)
    ]
    return time, columns[0], columns[1]
