"""`invdyn benchmark`: a name enters, measured figures beside those of a peer leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from invdyn_ros.benchmarks.block_detection import BlockPosesConfig, measure_blocks
from invdyn_ros.benchmarks.closed_loop import ClosedLoopConfig, measure_closed_loop
from invdyn_ros.benchmarks.data_efficiency import (
    DataEfficiencyConfig,
    measure_data_efficiency,
)
from invdyn_ros.benchmarks.dynamics import DynamicsConfig, measure_dynamics
from invdyn_ros.benchmarks.environment import EnvironmentConfig, measure_environment
from invdyn_ros.benchmarks.grasp_success import GraspConfig, measure_grasp
from invdyn_ros.benchmarks.hand_eye import HandeyeConfig, measure_handeye
from invdyn_ros.benchmarks.joint_state_dropout import GapsConfig, measure_gaps
from invdyn_ros.benchmarks.latency import LatencyConfig, measure_latency
from invdyn_ros.benchmarks.latent_ode_training_speed import (
    LatentOdeTrainingConfig,
    measure_latent_ode_training,
)
from invdyn_ros.benchmarks.learning_curves import LearningCurvesConfig, measure_learning_curves
from invdyn_ros.benchmarks.model import ModelConfig, measure_model
from invdyn_ros.benchmarks.multimodal import MultimodalConfig, measure_multimodal
from invdyn_ros.benchmarks.planning import PlansConfig, measure_plans
from invdyn_ros.benchmarks.report import table
from invdyn_ros.benchmarks.sequence_length import PathLengthsConfig, measure_path_lengths
from invdyn_ros.benchmarks.simulation import SimulationConfig, measure_simulation
from invdyn_ros.benchmarks.time_series import PathsConfig, measure_paths
from invdyn_ros.benchmarks.training import TrainingConfig, measure_training
from invdyn_ros.cli.options import parse
from invdyn_ros.models.checkpoint import write_whole

BENCHMARKS: dict[str, tuple[type, Callable[..., dict[str, Any]]]] = {
    "blocks": (BlockPosesConfig, measure_blocks),
    "closed_loop": (ClosedLoopConfig, measure_closed_loop),
    "data_efficiency": (DataEfficiencyConfig, measure_data_efficiency),
    "dynamics": (DynamicsConfig, measure_dynamics),
    "environment": (EnvironmentConfig, measure_environment),
    "gaps": (GapsConfig, measure_gaps),
    "grasp": (GraspConfig, measure_grasp),
    "handeye": (HandeyeConfig, measure_handeye),
    "latency": (LatencyConfig, measure_latency),
    "latent_ode": (PathsConfig, measure_paths),
    "latent_ode_training": (LatentOdeTrainingConfig, measure_latent_ode_training),
    "learning_curves": (LearningCurvesConfig, measure_learning_curves),
    "model": (ModelConfig, measure_model),
    "multimodal": (MultimodalConfig, measure_multimodal),
    "path_lengths": (PathLengthsConfig, measure_path_lengths),
    "plans": (PlansConfig, measure_plans),
    "simulation": (SimulationConfig, measure_simulation),
    "training": (TrainingConfig, measure_training),
}


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    configs = tuple(
        Annotated[config, tyro.conf.subcommand(name)] for name, (config, _) in BENCHMARKS.items()
    )
    names: Any = Annotated[Union[configs], tyro.conf.OmitArgPrefixes]  # noqa: UP007 (made here)
    options = parse(names, argv, "benchmark")
    if options.report is not None:
        check_report(options.report)
    measure = dict(BENCHMARKS.values())[type(options)]
    report = measure(options)
    print(table(report))
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.report, (json.dumps(report, indent=2) + "\n").encode())
    return 0


def check_report(path: Path) -> None:
    """Refuse a report file that cannot be written, before anything is measured.

    Raises:
        ValueError: not a .json file.
    """
    if path.suffix != ".json" or path.is_dir():
        raise ValueError(f"--report {path} is not a .json file")
