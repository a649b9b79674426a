"""Training speed in windows per second, beside a plain DataLoader loop."""

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

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row, ratios
from invdyn_ros.config import load_yaml
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.checkpoint import select_device
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.registry import build
from invdyn_ros.robots.robot import load_robot, package_file
from invdyn_ros.training.run_config import TrainConfig, parse_train_config
from invdyn_ros.training.trainer import Trainer
from invdyn_ros.training.training_state import RunState

RATE, TRAINER = "windows_per_s", "Trainer"


@dataclass(frozen=True)
class TrainingBenchmarkConfig(BenchmarkOptions):
    """Time of an epoch in memory: the Trainer, a plain DataLoader loop, and the steps alone."""

    config: tuple[Path, ...] = ()
    """Training configs; default: the shipped ones of families that use gradient descent."""
    width: int | None = None
    """Units per layer; default: as in the configs."""
    batch_size: int | None = None
    """Windows per step; default: as in the configs."""
    windows: PositiveInt = 25600
    """Windows of random motion of a UR5."""
    rounds: PositiveInt = 5
    """Timed epochs of each loop, alternating, after a warm-up epoch."""
    workers: int = 0
    """Processes of the DataLoader; 0: this process, usually faster for data in memory."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Device of the training."""
    threads: PositiveInt = 1
    """CPU threads of torch."""


def measure_training(config: TrainingBenchmarkConfig) -> dict[str, Any]:
    """Return the report on every training config.

    Raises:
        ValueError: an invalid config, or a family without gradient descent.
    """
    device = select_device(config.device)
    measurement, ratio = config.begin("training", "1/s, ms", config.threads), {}
    rows = measurement.rows
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        for path in config.config or shipped_configs():
            measured = _measure(_training(config, path), config, device)
            trainer = measured.pop(TRAINER)
            rows[f"{path.stem} ({TRAINER})"] = trainer
            for name, row in measured.items():
                rows[f"{path.stem} ({name})"] = row
                ratio[f"{path.stem} / {name}"] = ratios(trainer, row, (RATE,))
    finally:
        torch.set_num_threads(threads)
    if device.type == "cuda":
        measurement.machine["gpu"] = torch.cuda.get_device_name(device)
    settings = {
        name: getattr(config, name)
        for name in ("windows", "rounds", "workers", "device", "width", "batch_size")
    }
    return measurement.report(settings, ratio)


def shipped_configs() -> list[Path]:
    """Return the shipped training configs of families that use gradient descent."""
    paths = sorted(package_file("config/train").glob("*.yaml"))
    return [
        p
        for p in paths
        if _uses_gradient_descent(_model(parse_train_config(load_yaml(p), str(p))))
    ]


def _training(config: TrainingBenchmarkConfig, path: Path) -> TrainConfig:
    """Read a training config, with the width and batch size of the benchmark."""
    overrides = {"width": config.width, "batch_size": config.batch_size}
    values = load_yaml(path) | {k: v for k, v in overrides.items() if v is not None}
    return parse_train_config(values, str(path))


def _measure(
    train: TrainConfig, config: TrainingBenchmarkConfig, device: torch.device
) -> dict[str, Row]:
    """Time the three loops, alternating."""
    torch.manual_seed(train.seed)
    model = _model(train)
    if not _uses_gradient_descent(model):
        raise ValueError(f"{train.family} has a closed-form solution; there is no loop to measure")
    data = _random(model, config.windows)
    model.to(device).standardise(data.to(device))
    batch = train.trainer.batch_size
    steps = -(-data.size // batch)
    epochs = {
        TRAINER: _trainer_epoch(model, data.to(device), train),
        "DataLoader": _data_loader_epoch(model, data, batch, config.workers, device),
        "steps alone": _steps_epoch(model, data.rows(slice(batch)).to(device), steps),
    }
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(config.rounds + 1):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            epoch()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(times[1:])) for name, times in seconds.items()}
    return {
        name: {RATE: round(data.size / t, 1), "ms_per_step": round(1e3 * t / steps, 4)}
        for name, t in medians.items()
    }


def _trainer_epoch(
    model: InverseDynamics, data: Windows, train: TrainConfig
) -> Callable[[], object]:
    state = RunState(Path(), {}, model.meta)  # of a run that is not saved
    return Trainer(model, data, data, train.trainer, train.seed, state).train_epoch


def _data_loader_epoch(
    model: InverseDynamics, data: Windows, batch: int, workers: int, device: torch.device
) -> Callable[[], None]:
    """Return an epoch of a plain DataLoader loop."""
    loader = DataLoader(
        TensorDataset(*data),
        batch,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def epoch() -> None:
        for part in loader:
            _step(model, optimizer, Windows(*(x.to(device, non_blocking=True) for x in part)))

    return epoch


def _steps_epoch(model: InverseDynamics, batch: Windows, steps: int) -> Callable[[], None]:
    """Return an epoch of optimizer steps on one batch."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def epoch() -> None:
        for _ in range(steps):
            _step(model, optimizer, batch)

    return epoch


def _step(model: InverseDynamics, optimizer: torch.optim.Optimizer, batch: Windows) -> None:
    optimizer.zero_grad()
    model.loss(*batch).backward()
    optimizer.step()


def _model(config: TrainConfig) -> InverseDynamics:
    robot = load_robot("ur5")
    names, unit = robot.joint_names, robot.action_unit
    return build(
        ModelMetadata(
            config.family,
            robot.name,
            names,
            unit,
            robot.rate,
            0.0,
            robot.rigid_body_urdf(),
            config.model,
        )
    )


def _uses_gradient_descent(model: InverseDynamics) -> bool:
    return any(p.requires_grad for p in model.parameters())


def _random(model: InverseDynamics, size: int) -> Windows:
    """Return windows of random motion and actions, as long as those of the family."""
    random, frames = torch.Generator().manual_seed(0), model.n_obs_steps
    motion, action = (
        torch.randn(size, frames, width, generator=random, dtype=model.dtype)
        for width in (3 * model.n, model.n)
    )
    time = (torch.arange(frames, dtype=model.dtype) + 1 - frames) / model.meta.rate
    return Windows(motion, time.repeat(size, 1), action)
