"""Identification of an arm: bounds and error on recordings, and recovery of known parameters.

On each recording the identified rigid body is compared with a fit without bounds, with the same
delay and lag. Known parameters (those of the URDF, a payload at the tool and friction) are
recovered from their torques with noise, once per trial, and unknown payloads from simulations.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.identified_payloads import payload_row
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.windows import windows
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.models.base_parameters import find_base_parameters
from invdyn_ros.models.identification_report import Residual, identification_report
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.least_squares_identification import (
    NormalEquations,
    friction_terms,
)
from invdyn_ros.models.parameter_identification import Bounds, identify
from invdyn_ros.models.physical_parameters import pseudo_inertias
from invdyn_ros.models.registry import build
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.rigid_body_config import NUM_FRICTION_TERMS
from invdyn_ros.robots.multibody_tree import inertial_parameters
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig
from invdyn_ros.sources.excitation.optimal import optimal_excitations
from invdyn_ros.training.data_preparation import (
    SplitConfig,
    split_train_val_test,
    with_acceleration,
)
from invdyn_ros.training.dataset_arm import known_robot
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.typing import Array

LAG = 0.02  # [s] of the effort, of the fit without bounds beside
NUM_POSTURES = 10_000
COULOMB_VELOCITY = 0.02  # [rad/s] at which Coulomb friction is fully developed
FRICTION = (0.02, 0.03, 0.005, 0.002)  # largest, relative to effort limit and unit motion
PAYLOAD_OFFSET = 0.05  # [m] of the payload in each direction
VALIDATION = 0.2  # fraction of the samples


@dataclass(frozen=True)
class IdentificationBenchmarkConfig(BenchmarkOptions):
    """Physical bounds, error and recovery of identified parameters."""

    data: tuple[Path, ...] = ()
    """Dataset folders of recordings with efforts; the last part of each is held out."""
    test: Path | None = None
    """Dataset of the same arm in other motions, to measure the error on; default: what is held out
    of each recording."""
    urdf: Path | None = None
    """URDF of the arms that are not known by name."""
    arm: str = "ur5"
    """Arm whose known parameters are recovered."""
    trials: NonNegativeInt = 200
    """Number of recoveries, each with another payload, friction and noise."""
    payloads: NonNegativeInt = 8
    """Number of payloads that are identified, each from two simulated recordings."""
    payload: float = 1.0
    """Mass at the tool that is not in the URDF [kg]."""
    noise: PositiveFloat = 0.005
    """Standard deviation of the noise, relative to the effort limits."""
    minutes: Annotated[float, Field(gt=0)] = 1.0
    """Duration of the motion [min]."""


def measure_identification(config: IdentificationBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: invalid data, or an unknown arm.
    """
    measured = config.begin("identification", "nMSE in %; inertia in kg m2; share in %")
    rows = measured.rows
    for folder in config.data:
        rows[folder.name] = _recording_row(folder, config)
    if config.trials:
        rows[f"recovery, {config.arm}"] = _recovery_row(config)
    if config.payloads:
        row = payload_row(config.arm, config.payloads, config.minutes)
        rows[f"payloads, {config.arm}"] = row
    return measured.report()


def joint_space_inertia(model: RigidBody, lower: Array, upper: Array) -> Tensor:
    """Return the joint-space inertia (P, n, n) of a torque model in random postures.

    Args:
        model: the model.
        lower: (n,) of the postures [rad].
        upper: (n,) of the postures [rad].
    """
    random = np.random.default_rng(0)
    q = torch.from_numpy(random.uniform(lower, upper, (NUM_POSTURES, model.n)))
    rest = torch.zeros_like(q)
    base = model.rigid_body_target(torch.cat([q, rest, rest], -1))
    columns = []
    for unit in torch.eye(model.n, dtype=q.dtype):
        motion = torch.cat([q, rest, unit.expand_as(q)], -1)
        columns.append(model.rigid_body_target(motion) - base)
    return torch.stack(columns, -1)


def _recording_row(folder: Path, benchmark: IdentificationBenchmarkConfig) -> Row:
    """Return the figures of one recording."""
    dataset = read_dataset(folder)
    name = dataset.info.robot
    robot = known_robot(folder, name, name if benchmark.urdf else None, benchmark.urdf)
    config = parse_train_config({"family": "rigid_body"}, "rigid_body")
    with tempfile.TemporaryDirectory() as out:
        model = train(config, folder, out, robot=robot)
    assert isinstance(model, RigidBody)
    trajectories = with_acceleration(dataset.trajectories)
    free = _without_bounds(model, trajectories)
    inertia = joint_space_inertia(model, robot.lower, robot.upper)
    links = np.linalg.eigvalsh(pseudo_inertias(model.tree.inertial.numpy()))[:, 0]
    identification = model.identification or {"condition_number": np.nan, "base_parameters": []}
    free_lagged = _without_bounds(_with_lag(model), trajectories)
    tests = trajectories
    if benchmark.test is not None:
        tests = with_acceleration(read_dataset(benchmark.test).trajectories)
    moving, moving_free, moving_lagged = (_nmse(m, tests) for m in (model, free, free_lagged))
    return {
        "links": float(len(links)),
        "physical links": float((links > 0).sum()),
        "least eigenvalue of M": float(torch.linalg.eigvalsh(inertia).min()),
        "least diagonal of M": float(inertia.diagonal(dim1=-2, dim2=-1).min()),
        "moving": moving,
        "moving without bounds": moving_free,
        "moving without bounds, lag": moving_lagged,
        "standing": _nmse(model, tests, "standing"),
        "standing without presliding": _nmse(_memoryless(model), tests, "standing"),
        "least diagonal without bounds": float(
            joint_space_inertia(free, robot.lower, robot.upper).diagonal(dim1=-2, dim2=-1).min()
        ),
        "action delay ms": 1e3 * model.meta.action_delay,
        "effort lag ms": 1e3 * max(model.meta.effort_lag, default=0.0),
        "condition number": identification["condition_number"],
        "base parameters": float(len(identification["base_parameters"])),
        "not identified": float(
            sum(not p["identified"] for p in identification["base_parameters"])
        ),
    }


def _with_lag(model: RigidBody) -> RigidBody:
    """Return a model whose actions are recorded with at least a lag of LAG."""
    lag = tuple(max(lag, LAG) for lag in model.meta.effort_lag or (0.0,) * model.n)
    lagged = build(replace(model.meta, effort_lag=lag))
    assert isinstance(lagged, RigidBody)
    return lagged


def _without_bounds(model: RigidBody, trajectories: Sequence[Any]) -> RigidBody:
    """Return a fit of the same data, delay and lag without bounds."""
    free = build(model.meta)
    assert isinstance(free, RigidBody)
    _, inner = split_train_val_test(trajectories, SplitConfig.of_model(model.meta.data))
    train_equations, val_equations = (
        free.normal_equations(
            windows(part, free.window_size, free.meta.action_delay, stride=free.stride)
        )
        for part in (inner.train, inner.test)
    )
    prior, bounds = free.tree.inertial.flatten(), free.bounds._replace(physical=False)
    free.set_parameters(identify(train_equations, val_equations, prior, bounds))
    return free.eval()


def _memoryless(model: RigidBody) -> InverseDynamics:
    """Return a copy whose joints hold no friction at rest."""
    copy = build(replace(model.meta, presliding=()))
    copy.load_state_dict(model.state_dict())
    return copy.eval()


def _nmse(model: InverseDynamics, trajectories: Sequence[Any], joints: str = "moving") -> float:
    """Return the error [%] of the joints that move, or of those that are standing."""
    mean = evaluate(model, trajectories)[joints]["nmse"]["mean"]
    return float("nan") if mean is None else 100 * float(mean)


def _recovery_row(config: IdentificationBenchmarkConfig) -> Row:
    """Return how often known parameters lie within the identified intervals."""
    robot = load_robot(config.arm)
    tree = RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names)
    columns = _columns(robot, tree, config.minutes)  # (T, n, 14 n)
    prior = tree.inertial.flatten()
    base = find_base_parameters(tree, robot.joint_names)
    deviations, relative = [], []
    for trial in tqdm(range(config.trials), unit="trial", file=sys.stderr):
        random = np.random.default_rng(trial)
        true = true_parameters(robot, tree, config.payload, random)
        exact = columns @ torch.from_numpy(true)  # (T, n)
        noise = config.noise * robot.effort * random.standard_normal(exact.shape)
        report = _identify(robot, tree, columns, exact + torch.from_numpy(noise), prior)
        values, stds = (
            np.array([row[key] for row in report["base_parameters"]], float)
            for key in ("value", "std")
        )
        deviations.append(np.abs(values - base.matrix @ true) / stds)
        relative.append(np.median(stds / np.maximum(np.abs(base.matrix @ true), 1e-9)))
    z = np.array(deviations)
    return {
        "trials": float(config.trials),
        "base parameters": float(z.shape[1]),
        "within 2 std": 100 * float((z < 2).mean()),
        "within 3 std": 100 * float((z < 3).mean()),
        "trials all within 3 std": 100 * float((z < 3).all(1).mean()),
        "worst parameter within 3 std": 100 * float((z < 3).mean(0).min()),
        "median relative std": 100 * float(np.median(relative)),
    }


def true_parameters(
    robot: Robot, tree: RigidBodyTree, payload: float, random: np.random.Generator
) -> np.ndarray:
    """Return the parameters (14 n,) of an arm with a payload and friction.

    Args:
        robot: the arm.
        tree: its rigid bodies.
        payload: mass of a point at the tool [kg].
        random: random generator.
    """
    inertial = tree.inertial.numpy().copy()
    point = random.uniform(-PAYLOAD_OFFSET, PAYLOAD_OFFSET, 3)
    P = payload * np.outer(*[np.append(point, 1.0)] * 2)
    inertial[-1] += inertial_parameters(P)
    scale = robot.effort[:, None] * np.array(FRICTION)
    friction = scale * random.uniform(0.2, 1.0, (robot.n, NUM_FRICTION_TERMS))
    return np.concatenate([inertial.ravel(), friction.ravel()])


def _columns(robot: Robot, tree: RigidBodyTree, minutes: float) -> Tensor:
    """Return the columns (T, n, 14 n) of the torques of an excitation."""
    motions = optimal_excitations(robot, ExcitationConfig(minutes=minutes))
    parts = [
        motion.motion(np.arange(round(motion.duration * robot.rate)) / robot.rate)
        for motion in motions
    ]
    q, qd, qdd = (torch.from_numpy(np.concatenate(x)) for x in zip(*parts, strict=True))
    friction = friction_terms(qd, qdd, COULOMB_VELOCITY)  # (T, n, 4)
    blocks = torch.einsum("tik,ij->tijk", friction, torch.eye(robot.n, dtype=q.dtype))
    return torch.cat([tree.regressor(q, qd, qdd), blocks.flatten(-2)], -1)


def _identify(
    robot: Robot, tree: RigidBodyTree, columns: Tensor, torque: Tensor, prior: Tensor
) -> dict[str, Any]:
    """Identify the parameters from torques (T, n) and return their report."""
    cut = round(len(columns) * (1 - VALIDATION))
    parts = [_equations(columns[rows], torque[rows]) for rows in (slice(cut), slice(cut, None))]
    parameters = identify(parts[0], parts[1], prior, Bounds(is_torque=True))
    z = torch.cat([parameters.inertial, parameters.friction.flatten()])
    error = (torque - columns @ z)[:cut]
    residual = Residual(error, torch.ones_like(error))
    return identification_report(tree, robot.joint_names, parts[0], parameters, residual, prior)


def _equations(columns: Tensor, torque: Tensor) -> NormalEquations:
    """Return the normal equations of columns (T, n, 14 n) and torques (T, n)."""
    n = torque.shape[1]
    first = 10 * n
    grams, moments = [], []
    for j in range(n):
        own = slice(first + NUM_FRICTION_TERMS * j, first + NUM_FRICTION_TERMS * (j + 1))
        A = torch.cat([columns[:, j, :first], columns[:, j, own]], -1)
        grams.append(A.T @ A)
        moments.append(A.T @ torque[:, j])
    return NormalEquations(
        torch.stack(grams), torch.stack(moments), torque.square().sum(0), len(torque)
    )
