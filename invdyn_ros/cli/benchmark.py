"""`invdyn benchmark`: a name enters, measured figures beside those of a peer leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from invdyn_ros.benchmarks.closed_loop import ClosedLoopConfig, measure_closed_loop
from invdyn_ros.benchmarks.latency import LatencyConfig, measure_latency
from invdyn_ros.benchmarks.model import ModelConfig, measure_model
from invdyn_ros.benchmarks.report import table
from invdyn_ros.benchmarks.simulation import SimulationConfig, measure_simulation
from invdyn_ros.benchmarks.training import TrainingConfig, measure_training
from invdyn_ros.cli.options import parse
from invdyn_ros.models.checkpoint import write_whole

Config = ClosedLoopConfig | LatencyConfig | ModelConfig | SimulationConfig | TrainingConfig

BENCHMARKS: dict[type, Callable[..., dict[str, Any]]] = {
    ClosedLoopConfig: measure_closed_loop,
    LatencyConfig: measure_latency,
    ModelConfig: measure_model,
    SimulationConfig: measure_simulation,
    TrainingConfig: measure_training,
}


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    names = Annotated[
        Annotated[ClosedLoopConfig, tyro.conf.subcommand("closed_loop")]
        | Annotated[LatencyConfig, tyro.conf.subcommand("latency")]
        | Annotated[ModelConfig, tyro.conf.subcommand("model")]
        | Annotated[SimulationConfig, tyro.conf.subcommand("simulation")]
        | Annotated[TrainingConfig, tyro.conf.subcommand("training")],
        tyro.conf.OmitArgPrefixes,
    ]
    options: Config = parse(names, argv, "benchmark")
    if options.report is not None:
        check_report(options.report)
    report = BENCHMARKS[type(options)](options)
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
