"""How fast training is: configs enter, windows per second beside a DataLoader's leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch.utils.data import DataLoader, TensorDataset

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios
from invdyn_ros.config import Validated, load_yaml
from invdyn_ros.data.windows import Windows
from invdyn_ros.models import InverseDynamics, ModelMetadata, build
from invdyn_ros.models.checkpoint import select_device
from invdyn_ros.robots.robot import load_robot, package_file
from invdyn_ros.training.train import TrainConfig, parse_config
from invdyn_ros.training.trainer import Trainer
from invdyn_ros.training.training_state import RunState

RATE = "windows_per_s"


@dataclass(frozen=True)
class TrainingBenchmarkConfig(Validated):
    """One pass over data in memory: our loop, a plain DataLoader loop, and the steps alone."""

    config: tuple[Path, ...] = ()
    """Training configs; default: all shipped ones that descend a gradient."""
    width: int | None = None
    """Units per layer, instead of those in the configs."""
    batch_size: int | None = None
    """Windows per step, instead of those in the configs."""
    windows: PositiveInt = 25600
    """Windows of random motion of a UR5."""
    rounds: PositiveInt = 5
    """Passes of each, in turn, after one that is thrown away."""
    workers: int = 0
    """Processes of the DataLoader; 0: it reads in this one, mostly faster from memory."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to compute."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    report: Path | None = None
    """JSON file to write."""


def measure_training(config: TrainingBenchmarkConfig) -> dict[str, Any]:
    """Return the report on every training config.

    Raises:
        ValueError: a config that is wrong, or of a family without gradient descent.
    """
    device = select_device(config.device)
    about, rows, ratio = machine_info(config.threads), {}, {}
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        for path in config.config or shipped():
            found = _measure(_training(config, path), config, device)
            ours = found.pop("our loop")
            rows[f"{path.stem} (our loop)"] = ours
            for name, row in found.items():
                rows[f"{path.stem} ({name})"] = row
                ratio[f"{path.stem} / {name}"] = ratios(ours, row, (RATE,))
    finally:
        torch.set_num_threads(threads)
    if device.type == "cuda":
        about["gpu"] = torch.cuda.get_device_name(device)
    settings = {
        name: getattr(config, name)
        for name in ("windows", "rounds", "workers", "device", "width", "batch_size")
    }
    return benchmark_report(
        "training",
        unit="1/s, ms",
        machine=about,
        settings=settings,
        rows=rows,
        ratio=ratio,
    )


def shipped() -> list[Path]:
    """Return the training configs that come with the package and have weights to descend."""
    paths = sorted(package_file("config/train").glob("*.yaml"))
    return [p for p in paths if _descends(_model(parse_config(load_yaml(p), str(p))))]


def _training(config: TrainingBenchmarkConfig, path: Path) -> TrainConfig:
    """Read a training config, with the width and batch asked for."""
    changed = {"width": config.width, "batch_size": config.batch_size}
    values = load_yaml(path) | {k: v for k, v in changed.items() if v is not None}
    return parse_config(values, str(path))


def _measure(
    train: TrainConfig, config: TrainingBenchmarkConfig, device: torch.device
) -> dict[str, Row]:
    """Time the three in turn."""
    torch.manual_seed(train.seed)
    model = _model(train)
    if not _descends(model):
        raise ValueError(f"{train.family} is solved in closed form; there is no loop to measure")
    data = _random(model, config.windows)
    model.to(device).standardise(data.to(device))
    batch = train.trainer.batch_size
    steps = -(-data.size // batch)
    passes = {
        "our loop": _ours(model, data.to(device), train),
        "DataLoader": _data_loader(model, data, batch, config.workers, device),
        "steps alone": _steps(model, data.rows(slice(batch)).to(device), steps),
    }
    taken: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(config.rounds + 1):
        for name, one in passes.items():
            begun = time.perf_counter()
            one()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken[name].append(time.perf_counter() - begun)
    medians = {name: float(np.median(times[1:])) for name, times in taken.items()}
    return {
        name: {RATE: round(data.size / t, 1), "ms_per_step": round(1e3 * t / steps, 4)}
        for name, t in medians.items()
    }


def _ours(model: InverseDynamics, data: Windows, train: TrainConfig) -> Callable[[], object]:
    state = RunState(Path(), {}, model.meta)  # of a run that is never saved
    return Trainer(model, data, data, train.trainer, train.seed, state).train_epoch


def _data_loader(
    model: InverseDynamics, data: Windows, batch: int, workers: int, device: torch.device
) -> Callable[[], None]:
    """Return the loop most people write."""
    loader = DataLoader(
        TensorDataset(*data),
        batch,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
    adam = torch.optim.AdamW(model.parameters(), fused=True)

    def one() -> None:
        for part in loader:
            _step(model, adam, Windows(*(x.to(device, non_blocking=True) for x in part)))

    return one


def _steps(model: InverseDynamics, fixed: Windows, steps: int) -> Callable[[], None]:
    """Return forward, backward and optimiser, always on the same batch."""
    adam = torch.optim.AdamW(model.parameters(), fused=True)

    def one() -> None:
        for _ in range(steps):
            _step(model, adam, fixed)

    return one


def _step(model: InverseDynamics, adam: torch.optim.Optimizer, batch: Windows) -> None:
    adam.zero_grad()
    model.loss(*batch).backward()
    adam.step()


def _model(config: TrainConfig) -> InverseDynamics:
    robot = load_robot("ur5")
    names, unit = robot.joint_names, robot.action_unit
    return build(
        ModelMetadata(
            config.family, robot.name, names, unit, robot.rate, 0.0, robot.xml(), config.model
        )
    )


def _descends(model: InverseDynamics) -> bool:
    return any(p.requires_grad for p in model.parameters())


def _random(model: InverseDynamics, size: int) -> Windows:
    """Return windows of random motion and actions, as long as the family trains on."""
    random, frames = torch.Generator().manual_seed(0), model.n_obs_steps
    motion, action = (
        torch.randn(size, frames, width, generator=random, dtype=model.dtype)
        for width in (3 * model.n, model.n)
    )
    time = (torch.arange(frames, dtype=model.dtype) + 1 - frames) / model.meta.rate
    return Windows(motion, time.repeat(size, 1), action)
