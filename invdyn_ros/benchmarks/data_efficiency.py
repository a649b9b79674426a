"""Error against data size: an arm and some families enter, one table and one picture leave.

Every family learns from the same samples, short clips spread over the training trajectories, and
is judged on the same whole trajectories, which it has not seen.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info
from invdyn_ros.config import load_yaml
from invdyn_ros.data.dataset import Dataset, DatasetInfo, read_dataset, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.evaluate import evaluate
from invdyn_ros.models import MODELS, ModelMetadata, build
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, load_robot, package_file
from invdyn_ros.sources.excitation import ExcitationConfig
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.training.action_delay import estimate_action_delay
from invdyn_ros.training.train import (
    TrainConfig,
    check_joints,
    parse_config,
    split_train_val_test,
    train,
    with_acceleration,
)

CLIPS = 50  # samples come in as many clips, or in one clip each where there are fewer
CONFIGS = "config/train"


@dataclass(frozen=True)
class DataEfficiencyBenchmarkConfig:
    """Error on unseen trajectories against the number of samples learned from."""

    arm: str = "kuka_iiwa"
    """Name of the arm."""
    data: Path | None = None
    """Dataset folder; default: the arm is simulated for it."""
    families: tuple[str, ...] = ("rigid_body", "hybrid", "mlp")
    """Families to compare, each with its config file."""
    sizes: tuple[int, ...] = (50, 200, 1000, 5000)
    """Numbers of samples, training and validation together."""
    seeds: int = 3
    """Draws of the samples; the interval spans them."""
    minutes: float = 5.0
    """Length of the simulation [min]."""
    coulomb: float | None = None
    """Dry friction of the simulated arm, a share of the effort limit; the plant's by default."""
    epochs: int | None = None
    """Passes of gradient descent, at most; default: as in the config files."""
    report: Path | None = None
    """JSON file to write; the picture lies beside it, as .png."""

    def __post_init__(self) -> None:
        for family in self.families:
            if family not in MODELS:
                raise ValueError(f"no model family {family!r}; known are {', '.join(MODELS)}")
        if not self.families or not self.sizes or min(self.sizes) < 10 or self.seeds < 1:
            raise ValueError(
                f"{len(self.families)} families, sizes {self.sizes}, {self.seeds} seeds; "
                "right are at least one family, 10 samples and one seed"
            )


def measure_data_efficiency(config: DataEfficiencyBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and draw the picture where a report is wanted.

    Raises:
        ValueError: bad data, or fewer samples than wanted.
    """
    about, robot = machine_info(1), load_robot(config.arm)
    dataset = _dataset(config, robot)
    outer, inner = split_train_val_test(
        with_acceleration(dataset.trajectories), TrainConfig.test_fraction, 0
    )
    action_delay = estimate_action_delay(_meta(robot, dataset.info, "rigid_body"), inner)
    found: dict[str, dict[str, list[Any]]] = {}
    runs = list(product(config.families, config.sizes, range(config.seeds)))
    for family, size, seed in tqdm(runs, unit="model", desc="learning", file=sys.stderr):
        meta = replace(_meta(robot, dataset.info, family), action_delay=action_delay)
        row = _learn(config, meta, robot, outer.train, outer.test, size, seed)
        found.setdefault(family, {}).setdefault(str(size), []).append(row)
    curves = {
        family: {
            size: {name: _summary([row[name] for row in rows]) for name in rows[0]}
            for size, rows in sizes.items()
        }
        for family, sizes in found.items()
    }
    report = benchmark_report(
        "data_efficiency",
        unit="% nMSE against samples; moving: without joints that may stick",
        machine=about,
        settings=_settings(config, action_delay),
        rows=_rows(curves),
        curves=curves,
    )
    if config.report is not None:
        draw(config.report.with_suffix(".png"), report)
    return report


def clips(
    trajectories: Sequence[Trajectory], count: int, length: int, random: np.random.Generator
) -> list[Trajectory]:
    """Draw clips of `length` samples, none sharing a sample, in order.

    Raises:
        ValueError: the trajectories hold fewer.
    """
    slots = [(i, k) for i, t in enumerate(trajectories) for k in range(len(t) // length)]
    if count > len(slots):
        raise ValueError(
            f"{count} clips of {length} samples are wanted, the data hold {len(slots)}; "
            "give smaller sizes or more minutes"
        )
    chosen = np.sort(random.choice(len(slots), count, replace=False))
    return [
        trajectories[i][slice(k * length, (k + 1) * length)] for i, k in (slots[c] for c in chosen)
    ]


def draw(path: Path, report: dict[str, Any]) -> None:
    """Draw error against samples, with the interval over the draws."""
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
    axis.set(xscale="log", yscale="log", xlabel="samples", ylabel="nMSE on unseen motion [%]")
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
    return ModelMetadata(family, robot.name, names, unit, info.rate, 0.0, robot.xml())


def _learn(
    config: DataEfficiencyBenchmarkConfig,
    meta: ModelMetadata,
    robot: Robot,
    learn: Sequence[Trajectory],
    test: Sequence[Trajectory],
    size: int,
    seed: int,
) -> Row:
    """Train on `size` samples as `invdyn train` does, and return the errors [%]."""
    values = load_yaml(package_file(CONFIGS) / f"{meta.family}.yaml") | {
        "seed": seed,
        "action_delay": meta.action_delay,
    }
    if config.epochs is not None and "epochs" in values:
        values["epochs"] = config.epochs
    setting = parse_config(values, meta.family)
    count = min(size, CLIPS)
    # what a prediction looks at before its own frame, and what the action delay takes from the end
    context = build(replace(meta, config=setting.model)).n_obs_steps - 1
    context += int(np.ceil(meta.action_delay * meta.rate - 1e-6))
    # training sets a share aside for a test of its own: more are drawn
    drawn = int(np.ceil(count / (1 - setting.test_fraction)))
    parts = clips(learn, drawn, size // count + context, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder) / "data", parts, meta.robot, meta.rate)
        model = train(setting, Path(folder) / "data", Path(folder) / "model", robot=robot)
    report = evaluate(model, test)
    return {"nmse": 100 * report["nmse"]["mean"], "moving": 100 * report["moving"]["nmse"]["mean"]}


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": float(np.mean(values)),
        "low": min(values),
        "high": max(values),
        "draws": list(values),
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
