"""Benchmark of the page and the film of a large network: opening, scrubbing, frames per second.

The page is opened in a headless Chromium, which draws without a graphics card.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from invdyn_ros.benchmarks.report import (
    Row,
    benchmark_report,
    machine_info,
    quantiles,
    settings_of,
)
from invdyn_ros.config import Validated
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.evaluation.pages.network import write_network_page
from invdyn_ros.evaluation.plots.network_video import network_frames
from invdyn_ros.evaluation.plots.video_writer import VideoWriter
from invdyn_ros.models.network_history import NetworkHistory
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.excitation import ExcitationConfig
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.training.network_recorder import NetworkRecorder
from invdyn_ros.training.run_config import TrainConfig
from invdyn_ros.training.train import train
from invdyn_ros.training.trainer import TrainerConfig

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # the only page is our own
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--window-size=1280,900",
)
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
OPENED = "return performance.getEntriesByType('navigation')[0].loadEventEnd"


@dataclass(frozen=True)
class NetworkPageBenchmarkConfig(Validated):
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
    report: Path | None = None
    """JSON file to write."""


def measure_network_page(config: NetworkPageBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ModuleNotFoundError: Selenium is not installed.
        ValueError: Chromium is not installed.
    """
    machine = machine_info(1)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder, _chromium(folder) as browser:
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
            "film": {"frames_per_s": _frames_per_second(history, Path(folder) / "network.mp4")},
        }
    return benchmark_report(
        "network_page",
        unit="ms",
        machine=machine,
        settings=settings_of(config),
        rows=rows,
    )


def _chromium(folder: str) -> AbstractContextManager[Chrome]:
    """Start a headless Chromium, which ends with the context.

    Args:
        folder: where it keeps its profile.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        raise ValueError(
            "chromium or chromedriver is missing; install the packages chromium and "
            "chromium-driver"
        )
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*OPTIONS, f"--user-data-dir={folder}/chromium"):
        options.add_argument(option)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    browser.set_script_timeout(120)
    return browser


def _train(config: NetworkPageBenchmarkConfig, folder: Path) -> NetworkHistory:
    """Return the history of a network that learns a minute of a simulated UR5."""
    robot = load_robot("ur5")
    trajectories = list(simulate(robot, ExcitationConfig(minutes=1.0)))
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
        for frame in network_frames([history]):
            video.add(frame)
            count += 1
    return round(count / (time.perf_counter() - start), 1)
