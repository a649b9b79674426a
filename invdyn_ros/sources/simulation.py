"""The simulated arm, moved so that its dynamics show: an arm enters, its trajectories leave."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch

from invdyn_ros.arms.pybullet_simulation import JointSample, Simulation
from invdyn_ros.control.computed_torque import (
    ConstantInertiaModel,
    InverseDynamicsModel,
    MeasuredState,
)
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.safety_limits import SafetyLimitsConfig, Target
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.rigid_body import urdf_model
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation import Excitation, ExcitationConfig, optimal_excitations
from invdyn_ros.typing import Array
from invdyn_ros.workers import parallel_map

COULOMB_GUESS, ROTOR_GUESS = 0.01, 0.002  # per effort limit, of any geared joint [-, s2/rad]


def nominal_model(robot: Robot, unit: str) -> InverseDynamicsModel:
    """Return what drives an arm before anything is learned: a guess, or plain setpoints."""
    if unit == "rad":
        return ConstantInertiaModel(robot, unit)
    model = urdf_model(robot, unit)
    # Without a rotor's inertia, feedback on a light wrist is too weak to overcome its friction.
    guess = torch.tensor([0.0, COULOMB_GUESS, 0.0, ROTOR_GUESS], dtype=model.dtype)
    model.friction.copy_(torch.from_numpy(robot.effort)[:, None] * guess)
    return model


def simulate(
    robot: Robot,
    config: ExcitationConfig,
    plant: PlantConfig | None = None,
    unit: Literal["N m", "rad"] | None = None,
    workers: int = 1,
) -> Iterator[Trajectory]:
    """Yield one trajectory per episode: what the arm measured, and the action sent at each tick.

    Each episode has a world of its own, so the number of workers changes nothing in them.

    Args:
        robot: the arm.
        config: how it moves.
        plant: how it differs from its URDF; the arm's own by default.
        unit: torque or setpoint; the arm's own by default.
        workers: processes that simulate; 1: this one.

    Raises:
        ValueError: less than one worker.
    """
    arm = replace(robot)  # without its engine, which another process builds anew
    run = partial(
        simulate_episode, arm, plant or load_plant(robot.name), unit or robot.action_unit
    )
    motions = optimal_excitations(robot, config)
    seeds = [config.seed * 100_003 + episode for episode in range(len(motions))]
    yield from parallel_map(run, list(zip(motions, seeds, strict=True)), workers)


def simulate_episode(
    robot: Robot, plant: PlantConfig, unit: str, motion_and_seed: tuple[Excitation, int]
) -> Trajectory:
    """Move a fresh simulated arm along one excitation, with the noise of a seed."""
    motion, seed = motion_and_seed
    with Simulation(robot, plant, unit) as simulation:
        simulation.reset(seed, motion.state_at(0.0).q)
        driver = ArmController(
            robot, nominal_model(robot, unit), unit, 0.0, SafetyLimitsConfig(target_timeout=1.0)
        )
        driver.engage(True)
        return _record(simulation, driver, motion, unit)


def _record(
    simulation: Simulation, driver: ArmController, motion: Excitation, unit: str
) -> Trajectory:
    robot, step = simulation.robot, 1 / simulation.robot.rate
    samples: list[JointSample] = []
    actions: list[Array] = []
    for _ in range(round(motion.duration * robot.rate)):
        sample = simulation.state()
        driver.set_target(Target(sample.time, motion.state_at(sample.time + step), step))
        command = driver.update(MeasuredState(sample.time, sample.q, sample.qd))
        if command.action is None:
            raise RuntimeError(f"the guard stopped an excitation: {command.reason}")
        samples.append(sample)
        actions.append(command.action)
        simulation.step(command.action)
    qd = np.stack([s.qd for s in samples])
    return Trajectory(
        time=np.array([s.time for s in samples]),
        position=np.stack([s.q for s in samples]),
        velocity=qd if qd.shape[1] else np.empty((0, robot.n)),
        acceleration=np.empty((0, robot.n)),
        action=np.stack(actions),
        joint_names=robot.joint_names,
        action_unit=unit,
    ).differentiate()
