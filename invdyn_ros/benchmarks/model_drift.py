"""Benchmark of the drift monitor: false alarms, and the time until a change is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.drift_monitor import LOAD, DriftMonitor
from invdyn_ros.data.recording import JointSamples
from invdyn_ros.evaluation.closed_loop import excitation_motion, point_to_point_motion, replay
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.residual_metadata import ResidualStatistics
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, load_robot, package_file
from invdyn_ros.typing import Array

CHANGED_SECONDS = 20.0  # [s] of motion in which a change should be named
MOTIONS: tuple[Callable[[Robot, int, float], JointSamples], ...] = (
    point_to_point_motion,
    excitation_motion,
)


@dataclass(frozen=True)
class ModelDriftBenchmarkConfig(BenchmarkOptions):
    """False alarms of the drift monitor, and its time to name a load and worn joints."""

    arms: Annotated[tuple[str, ...], Field(min_length=1)] = ("ur5", "ur5e", "kuka_iiwa")
    """Arms of torques, with the shipped models."""
    seconds: PositiveFloat = 300.0
    """Duration of an ordinary run [s]."""
    seeds: PositiveInt = 2
    """Runs of each kind and motion."""
    load: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Mass at the tool that the model does not know [kg]."""
    friction: Annotated[float, Field(gt=1, le=10)] = 2.0
    """Factor of the dry friction of all joints [-]."""


class TimedMonitor(DriftMonitor):
    """A drift monitor that notes when it named what first.

    Attributes:
        first: name -> time [s].
        largest: (1 + n,) largest estimates of load [kg] and friction [N m].
    """

    def __init__(self, robot: Robot, model: Runtime, statistics: ResidualStatistics) -> None:
        self.first: dict[str, float] = {}
        self.largest = np.zeros(robot.n + 1)
        super().__init__(robot, model, statistics)

    def add(self, state: MeasuredState, torque: Array) -> None:
        """Add a joint state and its torque (n,) [N m], as the drift monitor does."""
        super().add(state, torque)
        np.maximum(self.largest, np.abs(self.estimate), out=self.largest)
        for drift in self.drifts:
            self.first.setdefault(drift.name, state.time)


def measure_model_drift(config: ModelDriftBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: an unknown arm, or a model without statistics of its residuals.
    """
    measured = config.begin("model_drift", "")
    for arm in tqdm(config.arms, file=sys.stderr):
        measured.rows[arm] = _arm_row(load_robot(arm), config)
    return measured.report()


def _arm_row(robot: Robot, config: ModelDriftBenchmarkConfig) -> Row:
    """Return the figures of an arm."""
    path = package_file(f"config/checkpoints/{robot.name}")
    model = load_runtime(path, "cpu", robot)
    statistics = ResidualStatistics.from_metadata(model.meta)
    if statistics is None:
        raise ValueError(f"{path} has no statistics of residuals; train it again")
    nominal = load_plant(robot.name)
    loaded = replace(nominal, payload=nominal.payload + config.load)
    worn = replace(nominal, coulomb=config.friction * nominal.coulomb)

    def monitors(plant: PlantConfig, seconds: float) -> list[TimedMonitor]:
        runs = []
        for seed in range(config.seeds):
            for draw in MOTIONS:
                monitor = TimedMonitor(robot, model, statistics)
                desired = draw(robot, seed, seconds)
                replay(
                    robot, model, "N m", model.meta.action_delay, desired, plant, seed,
                    drift=monitor,
                )  # fmt: skip
                runs.append(monitor)
        return runs

    ordinary = monitors(nominal, config.seconds)
    largest = np.max([monitor.largest for monitor in ordinary], axis=0)
    load_times = [run.first.get(LOAD, np.inf) for run in monitors(loaded, CHANGED_SECONDS)]
    joints = [f"friction of {name}" for name in robot.joint_names]
    friction_times = [
        run.first.get(name, np.inf) for run in monitors(worn, CHANGED_SECONDS) for name in joints
    ]
    return {
        "minutes": len(ordinary) * config.seconds / 60,
        "false alarms": float(sum(bool(run.first) for run in ordinary)),
        "largest load": float(largest[0]),
        "largest friction": 100 * float(np.max(largest[1:] / robot.effort)),
        **_times("load", load_times),
        **_times("friction", friction_times),
    }


def _times(name: str, times: list[float]) -> Row:
    """Return median and largest time [s] of those that came, and how many did not."""
    came = [time for time in times if np.isfinite(time)]
    return {
        f"{name} median s": float(np.median(came)) if came else float("nan"),
        f"{name} worst s": float(np.max(came)) if came else float("nan"),
        f"{name} not named": float(len(times) - len(came)),
    }
