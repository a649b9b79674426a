"""Closed-loop tracking of learned models on an arm whose URDF is wrong.

The motions are excitations like those of the data, and of other kinds: from point to point, of
teleop and of a grasp. The simulated arm has friction, rotor inertia, delay and a payload that are
not in the URDF. Its dry friction rises towards standstill (Stribeck) and with the load, as in
geared arms. The wrong URDF also has the wrist inertias of a public one. All models drive the same
motions in computed torque with the same feedback gains, as in the live node.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveInt
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.closed_loop_models import (
    WITHOUT_DYNAMICS,
    WRONG_INERTIA,
    WRONG_URDF,
    ModelUnderTest,
    models_under_test,
    train_families,
    wrong_urdf,
)
from invdyn_ros.benchmarks.closed_loop_motions import KINDS, MotionKind
from invdyn_ros.benchmarks.report import Row, ratios
from invdyn_ros.control.computed_torque import FEEDBACK
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.closed_loop import ClosedLoopRun, replay
from invdyn_ros.evaluation.compare import family_configs
from invdyn_ros.evaluation.plots.closed_loop import plot_closed_loop
from invdyn_ros.models.drive_check import chosen_feedback
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.typing import Array

MOTION_SEED = 31_415  # first number of the motion seeds; the seed of a dataset is a single number
# changes of the plant: breakaway friction 40% above Coulomb's, and 5% of the load
GEAR_FRICTION = {"stribeck": 0.4, "stribeck_velocity": 0.1, "load_friction": 0.05}
BASE_FREQUENCY = 0.0667  # [Hz] one period per episode, which reaches more postures
RESAMPLES = 1000  # of the bootstrap


@dataclass(frozen=True)
class ClosedLoopBenchmarkConfig(BenchmarkOptions):
    """Joint tracking of every family on an arm whose URDF is wrong, beside that URDF."""

    out: Path = Path("out/closed_loop")
    """Folder for dataset, checkpoints FAMILY_0 (shared with 'invdyn compare --out') and plots.
    Matching data and checkpoints in it are reused."""
    data: Path | None = None
    """Dataset of this arm with this payload; default: collected into OUT/data."""
    families: tuple[str, ...] = ()
    """Families to compare; default: all."""
    configs: Path | None = None
    """Folder with a FAMILY.yaml of each; default: the configs of this package."""
    arm: str = "ur5"
    """Name of the arm, one of Universal Robots."""
    payload: float = 1.0
    """Mass at the tool that is not in the URDF [kg]."""
    minutes: float = 10.0
    """Duration of the collected data [min]."""
    kinds: tuple[MotionKind, ...] = tuple(KINDS)
    """Kinds of motion to drive."""
    motions: PositiveInt = 6
    """Number of test motions of each kind, which are not in the data."""
    seconds: Annotated[float, Field(ge=1)] = 15.0
    """Duration of each motion [s]; a grasp may end before."""

    def outputs(self) -> Iterator[tuple[str, Path]]:
        """Yield the report; the folder is reused."""
        return (output for output in super().outputs() if output[0] == "--report")


def measure_closed_loop(config: ClosedLoopBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and write a plot of each form.

    Raises:
        ValueError: an arm without the links of the wrong URDF, or not driven by torque.
    """
    robot = load_robot(config.arm)
    unit = "mrad; jerk in effort limits per s; fallback in % of commands"
    measured = config.begin("closed_loop", unit)
    if robot.action_unit != "N m":
        raise ValueError(
            f"'{config.arm}' is driven by setpoints; give an arm driven by torques [N m]"
        )
    wrong = wrong_urdf(robot.rigid_body_urdf())
    plant = load_plant(robot.name, payload=config.payload, **GEAR_FRICTION)
    data = config.data or collect_data(config, robot, plant)
    configs = family_configs(config.families, config.configs)
    tested_models = models_under_test(
        robot, wrong, train_families(robot, data, config.out, configs)
    )
    rows = measured.rows
    runs_of = _drive_all(tested_models, robot, plant, config, rows)
    ratio = {
        name: ratios(row, rows[WRONG_URDF], (*config.kinds, "jerk"))
        for name, row in rows.items()
        if name not in (WRONG_URDF, *WITHOUT_DYNAMICS)
    }
    first = {name: runs[config.kinds[-1]][0] for name, runs in runs_of.items()}
    plot_closed_loop(first, robot, config.out / "closed_loop.png")
    return measured.report(_settings(config, plant, data, tested_models), ratio)


def _settings(
    config: ClosedLoopBenchmarkConfig,
    plant: PlantConfig,
    data: Path,
    tested_models: Sequence[ModelUnderTest],
) -> dict[str, Any]:
    """Return the settings of the report."""
    return {
        "arm": config.arm,
        "data": str(data),
        "payload_kg": config.payload,
        "plant": vars(plant),
        "feedback": vars(FEEDBACK["N m"]),
        "wrong_inertia": WRONG_INERTIA,
        "action_delay_ms": {m.name: 1e3 * m.action_delay for m in tested_models},
        "motions": config.motions,
        "seconds": config.seconds,
    }


def _drive_all(
    tested_models: Sequence[ModelUnderTest],
    robot: Robot,
    plant: PlantConfig,
    config: ClosedLoopBenchmarkConfig,
    rows: dict[str, Row],
) -> dict[str, dict[str, list[ClosedLoopRun]]]:
    """Return the runs of each model and kind of motion, and add a row for each model."""
    seeds = [(MOTION_SEED, k) for k in range(config.motions)]
    total = (len(tested_models) + 1) * len(config.kinds) * config.motions
    with tqdm(total=total, unit="run", desc="driving", file=sys.stderr) as bar:
        motions: dict[str, list[JointSamples]] = {kind: [] for kind in config.kinds}
        for kind in config.kinds:
            for seed in seeds:
                motions[kind].append(KINDS[kind](robot, seed, config.seconds))
                bar.update()
        runs_of = {}
        for tested in tested_models:
            runs_of[tested.name] = {
                kind: drive(tested, desired, robot, plant, bar.update)
                for kind, desired in motions.items()
            }
            rows[tested.name] = _row(runs_of[tested.name], robot)
    return runs_of


def collect_data(config: ClosedLoopBenchmarkConfig, robot: Robot, plant: PlantConfig) -> Path:
    """Collect data of the simulated arm, unless they exist, and return their folder.

    Args:
        config: output folder and duration.
        robot: the arm.
        plant: the simulated arm.
    """
    folder, info_file = config.out / "data", config.out / "data.json"
    excitation = ExcitationConfig(minutes=config.minutes, base_frequency=BASE_FREQUENCY)
    text = json.dumps({"arm": robot.name, "plant": vars(plant), "motion": vars(excitation)})
    if folder.is_dir() and info_file.is_file() and info_file.read_text(encoding="utf-8") == text:
        return folder
    config.out.mkdir(parents=True, exist_ok=True)
    count = max(1, round(60 * excitation.minutes / excitation.episode_seconds))
    episodes = simulate(robot, excitation, plant)
    trajectories = list(
        tqdm(episodes, total=count, unit="episode", desc="collecting", file=sys.stderr)
    )
    write_dataset(folder, trajectories, robot.name, trajectories[0].rate)
    write_atomically(info_file, text.encode())
    return folder


def drive(
    tested: ModelUnderTest,
    motions: Sequence[JointSamples],
    robot: Robot,
    plant: PlantConfig,
    on_run: Callable[[], object] = lambda: None,
) -> list[ClosedLoopRun]:
    """Drive the arm along some motions.

    Args:
        tested: the model.
        motions: to follow.
        robot: the arm.
        plant: the simulated arm.
        on_run: called after each motion.
    """
    runs, fallback, feedback = [], None, None
    meta = getattr(tested.model, "meta", None)  # that of a trained model
    if meta is not None:
        fallback = fallback_from_metadata(meta)
        feedback = chosen_feedback("N m", meta.data)
    for seed, desired in enumerate(motions):
        run = replay(
            *(robot, tested.model, "N m", tested.action_delay, desired, plant, seed),
            fallback=fallback,
            feedback=feedback,
        )
        runs.append(run)
        on_run()
    return runs


def jerk(run: ClosedLoopRun, robot: Robot) -> Array:
    """Return the rate of the command (T - 1, n) in effort limits per second [1/s].

    Torque is proportional to acceleration, so that this is a measure of the commanded jerk.
    """
    rates: Array = np.diff(run.action, axis=0) * robot.rate / robot.effort
    return rates


def rms_interval(squares: Sequence[float]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the RMS, from the mean square of each run."""
    values = np.asarray(squares)
    picks = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.sqrt(values[picks].mean(1)), [2.5, 97.5])
    return float(low), float(high)


def _row(runs_of: Mapping[str, Sequence[ClosedLoopRun]], robot: Robot) -> Row:
    """Return the RMS errors [mrad]; of the first kind their interval, jerk and fallback, too.

    Args:
        runs_of: of each kind of motion.
        robot: the arm.
    """
    squares = {kind: [run.rms**2 for run in runs] for kind, runs in runs_of.items()}
    values = {kind: 1e3 * np.sqrt(np.mean(part)) for kind, part in squares.items()}
    first = next(iter(runs_of))
    low, high = rms_interval(squares[first])
    rates = np.concatenate([jerk(run, robot) for run in runs_of[first]])
    values |= {
        "low": 1e3 * low,
        "high": 1e3 * high,
        "jerk": np.sqrt(np.mean(np.square(rates))),
        "fallback": 100 * np.mean([run.used_fallback.mean() for run in runs_of[first]]),
    }
    return {name: round(float(value), 4) for name, value in values.items()}
