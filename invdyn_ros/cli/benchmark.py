"""`invdyn benchmark NAME`: run one benchmark, print its table and write its report."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import format_table
from invdyn_ros.cli.options import first_word, parse
from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.evaluation.headlines import headline, headline_text
from invdyn_ros.evaluation.pages.report_page import attempt_page, write_report_page
from invdyn_ros.evaluation.pages.sections import report_sections
from invdyn_ros.evaluation.run_info import command_line, run_info

BENCHMARKS = {
    "block_detection": "error of block poses from rendered images, compared with OpenCV",
    "closed_loop": "joint tracking of every model family on an arm whose URDF is wrong",
    "csv": "seconds and memory to read a large CSV file, compared with pyarrow",
    "data_efficiency": "error on held-out trajectories against the number of samples",
    "dynamics": "rigid-body inverse dynamics per second, compared with MuJoCo and PyBullet",
    "environment": "grasp environment steps per second, compared with panda-gym",
    "excitation": "from nothing to an identified and exported arm, with contacts and violations",
    "files": "how damaged files of every kind are refused",
    "grasp_success": "success rate of grasp policies, compared with the scripted one",
    "grasp_tasks": "success rate of tasks with several blocks, and of disturbed grasps",
    "hand_eye": "error of hand-eye calibration, compared with OpenCV",
    "identification": "bounds, error and recovery of the identified parameters of an arm",
    "joint_state_dropout": "joint tracking while joint states are lost",
    "latency": "latency from joint state to command through DDS, compared with an echo node",
    "latent_ode_training_speed": "seconds per training step of a latent ODE and of torchdiffeq",
    "learning_curves": "success rate and reward against training steps of grasp policies",
    "live_window": "time from image to command with and without an open live window",
    "lottery_ticket": "error and latency of pruned networks trained from their first weights",
    "model": "latency of one prediction: in the node, exported and in eager PyTorch",
    "model_drift": "false alarms of the drift monitor, and its time to name load and friction",
    "multimodal": "whether a family predicts both modes of data with two actions per motion",
    "network_page": "page and film of a large network: opening, scrubbing, frames per second",
    "persons": "violations, wrong persons and errors of arms that follow clips of many persons",
    "planning": "planner and inverse model on a pendulum whose mass changes",
    "safety": "whether any input moves an arm where it must not go: fuzz, faults, delays, persons",
    "sequence_length": "seconds and memory of time-series models against sequence length",
    "simulation": "physics steps and images per second, compared with raw PyBullet",
    "startup": "time from launch to the first command, and memory of each process",
    "sysid": "identification of one recording, compared with mujoco.sysid",
    "teleop_grasp": "blocks that a scripted person grasps and places by teleoperation",
    "teleop_lag": "lag, overshoot and jitter of an arm behind a person's hand",
    "time_series": "error of time-series models in interpolation and extrapolation",
    "training": "training speed, compared with a plain DataLoader loop",
}
"""Name -> summary. Benchmark NAME is `measure_NAME(config)` in `invdyn_ros.benchmarks.NAME`."""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return the exit code.

    Raises:
        ValueError: an unknown benchmark, or a wrong option.
    """
    name, words = first_word(argv, "benchmark", "benchmark", BENCHMARKS)
    measure = load_benchmark(name)
    config = get_type_hints(measure)["config"]
    options: BenchmarkOptions = parse(
        config, words, f"benchmark {name}", config=(tyro.conf.OmitArgPrefixes,)
    )
    command = command_line("benchmark", [name, *words])
    interruption = None
    try:
        report = measure(options)
    except KeyboardInterrupt as error:
        interruption, finished = error, options.interrupted_report()
        if finished is None:
            raise
        report = finished
    report |= {"run": run_info(f"benchmark {name}", command, interruption is not None)}
    if (file := options.report) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, report)
    print(format_table(report))
    print(headline_text(headline(f"benchmark {name}", report)))
    if file is not None:
        attempt_page(file, lambda: _write_page(file, report))
    if interruption is not None:
        raise interruption
    return 0


def _write_page(file: Path, report: dict[str, Any]) -> Path:
    """Write the page beside the report, with the plots that the benchmark wrote."""
    kind = report["run"]["kind"]
    plots = [file.with_suffix(".png"), file.with_name(f"{file.stem}_gaps.png")]
    return write_report_page(file, kind, report, report_sections(kind, report), plots)


def load_benchmark(name: str) -> Callable[[Any], dict[str, Any]]:
    """Import the function that runs a benchmark, and nothing of the other benchmarks."""
    module = importlib.import_module(f"invdyn_ros.benchmarks.{name}")
    measure: Callable[[Any], dict[str, Any]] = getattr(module, f"measure_{name}")
    return measure
