"""Benchmark of state prediction: joint tracking while joint states are missing.

The same inverse model drives the same motions while random joint states are dropped. With a
dataset, the errors of actions between irregular observations are measured too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveInt
from tqdm import tqdm

from invdyn_ros.benchmarks.action_interpolation import action_errors
from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.closed_loop import MOTION_SEED, rms_interval
from invdyn_ros.benchmarks.report import Row, ratios
from invdyn_ros.config import FractionBelowOne
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.learned_state_predictor import LearnedStatePredictor
from invdyn_ros.control.motion_profile import Plan, State
from invdyn_ros.control.state_predictor import StatePredictor, StatePredictorConfig
from invdyn_ros.evaluation.closed_loop import (
    ClosedLoopRun,
    LossyChannel,
    ZeroOrderHold,
    excitation_motion,
    replay,
)
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.runtime import fastest_runtime
from invdyn_ros.models.timeseries.encoder_model import Fractions
from invdyn_ros.models.timeseries.registry import load_time_series_model, untrained_copy
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.models.torch_predictor import TorchPredictor
from invdyn_ros.robots.robot import Robot, load_robot, package_file

BASELINE = "last joint state"
DropRates = Annotated[tuple[FractionBelowOne, ...], Field(min_length=1)]


@dataclass(frozen=True)
class JointStateDropoutBenchmarkConfig(BenchmarkOptions):
    """Joint tracking while joint states are missing, and actions between observations."""

    models: tuple[Path, ...] = ()
    """Folders of time-series models of the arm."""
    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    checkpoint: Path | None = None
    """Folder of its inverse model; default: the shipped one."""
    drop_rates: DropRates = (0.0, 0.25, 0.5, 0.75)
    """Fractions of the joint states that are dropped."""
    motions: PositiveInt = 6
    """Motions to drive, each with its own dropped samples."""
    seconds: Annotated[float, Field(ge=1)] = 10.0
    """Duration of each motion [s]."""
    prediction: StatePredictorConfig = field(default_factory=StatePredictorConfig)
    """Limits of prediction."""
    data: Path | None = None
    """Dataset of the arm, on whose last fifth no model was trained; None: no action errors."""
    observed_fractions: Fractions = (0.5, 0.2, 0.1, 0.05)
    """Fractions of its samples that are observed."""
    threads: PositiveInt = 1
    """CPU threads of torch."""


class NoPrediction(ZeroOrderHold):
    """No prediction: the last command is kept."""

    def predict(self, time: float, plan: Plan | None) -> MeasuredState | None:
        """Return None."""
        return None


class ConstantVelocity(ZeroOrderHold):
    """Extrapolation of the last joint state at constant velocity."""

    def predict(self, time: float, plan: Plan | None) -> MeasuredState | None:
        """Return the extrapolated state."""
        last_time, q, qd, _ = self.measured
        return MeasuredState(time, q + (time - last_time) * qd, qd)


class TimedPredictor(NamedTuple):
    """A state predictor whose predictions are timed."""

    predictor: StatePredictor
    durations: list[float]  # [ms]

    def update(self, measured: MeasuredState, desired: State | None) -> None:
        """Add a joint state."""
        self.predictor.update(measured, desired)

    def predict(self, time_: float, plan: Plan | None) -> MeasuredState | None:
        """Return the predicted state."""
        start = time.perf_counter()
        predicted = self.predictor.predict(time_, plan)
        self.durations.append(1e3 * (time.perf_counter() - start))
        return predicted


def measure_joint_state_dropout(config: JointStateDropoutBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: an unknown arm, or models of another one.
    """
    robot = load_robot(config.arm)
    unit = (
        "mrad RMS tracking error by drop rate; ms per prediction; nMSE in % by observed fraction"
    )
    measured = config.begin("joint_state_dropout", unit, config.threads)
    rows = measured.rows
    torch.set_num_threads(config.threads)
    folder = config.checkpoint or package_file(f"config/checkpoints/{robot.name}")
    inverse = load(folder, "cpu", robot)
    models = _load_models(config.models)
    predictors: dict[str, Callable[[], StatePredictor]] = {
        "last command": NoPrediction,
        BASELINE: ZeroOrderHold,
    }
    predictors["constant velocity"] = ConstantVelocity
    for name, model in models.items():
        LearnedStatePredictor(model, robot)  # raises for another arm before the long run
        predictors[name] = lambda model=model: LearnedStatePredictor(
            model, robot, config.prediction
        )  # type: ignore[misc]
    action_rows = {}
    if config.data is not None:
        action_rows = action_errors(
            config.data, TorchPredictor(inverse), models, config.observed_fractions
        )
    details = _measure_tracking(config, robot, inverse, predictors, rows)
    for name, row in action_rows.items():
        rows[name] = rows.get(name, {}) | row
    columns = [_percent(drop_rate) for drop_rate in config.drop_rates]
    ratio = {name: ratios(rows[name], rows[BASELINE], columns) for name in models}
    return measured.report(ratio=ratio, details=details)


def _percent(fraction: float) -> str:
    return f"{fraction:.0%}"


def _load_models(folders: Sequence[Path]) -> dict[str, TimeSeriesModel]:
    """Return time-series models by name; bridges also untrained, as they work without training."""
    models: dict[str, TimeSeriesModel] = {}
    for folder in folders:
        model = load_time_series_model(folder)
        name = model.meta.family
        if name == "bridge":
            models[f"{name}, untrained"] = untrained_copy(model)
        models[name if name not in models else str(folder)] = model
    return models


def _measure_tracking(
    config: JointStateDropoutBenchmarkConfig,
    robot: Robot,
    inverse: InverseDynamics,
    predictors: dict[str, Callable[[], StatePredictor]],
    rows: dict[str, Row],
) -> dict[str, Any]:
    """Add a row for each predictor, and return the 95% intervals of each."""
    details: dict[str, Any] = {}
    runtime, total = (
        fastest_runtime(inverse),
        len(predictors) * len(config.drop_rates) * config.motions,
    )
    bar = tqdm(total=total, unit="run", desc="driving", file=sys.stderr)
    with bar:
        for name, make in predictors.items():
            durations: list[float] = []
            for drop_rate in config.drop_rates:
                squares = []
                for seed in range(config.motions):
                    predictor = TimedPredictor(make(), durations)
                    run = drive(
                        robot, inverse, runtime, predictor, drop_rate, seed, config.seconds
                    )
                    squares.append(run.rms**2)
                    bar.update()
                rms = float(np.sqrt(np.mean(squares)))
                rows.setdefault(name, {})[_percent(drop_rate)] = round(1e3 * rms, 4)
                bounds = [round(1e3 * x, 4) for x in rms_interval(squares)]
                details.setdefault(name, {})[_percent(drop_rate)] = bounds
            if durations:
                rows[name]["ms"] = round(float(np.median(durations)), 4)
    return details


def drive(
    robot: Robot,
    inverse: InverseDynamics,
    runtime: Runtime,
    predictor: StatePredictor,
    drop_rate: float,
    seed: int,
    seconds: float,
) -> ClosedLoopRun:
    """Drive one motion with dropped joint states, the same ones for every predictor.

    Args:
        robot: the arm.
        inverse: its inverse model.
        runtime: the same model for fast prediction.
        predictor: of the missing joint states.
        drop_rate: fraction of the joint states that are dropped.
        seed: of motion, dropped samples and noise.
        seconds: duration [s].
    """
    desired, meta = excitation_motion(robot, (MOTION_SEED, seed), seconds), inverse.meta
    arrived = np.random.default_rng([MOTION_SEED, seed]).random(len(desired.time)) >= drop_rate
    arrived[0] = True  # the arm is engaged at a measured joint state
    channel, fallback = LossyChannel(arrived, predictor), fallback_from_metadata(meta)
    return replay(
        robot,
        runtime,
        meta.action_unit,
        meta.action_delay,
        desired,
        seed=seed,
        fallback=fallback,
        channel=channel,
    )
