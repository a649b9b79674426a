"""Benchmark of the latency from joint state to command through DDS, beside an echo node.

Three processes run on a separate ROS domain: a probe that publishes joint states at the arm's
rate, an echo node that publishes a command at once, and the `inverse_dynamics` node. The probe
alternates between the two every few seconds, so that the load of the machine is the same for both.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, quantiles, ratios
from invdyn_ros.graph.launcher import launch
from invdyn_ros.graph.node_spec import NodeSpec, ParameterValue
from invdyn_ros.graph.ros_domain import own_domain
from invdyn_ros.graph.transport import FASTDDS_PROFILES
from invdyn_ros.models.gravity import for_commands
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.robots.robot import load_robot, package_file

NODE, BASELINE = "inverse_dynamics", "echo"
INTERRUPTED = 130  # exit code


@dataclass(frozen=True)
class LatencyBenchmarkConfig(BenchmarkOptions):
    """Latency from joint state to command through DDS, beside an echo of the same messages."""

    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of one; its control rate is the rate of the joint states."""
    checkpoint: Path | None = None
    """Checkpoint folder; default: the shipped one of the arm."""
    seconds: float = 20.0
    """Total measuring time [s]."""
    turn_seconds: float = 2.0
    """Time for which one node is measured before the other [s]."""
    domain: int | None = None
    """ROS domain id, 1 to 232; default: one that is free."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.turn_seconds <= self.seconds / 2:
            raise ValueError(
                f"turn_seconds is {self.turn_seconds} and seconds {self.seconds}; seconds must "
                "allow one turn for each of the two nodes"
            )
        if self.domain is not None and not 1 <= self.domain <= 232:
            raise ValueError(f"domain is {self.domain}; it must be 1 to 232")


def measure_latency(config: LatencyBenchmarkConfig) -> dict[str, Any]:
    """Run the three processes and return the report.

    Raises:
        ValueError: unknown arm, or a checkpoint for another arm.
        ChildProcessError: a process failed; its own message was printed.
    """
    robot = load_robot(config.arm)
    checkpoint = config.checkpoint or package_file(f"config/checkpoints/{config.arm}")
    meta = for_commands(load_runtime(checkpoint, "cpu", robot)).meta
    machine = machine_info(1)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
        output_file = Path(folder) / "latency.json"
        code = launch(_node_specs(config, checkpoint.absolute(), meta.action_unit, output_file))
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code != 0 or not output_file.exists():
            raise ChildProcessError(f"the measurement ended with code {code}; see above")
        measured = json.loads(output_file.read_text(encoding="utf-8"))
    rows = {name: _row(measured[name]) for name in (NODE, BASELINE)}
    return benchmark_report(
        "latency",
        unit="ms",
        machine=machine,
        settings={
            "arm": config.arm,
            "checkpoint": str(checkpoint),
            "family": meta.family,
            "rate_hz": robot.rate,
            "seconds": config.seconds,
            "turn_s": config.turn_seconds,
        },
        rows=rows,
        ratio={NODE: ratios(rows[NODE], rows[BASELINE], ("p50", "p95", "p99", "max"))},
    )


def _node_specs(
    config: LatencyBenchmarkConfig, checkpoint: Path, unit: str, output_file: Path
) -> list[NodeSpec]:
    domain = config.domain or own_domain()
    environment = {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "OMP_NUM_THREADS": "1",
    }
    if FASTDDS_PROFILES not in os.environ:  # the transport of the launch graphs
        environment[FASTDDS_PROFILES] = str(package_file("config/fastdds.xml"))
    node: dict[str, ParameterValue] = {
        "arm": config.arm,
        "checkpoint": str(checkpoint),
        "device": "cpu",
        "engaged": True,
        # no arm is driven, and a probe that a busy machine delays is no fault
        "joint_state_timeout": 1.0,
        "max_gap": 1.0,
    }
    probe: dict[str, ParameterValue] = {
        "arm": config.arm,
        "unit": unit,
        "seconds": float(config.seconds),
        "turn_seconds": float(config.turn_seconds),
        "out": str(output_file),
    }
    return [
        NodeSpec(BASELINE, "echo", {"arm": config.arm}, environment=environment),
        NodeSpec(NODE, "inverse_dynamics", node, environment=environment),
        NodeSpec("latency_probe", "latency_probe", probe, True, environment),
    ]


def _row(measured: Mapping[str, Any]) -> Row:
    """Return the latencies [ms] and the numbers of joint states sent and commands received."""
    row = quantiles(measured["latency_ms"], (50, 95, 99))
    return row | {"sent": measured["sent"], "received": len(measured["latency_ms"])}
