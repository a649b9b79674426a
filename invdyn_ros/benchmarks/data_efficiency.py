"""Error on held-out trajectories against the number of training samples.

All families are trained on the same samples, short clips from the training trajectories, and
evaluated on the same whole test trajectories.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions, Measurement
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import Dataset, DatasetInfo, read_dataset, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import MODELS, build
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, load_robot, package_file
from invdyn_ros.sources.excitation.fourier_series import ExcitationConfig
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.training.action_delay import estimate_action_delay
from invdyn_ros.training.data_preparation import (
    SplitConfig,
    check_joints,
    split_train_val_test,
    with_acceleration,
)
from invdyn_ros.training.run_config import TrainConfig, parse_train_config
from invdyn_ros.training.train import train

MAX_CLIPS = 50  # into which the samples are divided
CONFIGS = "config/train"


@dataclass(frozen=True)
class DataEfficiencyBenchmarkConfig(BenchmarkOptions):
    """Error on held-out trajectories against the number of training samples."""

    arm: str = "kuka_iiwa"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    data: Path | None = None
    """Dataset folder; default: the arm is simulated."""
    families: tuple[str, ...] = ("rigid_body", "hybrid", "mlp")
    """Families to compare."""
    sizes: tuple[int, ...] = (50, 200, 1000, 5000)
    """Numbers of samples, of the training and validation splits together."""
    seeds: int = 3
    """Number of random draws of the samples; the interval is their range."""
    minutes: float = 5.0
    """Duration of the simulation [min]."""
    coulomb: float | None = None
    """Coulomb friction of the simulated arm, relative to the effort limit; default: as in the
    registry."""
    epochs: int | None = None
    """Maximum number of epochs; default: as in the config files."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for family in self.families:
            if family not in MODELS:
                raise ValueError(f"no model family {family!r}; known are {', '.join(MODELS)}")
        if not self.families or not self.sizes or min(self.sizes) < 10 or self.seeds < 1:
            raise ValueError(
                f"{len(self.families)} families, sizes {self.sizes}, {self.seeds} seeds; "
                "give at least one family, 10 samples and one seed"
            )


def measure_data_efficiency(config: DataEfficiencyBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and write the plot if there is a report file.

    Raises:
        ValueError: invalid data, or too few samples.
    """
    robot = load_robot(config.arm)
    measured = config.begin(
        "data_efficiency", "% nMSE against samples; moving: without joints that may stick"
    )
    dataset = _dataset(config, robot)
    outer, inner = split_train_val_test(
        with_acceleration(dataset.trajectories), SplitConfig(TrainConfig.test_fraction, 0)
    )
    action_delay = estimate_action_delay(_meta(robot, dataset.info, "rigid_body"), inner)
    errors: dict[str, dict[str, list[Any]]] = {}
    measured.so_far = lambda: _report(config, measured, action_delay, errors)
    runs = list(product(config.families, config.sizes, range(config.seeds)))
    for family, size, seed in tqdm(runs, unit="model", desc="training", file=sys.stderr):
        meta = replace(_meta(robot, dataset.info, family), action_delay=action_delay)
        row = _train_and_evaluate(config, meta, robot, outer.train, outer.test, size, seed)
        errors.setdefault(family, {}).setdefault(str(size), []).append(row)
    report = measured.so_far()
    if config.report is not None:
        plot_data_efficiency(config.report.with_suffix(".png"), report)
    return report


def clips(
    trajectories: Sequence[Trajectory], count: int, length: int, random: np.random.Generator
) -> list[Trajectory]:
    """Draw clips without common samples, and return them in order.

    Args:
        trajectories: to draw from.
        count: number of clips.
        length: samples per clip.
        random: random generator.

    Raises:
        ValueError: the trajectories are too short.
    """
    slots = [(i, k) for i, t in enumerate(trajectories) for k in range(len(t) // length)]
    if count > len(slots):
        raise ValueError(
            f"{count} clips of {length} samples are needed, the data have {len(slots)}; "
            "give smaller sizes or more minutes"
        )
    chosen = np.sort(random.choice(len(slots), count, replace=False))
    return [
        trajectories[i][slice(k * length, (k + 1) * length)] for i, k in (slots[c] for c in chosen)
    ]


def plot_data_efficiency(path: Path, report: dict[str, Any]) -> None:
    """Plot the error against the number of samples, with the range over the draws."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for k, (family, curve) in enumerate(report["curves"].items()):
        sizes = [int(size) for size in curve]
        for measure, style in (("nmse", "-"), ("moving", "--")):
            mean, low, high = (
                [row[measure][key] for row in curve.values()] for key in ("mean", "low", "high")
            )
            label = family if measure == "nmse" else None
            axis.plot(sizes, mean, style, marker="o", markersize=4, color=f"C{k}", label=label)
            axis.fill_between(sizes, low, high, color=f"C{k}", alpha=0.2, linewidth=0)
    axis.set(xscale="log", yscale="log", xlabel="samples", ylabel="nMSE on held-out motion [%]")
    axis.set_title(f"{report['settings']['arm']}: error against data size")
    axis.grid(alpha=0.3, which="both")
    axis.plot([], [], "--", color="grey", label="moving joints")
    figure.legend(loc="outside right upper", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _dataset(config: DataEfficiencyBenchmarkConfig, robot: Robot) -> Dataset:
    if config.data is not None:
        dataset = read_dataset(config.data)
        check_joints(dataset, robot, config.data)
        return dataset
    changes = {} if config.coulomb is None else {"coulomb": config.coulomb}
    plant = load_plant(robot.name, **changes)
    parts = list(simulate(robot, ExcitationConfig(minutes=config.minutes), plant))
    unit = parts[0].action_unit
    return Dataset(parts, DatasetInfo(robot.name, robot.joint_names, unit, robot.rate))


def _meta(robot: Robot, info: DatasetInfo, family: str) -> ModelMetadata:
    unit, names = info.action_unit, info.joint_names
    return ModelMetadata(family, robot.name, names, unit, info.rate, 0.0, robot.rigid_body_urdf())


def _train_and_evaluate(
    config: DataEfficiencyBenchmarkConfig,
    meta: ModelMetadata,
    robot: Robot,
    train_set: Sequence[Trajectory],
    test_set: Sequence[Trajectory],
    size: int,
    seed: int,
) -> Row:
    """Train on `size` samples as `invdyn train` does, and return the errors [%].

    Args:
        config: of the benchmark.
        meta: family and arm of the model.
        robot: the arm.
        train_set: trajectories from which the samples are drawn.
        test_set: trajectories to evaluate on.
        size: number of samples.
        seed: of the draw and of the training.
    """
    values = load_yaml(package_file(CONFIGS) / f"{meta.family}.yaml") | {
        "seed": seed,
        "action_delay": meta.action_delay,
    }
    if config.epochs is not None and "epochs" in values:
        values["epochs"] = config.epochs
    train_config = parse_train_config(values, meta.family)
    count = min(size, MAX_CLIPS)
    # frames before the predicted one, and frames at the end that the action delay removes
    context = build(replace(meta, config=train_config.model)).n_obs_steps - 1
    context += int(np.ceil(abs(meta.action_delay) * meta.rate - 1e-6))
    # training sets a test split aside, so that more clips are drawn
    num_clips = int(np.ceil(count / (1 - train_config.test_fraction)))
    drawn_clips = clips(train_set, num_clips, size // count + context, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "data", drawn_clips, meta.robot, meta.rate)
        model = train(train_config, Path(folder) / "data", Path(folder) / "model", robot=robot)
    report = evaluate(model, test_set)
    return {"nmse": 100 * report["nmse"]["mean"], "moving": 100 * report["moving"]["nmse"]["mean"]}


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": float(np.mean(values)),
        "low": min(values),
        "high": max(values),
        "draws": list(values),
    }


def _report(
    config: DataEfficiencyBenchmarkConfig,
    measured: Measurement,
    action_delay: float,
    errors: Mapping[str, Mapping[str, Sequence[Any]]],
) -> dict[str, Any]:
    curves = _curves(errors)
    measured.rows |= _rows(curves)
    return measured.report(_settings(config, action_delay), curves=curves)


def _curves(errors: Mapping[str, Mapping[str, Sequence[Any]]]) -> dict[str, Any]:
    """Return family -> number of samples -> error -> its mean and range over the draws."""
    return {
        family: {
            size: {name: _summary([row[name] for row in rows]) for name in rows[0]}
            for size, rows in sizes.items()
        }
        for family, sizes in errors.items()
    }


def _rows(curves: dict[str, dict[str, Any]]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for family, curve in curves.items():
        rows[family] = {size: row["nmse"]["mean"] for size, row in curve.items()}
        rows[f"{family}, moving"] = {size: row["moving"]["mean"] for size, row in curve.items()}
    return rows


def _settings(config: DataEfficiencyBenchmarkConfig, action_delay: float) -> dict[str, Any]:
    return {
        "arm": config.arm,
        "data": None if config.data is None else str(config.data),
        "families": list(config.families),
        "sizes": list(config.sizes),
        "seeds": config.seeds,
        "coulomb": config.coulomb,
        "minutes": config.minutes,
        "action_delay": action_delay,
    }
