"""Benchmark of what the live window costs: image to command of a teleoperation run.

Runs with an open page and runs without one alternate, on the same video. The page is a client that
reads and confirms every message, as the page in a browser does; what a browser needs to draw them
is not part of the measurement.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
from pydantic import Field, PositiveFloat, PositiveInt

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import quantiles
from invdyn_ros.evaluation.live.access import KEY_PREFIX, SUBPROTOCOL
from invdyn_ros.graph.graph import resolve
from invdyn_ros.graph.launcher import child_environment, command, launch, parameters_yaml
from invdyn_ros.graph.node_spec import NodeSpec
from invdyn_ros.graph.ros_domain import own_domain
from invdyn_ros.sources.bag_files import messages

WARMUP = 3.0  # [s] of a run that are not measured
WITH, WITHOUT = "with an open page", "without"
ADDRESS = "view: "  # before the address in the output of the node
INTERRUPTED = 130  # exit code


@dataclass(frozen=True)
class LiveWindowBenchmarkConfig(BenchmarkOptions):
    """Time from image to command with and without an open live window."""

    video: Path
    """Video of a person."""
    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    runs: PositiveInt = 3
    """Number of runs with and of runs without the live window."""
    seconds: PositiveFloat = 20.0
    """Duration of each run [s]."""
    domain: Annotated[int, Field(ge=1, le=232)] | None = None
    """ROS domain id, 1 to 232; default: one that is free."""


def measure_live_window(config: LiveWindowBenchmarkConfig) -> dict[str, Any]:
    """Run the graphs and return the report.

    Raises:
        ChildProcessError: a process failed; its own message was printed.
    """
    measured = config.begin("live_window", "ms")
    rows = measured.rows
    latencies: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    received: Counter[str] = Counter()
    for _ in range(config.runs):
        for name, values in latencies.items():
            values += _run(config, received if name == WITH else None)
            rows[name] = quantiles(values, (50, 95, 99)) | {"commands": len(values)}
    columns = ("p50", "p95", "p99")
    rows["difference"] = {key: rows[WITH][key] - rows[WITHOUT][key] for key in columns}
    return measured.report(
        settings={
            "arm": config.arm,
            "video": config.video.name,
            "runs": config.runs,
            "seconds": config.seconds,
        },
        received=dict(received),
    )


def _run(config: LiveWindowBenchmarkConfig, received: Counter[str] | None) -> list[float]:
    """Return the latencies [ms] of one run.

    Args:
        config: of the benchmark.
        received: counts what an open page receives; None: no live window.
    """
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
        recording = Path(folder) / "recording"
        arguments = {
            "arm": config.arm,
            "video": str(config.video),
            "loop": "true",
            "duration": str(config.seconds),
            "record": str(recording),
            "view": str(received is not None).lower(),
            "domain": str(config.domain or own_domain()),
        }
        specs = resolve("teleop", arguments)
        views = [spec for spec in specs if spec.executable == "view"]
        with contextlib.ExitStack() as stack:
            if received is not None:
                stack.enter_context(_open_page(views[0], Path(folder), received))
            code = launch([spec for spec in specs if spec not in views])
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code != 0:
            raise ChildProcessError(f"a run ended with code {code}; see above")
        return _latencies(recording)


@contextlib.contextmanager
def _open_page(spec: NodeSpec, folder: Path, received: Counter[str]) -> Iterator[None]:
    """Start the live window, and read what its page would show until the context is left."""
    file = folder / "view.yaml"
    file.write_text(parameters_yaml(spec), encoding="utf-8")
    environment = {**child_environment(os.environ), **spec.environment}
    process = subprocess.Popen(
        command(spec, file), env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = iter(process.stdout or [])
        address = next((line.removeprefix(ADDRESS) for line in lines if ADDRESS in line), "")
        if not address:
            raise ChildProcessError("the live window did not start")
        thread = threading.Thread(target=lambda: asyncio.run(_read(address.strip(), received)))
        thread.start()
        yield
    finally:
        process.terminate()
        process.wait()
    thread.join()


async def _read(address: str, received: Counter[str]) -> None:
    """Confirm and count all messages until the server ends."""
    origin, _, key = address.partition("/?key=")
    protocols = (SUBPROTOCOL, f"{KEY_PREFIX}{key}")
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{origin}/live", protocols=protocols) as socket,
    ):
        async for message in socket:
            is_image = message.type == aiohttp.WSMsgType.BINARY
            received["images" if is_image else "states"] += 1
            await socket.send_str("shown")


def _latencies(recording: Path) -> list[float]:
    """Return the time from each image to the first command computed from it [ms]."""
    first: dict[float, float] = {}
    for _, message in messages(recording, "/timing", "sensor_msgs/msg/TimeReference"):
        if message.source == "command":
            stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
            time = message.time_ref.sec + 1e-9 * message.time_ref.nanosec
            first.setdefault(stamp, time - stamp)
    start = min(first, default=0.0) + WARMUP
    return [1e3 * seconds for stamp, seconds in first.items() if stamp > start]
