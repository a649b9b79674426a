"""From nothing to an identified arm: excitation, recording, identification, validation, export.

Each simulated arm stands on its table and holds a payload. Every control tick of its runs is
checked against all limits, independently of the motion guard.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.benchmarks.safety_checks import MotionChecker, Tally, Ticks
from invdyn_ros.benchmarks.safety_rig import action_bounds
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.data.action_units import is_torque
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.evaluation.arm_identification import (
    CHECKPOINT,
    VALIDATION,
    IdentifiedArm,
    identify_arm,
    validation_motion,
)
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.exports.c_source import c_source
from invdyn_ros.models.exports.description import mjcf_text, urdf_text
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation.design import ExcitationDesign, design_excitation
from invdyn_ros.sources.guarded_run import GuardedArm, GuardedRun

RATED_PAYLOADS = {"ur5": 5.0, "ur5e": 5.0, "ur10": 10.0, "kuka_iiwa": 14.0, "dofbot": 0.2}  # [kg]
MEDIUM_PAYLOAD = 1.0  # [kg], or half of the rated one


@dataclass(frozen=True)
class ExcitationBenchmarkConfig(BenchmarkOptions):
    """Contacts, violations, time and error from nothing to an identified and exported arm."""

    arms: tuple[str, ...] = tuple(RATED_PAYLOADS)
    """Names of the arms."""
    payloads: tuple[NonNegativeFloat, ...] = ()
    """Masses at the tool [kg]; default: none, 1 kg or half of the rated one, the rated one."""
    duration: PositiveFloat = 60.0
    """Duration of each excitation [s]."""
    width: NonNegativeFloat = 0.0
    """Relative width of the intervals at which an excitation ends; 0: all of it is driven."""
    seed: int = 0
    """Random seed."""


def measure_excitation(config: ExcitationBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: an unknown arm, or the safety limits stopped one.
    """
    measured = config.begin("excitation", "s, control ticks, mrad, % of the variance")
    for arm in config.arms:
        robot = load_robot(arm)
        for payload in config.payloads or _payloads(arm):
            measured.rows[f"{arm}, {payload:g} kg"] = _measure(robot, payload, config)
    return measured.report()


def count_violations(robot: Robot, result: IdentifiedArm[GuardedRun], tool_speed: float) -> Tally:
    """Return the violations of all limits in all runs.

    Args:
        robot: the arm.
        result: its identification.
        tool_speed: limit of tool and joints [m/s].
    """
    limits = Limits.from_robot(robot, SafetyLimitsConfig())
    checker = MotionChecker(robot, robot.action_unit, limits, tool_speed, action_bounds())
    tally = Tally()
    for run in result.all_runs:
        ticks = Ticks.empty(len(run.trajectory), robot.n)
        ticks.time, ticks.reference = run.trajectory.time, run.reference
        ticks.joints, ticks.action = run.trajectory.position, run.trajectory.action
        checker.check(ticks, tally)
    return tally


def _payloads(arm: str) -> tuple[float, ...]:
    rated = RATED_PAYLOADS.get(arm, 2 * MEDIUM_PAYLOAD)
    return (0.0, min(MEDIUM_PAYLOAD, rated / 2), rated)


def _measure(robot: Robot, payload: float, config: ExcitationBenchmarkConfig) -> Row:
    """Return the row of one arm with a payload [kg]."""
    start = time.monotonic()
    design = ExcitationDesign(duration=config.duration, payload=payload, seed=config.seed)
    obstacles = load_arm_obstacles(robot.name)
    designed = design_excitation(robot, design, obstacles)
    design_seconds = time.monotonic() - start
    validation = validation_motion(robot, design, obstacles)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        arm = stack.enter_context(
            GuardedArm(robot, payload, obstacles, design.tool_speed, config.seed)
        )
        result = identify_arm(robot, arm, designed.motion, validation, folder, config.width)
        model = load(folder / CHECKPOINT)
        report = evaluate(model, read_dataset(folder / VALIDATION).trajectories)
        assert isinstance(model, RigidBody)
        c_source(model, robot.name)
        if is_torque(robot.action_unit):
            urdf_text(model)
            mjcf_text(model)
    runs = result.all_runs
    row = {
        "contacts": float(sum(run.contacts for run in runs)),
        "violations": float(count_violations(robot, result, design.tool_speed).total),
        "held": float(sum(sum(run.held.values()) for run in runs)),
        "driven s": float(sum(np.ptp(run.trajectory.time) for run in result.runs)),
        "design s": design_seconds,
        "wall s": time.monotonic() - start,
        "nominal mrad": 1e3 * result.runs[0].rms,
        "validation mrad": 1e3 * result.validation.rms,
        "moving nmse": 100 * report["moving"]["nmse"]["mean"],
        "narrower": designed.narrower,
    }
    return row | ({} if result.width is None else {"width": 100 * result.width})
