"""From joint state to command through DDS: a checkpoint enters, milliseconds beside an echo leave.

Three processes on a ROS domain of their own: a probe that sends joint states at the arm's rate, a
bare echo that sends a command back at once, and the real `inverse_dynamics` node. The probe talks
to one for a few seconds, then to the other, so that both meet the same load on the machine.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, quantiles, ratios
from invdyn_ros.graph.graph import FASTDDS_PROFILES, NodeSpec, ParameterValue
from invdyn_ros.graph.launcher import launch
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.robot import load_robot, package_file

OURS, PEER = "inverse_dynamics", "echo"
DOMAINS = 101  # 1 to this: above, DDS ports meet ephemeral ones
INTERRUPTED = 130


@dataclass(frozen=True)
class LatencyBenchmarkConfig:
    """Time from joint state to command through DDS, beside a bare echo of the same messages."""

    arm: str = "ur5"
    """Name of the arm; its rate is the rate of the joint states."""
    checkpoint: Path | None = None
    """Checkpoint folder; default: the one shipped for the arm."""
    seconds: float = 20.0
    """Time to measure, all in all [s]."""
    turn_seconds: float = 2.0
    """Time with one of the two before it is the other's turn [s]."""
    domain: int | None = None
    """ROS domain id, 1 to 232; default: one that follows from the process id."""
    report: Path | None = None
    """JSON file to write."""

    def __post_init__(self) -> None:
        if not 0 < self.turn_seconds <= self.seconds / 2:
            raise ValueError(
                f"block is {self.turn_seconds} s and seconds {self.seconds}; both sides need a block"
            )
        if self.domain is not None and not 1 <= self.domain <= 232:
            raise ValueError(f"domain is {self.domain}; right are 1 to 232")


def measure_latency(config: LatencyBenchmarkConfig) -> dict[str, Any]:
    """Run the three processes and return the report.

    Raises:
        ValueError: unknown arm, or a checkpoint that is not of this arm.
        ChildProcessError: a process has failed; its own message has been shown.
    """
    robot = load_robot(config.arm)
    checkpoint = config.checkpoint or package_file(f"config/checkpoints/{config.arm}")
    meta = load_runtime(checkpoint, "cpu", robot).meta
    about = machine_info(1)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
        out = Path(folder) / "latency.json"
        code = launch(_processes(config, checkpoint.absolute(), meta.action_unit, out))
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code != 0 or not out.exists():
            raise ChildProcessError(f"the measurement ended with code {code}; see above")
        measured = json.loads(out.read_text(encoding="utf-8"))
    rows = {name: _row(measured[name]) for name in (OURS, PEER)}
    return benchmark_report(
        "latency",
        unit="ms",
        machine=about,
        settings={
            "arm": config.arm,
            "checkpoint": str(checkpoint),
            "family": meta.family,
            "rate_hz": robot.rate,
            "seconds": config.seconds,
            "block_s": config.turn_seconds,
        },
        rows=rows,
        ratio={OURS: ratios(rows[OURS], rows[PEER], ("p50", "p95", "p99", "max"))},
    )


def _processes(
    config: LatencyBenchmarkConfig, checkpoint: Path, unit: str, out: Path
) -> list[NodeSpec]:
    domain = config.domain or 1 + os.getpid() % DOMAINS
    environment = {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "OMP_NUM_THREADS": "1",
    }
    if FASTDDS_PROFILES not in os.environ:  # the transport that the graphs use
        environment[FASTDDS_PROFILES] = str(package_file("config/fastdds.xml"))
    node: dict[str, ParameterValue] = {
        "arm": config.arm,
        "checkpoint": str(checkpoint),
        "device": "cpu",
        "engaged": True,
    }
    probe: dict[str, ParameterValue] = {
        "arm": config.arm,
        "unit": unit,
        "seconds": float(config.seconds),
        "block": float(config.turn_seconds),
        "out": str(out),
    }
    return [
        NodeSpec(PEER, "echo", {"arm": config.arm}, environment=environment),
        NodeSpec(OURS, "inverse_dynamics", node, environment=environment),
        NodeSpec("latency_probe", "latency_probe", probe, True, environment),
    ]


def _row(measured: Mapping[str, Any]) -> Row:
    """Latencies [ms] and how many joint states were sent and answered."""
    row = quantiles(measured["latency_ms"], (50, 95, 99))
    return row | {"sent": measured["sent"], "answered": len(measured["latency_ms"])}
