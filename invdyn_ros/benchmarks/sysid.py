"""Identification of one recording, compared with `mujoco.sysid`.

Both get the same motions and torques and the action delay that was found, and are measured on the
last part of the recording: the error of the torques, and that of short simulations by MuJoCo from
measured states with measured torques. Of a simulated arm the true parameters are known.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.identification import joint_space_inertia
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, settings_of
from invdyn_ros.benchmarks.sysid_peer import (
    INSTALL_HINT,
    Parameters,
    SysidProblem,
    is_installed,
)
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.models.base_parameters import find_base_parameters
from invdyn_ros.models.physical_parameters import pseudo_inertias
from invdyn_ros.models.registry import build
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS
from invdyn_ros.robots.payload import Payload
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.training.data_preparation import (
    SplitConfig,
    split_train_val_test,
    with_acceleration,
)
from invdyn_ros.training.dataset_arm import known_robot
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train

PEER = "mujoco.sysid"
PAYLOAD_INERTIA = 1e-4  # [m2] of the simulated payload, per mass
SMALL = 1e-3  # a true parameter below this part of the largest of its kind has no relative error


@dataclass(frozen=True)
class SysidBenchmarkConfig(BenchmarkOptions):
    """Identification of one recording, compared with mujoco.sysid."""

    data: Path | None = None
    """Dataset folder of a recording with torques; default: a simulated arm."""
    arm: str = "ur5"
    """Name of the simulated arm, or FILE.yaml of an arm of a user."""
    urdf: Path | None = None
    """URDF of the arm of a recording that is not known by name."""
    payload: NonNegativeFloat = 1.0
    """Mass at the tool of the simulated arm that is not in the URDF [kg]."""
    minutes: Annotated[float, Field(gt=0)] = 1.0
    """Duration of the simulated motion [min]."""


def measure_sysid(config: SysidBenchmarkConfig) -> dict[str, Any]:
    """Return the report; without the peer, one row and how to install it.

    Raises:
        ValueError: invalid data, or an unknown arm.
    """
    machine, true = machine_info(1), None
    with tempfile.TemporaryDirectory() as out:
        if config.data is None:
            robot, folder = load_robot(config.arm), Path(out) / "data"
            plant = load_plant(robot.name, payload=config.payload)
            motions = list(simulate(robot, ExcitationConfig(minutes=config.minutes), plant))
            write_dataset(folder, motions, robot.name, robot.rate)
            true = plant_parameters(robot, plant)
        else:
            folder, name = config.data, read_dataset(config.data).info.robot
            robot = known_robot(folder, name, name if config.urdf else None, config.urdf)
        rows = _rows(robot, folder, Path(out) / "model", true)
    if not is_installed():
        print(INSTALL_HINT)
    return benchmark_report(
        "sysid",
        unit="nMSE and errors in %; inertia in kg m2; duration in s",
        machine=machine,
        settings=settings_of(config) | {"peer": PEER if is_installed() else INSTALL_HINT},
        rows=rows,
    )


def plant_parameters(robot: Robot, plant: PlantConfig) -> Parameters:
    """Return the parameters of a simulated arm: those of its URDF and of its plant.

    As in the simulation, the rotors turn with the links.
    """
    inertial = _tree(robot).inertial.numpy().copy()
    if plant.payload:
        inertia = (PAYLOAD_INERTIA * plant.payload * np.eye(3)).tolist()
        payload = Payload(robot.tip_link, plant.payload, (0.0, 0.0, 0.0), inertia)
        inertial += payload.inertial_parameters(robot.rigid_body_urdf(), robot.joint_names)
    inertial[:, 9] += plant.rotor_inertia * robot.effort  # all joints turn about their z axis
    friction = np.zeros((robot.n, NUM_FRICTION_TERMS))
    friction[:, 0], friction[:, 1] = plant.viscous * robot.effort, plant.coulomb * robot.effort
    return Parameters(inertial, friction)


def _tree(robot: Robot) -> RigidBodyTree:
    return RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names)


def _rows(robot: Robot, folder: Path, out: Path, true: Parameters | None) -> dict[str, Row]:
    """Return the row of each method.

    Args:
        robot: the arm.
        folder: dataset.
        out: checkpoint folder to write.
        true: known parameters.
    """
    start = time.perf_counter()
    config = parse_train_config({"family": "rigid_body"}, "rigid_body")
    model = train(config, folder, out, robot=robot)
    seconds = time.perf_counter() - start
    assert isinstance(model, RigidBody)
    trajectories = with_acceleration(read_dataset(folder).trajectories)
    outer, _ = split_train_val_test(trajectories, SplitConfig.of_model(model.meta.data))
    models = {"rigid_body": (model, seconds)}
    if is_installed():
        start = time.perf_counter()
        estimate = SysidProblem(robot, outer.train, model.meta.action_delay).solve()
        models[PEER] = (
            _with_parameters(model, estimate),
            time.perf_counter() - start,
        )
    return {
        name: _row(robot, identified, trajectories, outer.test, true) | {"duration": duration}
        for name, (identified, duration) in models.items()
    }


def _with_parameters(model: RigidBody, parameters: Parameters) -> RigidBody:
    """Return a model with other parameters, without a filter of effort or friction."""
    other = build(replace(model.meta, effort_lag=()))
    assert isinstance(other, RigidBody)
    other.tree.inertial.copy_(torch.from_numpy(parameters.inertial))
    other.friction.copy_(torch.from_numpy(parameters.friction))
    other.friction_filter_time.zero_()
    return other.eval()


def _row(
    robot: Robot,
    model: RigidBody,
    trajectories: Sequence[Trajectory],
    test: Sequence[Trajectory],
    true: Parameters | None,
) -> Row:
    """Return the figures of one model.

    Args:
        robot: the arm.
        model: with identified parameters.
        trajectories: the whole recording.
        test: its part that was held out.
        true: known parameters.
    """
    inertia = joint_space_inertia(model, robot.lower, robot.upper)
    inertial, friction = model.tree.inertial.numpy(), model.friction.numpy()
    row: Row = {
        "moving": 100 * float(evaluate(model, trajectories)["moving"]["nmse"]["mean"]),
        "physical links": float((np.linalg.eigvalsh(pseudo_inertias(inertial))[:, 0] > 0).sum()),
        "least eigenvalue of M": float(torch.linalg.eigvalsh(inertia).min()),
    }
    if is_installed():
        problem = SysidProblem(robot, test, model.meta.action_delay)
        row["simulated"] = 100 * problem.error(Parameters(inertial, friction))
    if true is not None:
        row |= parameter_errors(robot, Parameters(inertial, friction), true, test)
    return row


def parameter_errors(
    robot: Robot, estimate: Parameters, true: Parameters, test: Sequence[Trajectory]
) -> Row:
    """Return errors of parameters, of themselves and of the torques that follow from them.

    Args:
        robot: the arm.
        estimate: identified parameters.
        true: those of the simulated arm.
        test: motions.
    """
    base = find_base_parameters(_tree(robot), robot.joint_names)
    values, expected = (
        base.matrix @ np.concatenate([p.inertial.ravel(), p.friction.ravel()])
        for p in (estimate, true)
    )
    known = np.abs(expected) > SMALL * np.abs(expected).max()
    relative = np.abs(values - expected)[known] / np.abs(expected)[known]
    motions = (
        torch.from_numpy(np.concatenate([getattr(t, key) for t in test]))
        for key in ("position", "velocity", "acceleration")
    )
    q, qd, qdd = motions
    torques = []
    for p in (estimate, true):
        tree = _tree(robot)
        tree.inertial.copy_(torch.from_numpy(p.inertial))
        torques.append(tree.torque(q, qd, qdd).numpy() + p.friction[:, 3] * qdd.numpy())
    error = ((torques[0] - torques[1]) ** 2).mean(0) / torques[1].var(0)
    friction = np.abs(estimate.friction - true.friction)[:, :2] / true.friction[:, :2]
    return {
        "parameters": 100 * float(np.median(relative)),
        "friction": 100 * float(np.median(friction)),
        "torque of inertia": 100 * float(error.mean()),
    }
