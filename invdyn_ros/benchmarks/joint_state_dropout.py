"""An arm whose joint states are lost: path models enter, how well it is driven with them leaves.

The same inverse model drives the same motions while some joint states, drawn at random, never
come. Where data are given, also how well actions are told between what was seen of a motion.
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
from invdyn_ros.benchmarks.closed_loop import HELD_OUT, interval
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios, settings_of
from invdyn_ros.config import FractionBelowOne, Validated
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.safety_limits import Plan, State
from invdyn_ros.control.state_predictor import (
    LearnedStatePredictor,
    StatePredictor,
    StatePredictorConfig,
)
from invdyn_ros.evaluation.closed_loop import (
    ClosedLoopRun,
    LossyChannel,
    ZeroOrderHold,
    excitation_motion,
    replay,
)
from invdyn_ros.models import InverseDynamics
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.runtime import Runtime, fastest_runtime
from invdyn_ros.models.timeseries.encoder_model import Fractions
from invdyn_ros.models.timeseries.registry import load_time_series_model, untrained_copy
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesModel
from invdyn_ros.robots.robot import Robot, load_robot, package_file

BASELINE = "last joint state"
DropRates = Annotated[tuple[FractionBelowOne, ...], Field(min_length=1)]


@dataclass(frozen=True)
class JointStateDropoutBenchmarkConfig(Validated):
    """Joint tracking while joint states are lost, and actions between those that are seen."""

    models: tuple[Path, ...] = ()
    """Folders of path models of the arm."""
    arm: str = "ur5"
    """Name of the arm."""
    checkpoint: Path | None = None
    """Folder of its inverse model; default: the one shipped."""
    drop_rates: DropRates = (0.0, 0.25, 0.5, 0.75)
    """Shares of the joint states that are lost."""
    motions: PositiveInt = 6
    """Motions to drive, each with losses of its own."""
    seconds: Annotated[float, Field(ge=1)] = 10.0
    """Length of each [s]."""
    prediction: StatePredictorConfig = field(default_factory=StatePredictorConfig)
    """How long the arm is driven unseen."""
    data: Path | None = None
    """Dataset of the arm, of which no path model learned the last fifth; none: no actions."""
    observed_fractions: Fractions = (0.5, 0.2, 0.1, 0.05)
    """Shares of its samples that are seen."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    report: Path | None = None
    """JSON file to write."""


class NoPrediction(ZeroOrderHold):
    """Nobody asks in between: the last command stays."""

    def predict(self, time: float, plan: Plan | None) -> MeasuredState | None:
        """Return that nobody knows."""
        return None


class ConstantVelocity(ZeroOrderHold):
    """The arm moves on as it was seen to move."""

    def predict(self, time: float, plan: Plan | None) -> MeasuredState | None:
        """Return the state after steady motion."""
        then, q, qd = self.measured
        return MeasuredState(time, q + (time - then) * qd, qd)


class TimedPredictor(NamedTuple):
    """Takes the time of each answer."""

    predictor: StatePredictor
    durations: list[float]  # [ms]

    def update(self, measured: MeasuredState, desired: State | None) -> None:
        """Take a joint state."""
        self.predictor.update(measured, desired)

    def predict(self, time_: float, plan: Plan | None) -> MeasuredState | None:
        """Return where the arm is."""
        begun = time.perf_counter()
        found = self.predictor.predict(time_, plan)
        self.durations.append(1e3 * (time.perf_counter() - begun))
        return found


def measure_joint_state_dropout(config: JointStateDropoutBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: an unknown arm, or models of another one.
    """
    about, robot = machine_info(config.threads), load_robot(config.arm)
    torch.set_num_threads(config.threads)
    folder = config.checkpoint or package_file(f"config/checkpoints/{robot.name}")
    inverse = load(folder, "cpu", robot)
    paths = _load_models(config.models)
    sights: dict[str, Callable[[], StatePredictor]] = {
        "last command": NoPrediction,
        BASELINE: ZeroOrderHold,
    }
    sights["steady velocity"] = ConstantVelocity
    for name, model in paths.items():
        LearnedStatePredictor(model, robot)  # refuse it before anything is driven
        sights[name] = lambda model=model: LearnedStatePredictor(model, robot, config.prediction)  # type: ignore[misc]
    told = {}
    if config.data is not None:
        told = action_errors(config.data, inverse, paths, config.observed_fractions)
    rows, details = _measure_tracking(config, robot, inverse, sights)
    for name, row in told.items():
        rows[name] = rows.get(name, {}) | row
    columns = [_percent(drop) for drop in config.drop_rates]
    return benchmark_report(
        "joint_state_dropout",
        unit="mrad RMS tracking error by share lost; ms per answer; nMSE in % by share seen",
        machine=about,
        settings=settings_of(config),
        rows=rows,
        ratio={name: ratios(rows[name], rows[BASELINE], columns) for name in paths},
        details=details,
    )


def _percent(drop: float) -> str:
    return f"{drop:.0%}"


def _load_models(folders: Sequence[Path]) -> dict[str, TimeSeriesModel]:
    """Return path models by name, trained and, where that says anything, not."""
    found: dict[str, TimeSeriesModel] = {}
    for folder in folders:
        model = load_time_series_model(folder)
        name = model.meta.family
        if name == "bridge":
            found[f"{name}, untrained"] = untrained_copy(model)
        found[name if name not in found else str(folder)] = model
    return found


def _measure_tracking(
    config: JointStateDropoutBenchmarkConfig,
    robot: Robot,
    inverse: InverseDynamics,
    sights: dict[str, Callable[[], StatePredictor]],
) -> tuple[dict[str, Row], dict[str, Any]]:
    """Return a row for each way to say what does not come, and the 95% intervals of each."""
    rows: dict[str, Row] = {}
    details: dict[str, Any] = {}
    runtime, total = (
        fastest_runtime(inverse),
        len(sights) * len(config.drop_rates) * config.motions,
    )
    bar = tqdm(total=total, unit="run", desc="driving", file=sys.stderr)
    with bar:
        for name, make in sights.items():
            taken: list[float] = []
            for drop in config.drop_rates:
                squares = []
                for seed in range(config.motions):
                    sight = TimedPredictor(make(), taken)
                    run = drive(robot, inverse, runtime, sight, drop, seed, config.seconds)
                    squares.append(run.rms**2)
                    bar.update()
                rms = float(np.sqrt(np.mean(squares)))
                rows.setdefault(name, {})[_percent(drop)] = round(1e3 * rms, 4)
                ends = [round(1e3 * x, 4) for x in interval(squares)]
                details.setdefault(name, {})[_percent(drop)] = ends
            if taken:
                rows[name]["ms"] = round(float(np.median(taken)), 4)
    return rows, details


def drive(
    robot: Robot,
    inverse: InverseDynamics,
    runtime: Runtime,
    predictor: StatePredictor,
    drop_rate: float,
    seed: int,
    seconds: float,
) -> ClosedLoopRun:
    """Drive one motion while a share of the joint states is lost, the same ones for everybody."""
    wanted, meta = excitation_motion(robot, (HELD_OUT, seed), seconds), inverse.meta
    arrived = np.random.default_rng([HELD_OUT, seed]).random(len(wanted.time)) >= drop_rate
    arrived[0] = True  # the arm is engaged where it is seen to be
    link, fallback = LossyChannel(arrived, predictor), fallback_from_metadata(meta)
    return replay(
        robot,
        runtime,
        meta.action_unit,
        meta.action_delay,
        wanted,
        seed=seed,
        fallback=fallback,
        channel=link,
    )
