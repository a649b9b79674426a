"""How long a model takes for a command: checkpoints enter, microseconds beside MuJoCo's leave."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mujoco
import numpy as np
import torch

from invdyn_ros.benchmarks.report import Row, machine, quantiles, ratios
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.robot import ROBOTS, Robot, load_robot, share

BLOCK = 50  # calls of one before the other has its turn
MOTIONS = 64  # different motions, so that no cache holds the answer


@dataclass(frozen=True)
class ModelConfig:
    """Time of one prediction, batch of one on one thread, beside MuJoCo's mj_inverse."""

    checkpoint: tuple[Path, ...] = ()
    """Checkpoint folders; default: all that are shipped."""
    calls: int = 2000
    """Timed calls of each."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where the model computes."""
    report: Path | None = None
    """JSON file to write."""

    def __post_init__(self) -> None:
        if self.calls < 2 * BLOCK:
            raise ValueError(f"calls is {self.calls}; at least {2 * BLOCK} tell something")


def measure_model(config: ModelConfig) -> dict[str, Any]:
    """Return the report on every checkpoint.

    Raises:
        ValueError: no checkpoint, or one that cannot be read.
    """
    found = {path.name: path for path in config.checkpoint or shipped()}
    models = {name: load(path, config.device) for name, path in found.items()}
    about, rows, ratio = machine(1), {}, {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, model in models.items():
            ours, peer = _measure(model, config.calls)
            rows[f"{name} ({model.meta.family})"] = ours
            rows[f"{name} (mj_inverse)"] = peer
            ratio[name] = ratios(ours, peer, ("p50", "p99"))
    finally:
        torch.set_num_threads(threads)
    settings = {"calls": config.calls, "device": config.device, "batch": 1}
    return {
        "benchmark": "model",
        "unit": "us",
        "machine": about,
        "settings": settings,
        "rows": rows,
        "ratio": ratio,
    }


def shipped() -> list[Path]:
    """Return the folders of the checkpoints that come with the package.

    Raises:
        FileNotFoundError: there are none.
    """
    return sorted(file.parent for file in share("config/checkpoints").glob("*/meta.json"))


def _measure(model: InverseDynamics, calls: int) -> tuple[Row, Row]:
    """Time the model and mj_inverse in turn, on the same motions; microseconds."""
    robot = _robot_of(model)
    random = np.random.default_rng(0)
    n, history = robot.n, model.history
    scale = np.repeat([1.0, 1.0, 5.0], n)  # [rad, rad/s, rad/s2]
    motions = scale * random.uniform(-1, 1, (MOTIONS, 1, history, 3 * n))
    device = model.motion_mean.device
    tensors = [torch.tensor(m, dtype=model.dtype, device=device) for m in motions]
    period = torch.arange(history, dtype=model.dtype, device=device)[None] / robot.rate
    engine, data = robot.model(), mujoco.MjData(robot.model())

    def predict(i: int) -> None:
        model.predict(tensors[i], period).mean.cpu()

    def inverse(i: int) -> None:
        data.qpos[:], data.qvel[:], data.qacc[:] = motions[i, 0, -1].reshape(3, n)
        mujoco.mj_inverse(engine, data)

    with torch.inference_mode():
        return _in_turn(predict, inverse, calls)


def _in_turn(
    ours: Callable[[int], None], peer: Callable[[int], None], calls: int
) -> tuple[Row, Row]:
    """Time two calls in alternating blocks; the first block of each is thrown away."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(calls // BLOCK + 1):
        for call, times in zip((ours, peer), taken, strict=True):
            for i in range(BLOCK):
                begun = time.perf_counter_ns()
                call(i % MOTIONS)
                times.append((time.perf_counter_ns() - begun) / 1e3)
    first, second = (quantiles(times[BLOCK:], (50, 95, 99)) for times in taken)
    return first, second


def _robot_of(model: InverseDynamics) -> Robot:
    meta = model.meta
    if meta.robot in ROBOTS:
        return load_robot(meta.robot)
    with tempfile.TemporaryDirectory() as folder:  # an arm that only its checkpoint knows
        file = Path(folder) / f"{meta.robot}.urdf"
        file.write_text(meta.urdf, encoding="utf-8")
        robot = load_robot(meta.robot, file)
        robot.model()  # reads the file
        return robot
