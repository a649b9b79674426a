"""Benchmark of the page and the film of a large network: opening, scrubbing, frames per second.

The page is opened in a headless Chromium.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.headless_chromium import start_chromium
from invdyn_ros.benchmarks.report import (
    Row,
    benchmark_report,
    machine_info,
    quantiles,
    settings_of,
)
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.evaluation.pages.network import write_network_page
from invdyn_ros.evaluation.plots.network_video import network_frames
from invdyn_ros.evaluation.plots.video_writer import VideoWriter
from invdyn_ros.models.network_history import NetworkHistory
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.training.network_recorder import NetworkRecorder
from invdyn_ros.training.run_config import TrainConfig
from invdyn_ros.training.train import train
from invdyn_ros.training.trainer import TrainerConfig

# moves the time slider as a hand does, and waits each time until the page has been painted
SCRUB = """
const count = arguments[0], done = arguments[1], times = [];
const slider = document.getElementById("time"), end = Number(slider.max);
function move() {
  if (times.length === count) return done(times);
  const start = performance.now();
  slider.value = (end * times.length) / count;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => setTimeout(() => {
    times.push(performance.now() - start);
    move();
  }));
}
move();
"""
FILM_FRAMES = 100
SWING_TIME, AMPLITUDE = 5.0, 0.3  # [s], [rad]
OPENED = "return performance.getEntriesByType('navigation')[0].loadEventEnd"


@dataclass(frozen=True)
class NetworkPageBenchmarkConfig(BenchmarkOptions):
    """Page and film of a network while it trains."""

    width: PositiveInt = 512
    """Units of a hidden layer."""
    depth: PositiveInt = 4
    """Hidden layers."""
    epochs: PositiveInt = 12
    """Epochs of the training."""
    openings: PositiveInt = 5
    """How often the page is opened."""
    moves: PositiveInt = 100
    """Moves of the time slider."""


def measure_network_page(config: NetworkPageBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ModuleNotFoundError: Selenium is not installed.
        ValueError: Chromium is not installed.
    """
    machine = machine_info(1)
    with (
        tempfile.TemporaryDirectory(prefix="invdyn_") as folder,
        start_chromium(Path(folder) / "chromium") as browser,
    ):
        history = _train(config, Path(folder))
        page = write_network_page(Path(folder) / "network.html", [history])
        opened = []
        for _ in range(config.openings):
            browser.get("about:blank")
            browser.get(page.as_uri())
            opened.append(browser.execute_script(OPENED))
        scrubbed = browser.execute_async_script(SCRUB, config.moves)
        rows: dict[str, Row] = {
            "open": quantiles(opened, (50, 95, 99)),
            "move of the time slider": quantiles(scrubbed, (50, 95, 99)),
            "file": {"megabytes": round(page.stat().st_size / 1e6, 2)},
            "film": {"frames_per_s": _frames_per_second(history, Path(folder) / "film.mp4")},
        }
    return benchmark_report(
        "network_page",
        unit="ms",
        machine=machine,
        settings=settings_of(config),
        rows=rows,
    )


def _swing(robot: Robot, frequency: float) -> Trajectory:
    """Return a few seconds of all joints swinging at a frequency [Hz], with the URDF's torques."""
    time, w = np.arange(0.0, SWING_TIME, 1 / robot.rate), 2 * np.pi * frequency
    phase = w * time[:, None] + np.arange(robot.n)
    q, qd = robot.home + AMPLITUDE * np.sin(phase), AMPLITUDE * w * np.cos(phase)
    qdd = -AMPLITUDE * w**2 * np.sin(phase)
    torque = [robot.inverse_dynamics(*state) for state in zip(q, qd, qdd, strict=True)]
    return Trajectory(time, q, qd, qdd, np.array(torque), robot.joint_names, "N m")


def _train(config: NetworkPageBenchmarkConfig, folder: Path) -> NetworkHistory:
    """Return the history of a network that learns the torques of a swinging UR5."""
    robot = load_robot("ur5")
    trajectories = [_swing(robot, frequency) for frequency in np.linspace(0.2, 1.0, 10)]
    write_dataset(folder / "data", trajectories, robot.name, robot.rate)
    train_config = TrainConfig(
        "mlp",
        trainer=TrainerConfig(epochs=config.epochs),
        model={"width": config.width, "depth": config.depth},
    )
    recorder = NetworkRecorder()
    train(train_config, folder / "data", folder / "checkpoint", recorder=recorder)
    return recorder.history(finished=True)


def _frames_per_second(history: NetworkHistory, file: Path) -> float:
    """Return how many frames of a film are drawn and encoded per second."""
    start, count = time.perf_counter(), 0
    with VideoWriter(file) as video:
        for frame in network_frames([history], FILM_FRAMES):
            video.add(frame)
            count += 1
    return round(count / (time.perf_counter() - start), 1)
