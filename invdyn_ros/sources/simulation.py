"""Simulation of an arm that follows excitation trajectories."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from invdyn_ros.arms.pybullet_simulation import JointSample, Simulation
from invdyn_ros.control.computed_torque import ConstantInertiaModel, MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.faults import ANY_ERROR
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.control.safety_limits import SafetyLimitsConfig
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.drive_check import chosen_feedback
from invdyn_ros.models.gravity import for_commands
from invdyn_ros.models.mujoco_rigid_body import urdf_model
from invdyn_ros.models.predictor import Predictor
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.feedback import FeedbackConfig
from invdyn_ros.robots.obstacles import FREE_SPACE
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig
from invdyn_ros.sources.excitation.optimal import optimal_excitations
from invdyn_ros.sources.excitation.posture_sequence import SmoothMotion
from invdyn_ros.typing import Array
from invdyn_ros.workers import JobExecutor, parallel_map

# [-], [s2/rad] of a typical geared joint, relative to the effort limit
COULOMB_GUESS, ROTOR_GUESS = 0.01, 0.002
MIN_SAMPLES = 50  # of an episode that a stop of the arm ends


class DrivingModel(NamedTuple):
    """Model that drives an arm.

    Attributes:
        model: computes the actions.
        action_delay: time from an action to its effect [s].
        feedback: beside the model; None: that of the unit.
    """

    model: Predictor
    action_delay: float = 0.0
    feedback: FeedbackConfig | None = None


def nominal_model(robot: Robot, unit: str) -> Predictor:
    """Return a model for the controller of an arm that is not yet identified."""
    if unit == "rad":
        return ConstantInertiaModel(robot, unit)
    # Without rotor inertia, the feedback of a light wrist is too weak to overcome friction.
    guess = np.array([0.0, COULOMB_GUESS, 0.0, ROTOR_GUESS])
    return urdf_model(robot, unit, friction=robot.effort[:, None] * guess)


def simulate(
    robot: Robot,
    config: ExcitationConfig,
    plant: PlantConfig | None = None,
    unit: Literal["N m", "rad"] | None = None,
    executor: JobExecutor | None = None,
    policy: str = "",
) -> Iterator[Trajectory]:
    """Yield one trajectory per episode: measured motion and the action sent at each tick.

    Each episode has its own simulation, so that results do not depend on the executor.

    Args:
        robot: the arm.
        config: excitation.
        plant: differences from the URDF; default: those of the arm.
        unit: torque or setpoint; default: that of the arm.
        executor: runs the jobs; None: this process.
        policy: checkpoint that drives the arm, whose episodes end where the arm was stopped;
            empty: a model of the URDF, which follows every motion.

    Raises:
        ValueError: the checkpoint is of another arm or unit.
    """
    arm = replace(robot)  # a copy without MuJoCo model, which cannot be pickled
    action_unit = unit or robot.action_unit
    driving_model(arm, action_unit, policy)  # fails before any process starts
    plant = plant or load_plant(robot.name)
    run = partial(simulate_episode, arm, plant, action_unit, policy=policy)
    motions = optimal_excitations(robot, config, executor)
    seeds = [config.seed * 100_003 + episode for episode in range(len(motions))]
    yield from parallel_map(run, list(zip(motions, seeds, strict=True)), executor)


def simulate_episode(
    robot: Robot,
    plant: PlantConfig,
    unit: str,
    motion_and_seed: tuple[SmoothMotion, int],
    policy: str = "",
) -> Trajectory:
    """Simulate one episode in free space: the motions of a long arm reach below its base.

    Args:
        robot: the arm.
        plant: differences from the URDF.
        unit: of the actions.
        motion_and_seed: excitation, and seed of the noise.
        policy: checkpoint that drives the arm; empty: a model of the URDF.
    """
    motion, seed = motion_and_seed
    with Simulation(robot, plant, unit, obstacles=FREE_SPACE) as simulation:
        simulation.reset(seed, motion.state_at(0.0).q)
        safety = SafetyLimitsConfig(target_timeout=1.0, slow_in_time=0.0)
        driver = driving_model(robot, unit, policy)
        controller = ArmController(
            *(robot, driver.model, unit, driver.action_delay, safety, driver.feedback),
            monitor=ANY_ERROR,
            is_guarded=False,
        )
        controller.engage(True)
        return _record(simulation, controller, motion, unit, may_stop=bool(policy))


def driving_model(robot: Robot, unit: str, policy: str) -> DrivingModel:
    """Return the model of a checkpoint; without one, a model of the URDF.

    Args:
        robot: the arm.
        unit: of the actions.
        policy: folder or .onnx file, or empty.

    Raises:
        ValueError: the checkpoint is of another arm or unit.
    """
    if not policy:
        return DrivingModel(nominal_model(robot, unit))
    model = for_commands(load_runtime(policy, "cpu", robot))
    if model.meta.action_unit != unit:
        raise ValueError(
            f"{policy} computes actions in {model.meta.action_unit}, not in {unit}; give --unit"
        )
    feedback = chosen_feedback(model.meta.action_unit, model.meta.data)
    return DrivingModel(model, model.meta.action_delay, feedback)


def _record(
    simulation: Simulation,
    controller: ArmController,
    motion: SmoothMotion,
    unit: str,
    may_stop: bool,
) -> Trajectory:
    robot, step = simulation.robot, 1 / simulation.robot.rate
    samples: list[JointSample] = []
    actions: list[Array] = []
    for _ in range(round(motion.duration * robot.rate)):
        sample = simulation.state()
        controller.set_target(Target(sample.time, motion.state_at(sample.time + step), step))
        command = controller.update(MeasuredState(sample.time, sample.q, sample.qd))
        if command.action is None and may_stop and len(samples) >= MIN_SAMPLES:
            break
        if command.action is None:
            raise ValueError(f"the safety limits stopped an excitation: {command.reason}")
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
