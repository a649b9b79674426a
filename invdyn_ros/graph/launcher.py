"""Start the nodes of a graph as processes, without `ros2 launch`."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import yaml

from invdyn_ros.graph.discovery import discovery_environment, open_network_warning
from invdyn_ros.graph.extras import check_modules
from invdyn_ros.graph.graph_lock import take_lock
from invdyn_ros.graph.node_spec import NodeSpec
from invdyn_ros.graph.processes import Processes
from invdyn_ros.graph.transport import FASTDDS_PROFILES
from invdyn_ros.robots.robot import package_file

FIRST = "inverse_dynamics"  # waits longest after its start, to discover other nodes


def launch(specs: list[NodeSpec], is_graph: bool = True) -> int:
    """Start each node in its own process and wait for the end of the run.

    Args:
        specs: the nodes.
        is_graph: whether no other graph may run in their domain and namespace.

    Returns:
        0 when the node that ends the graph exits with 0, else the code of the node that failed;
        130 after Ctrl-C, 143 after SIGTERM; 1 if only the report is missing.

    Raises:
        ValueError: a graph runs already in this domain and namespace.
        ModuleNotFoundError: an extra that a node needs is not installed.
    """
    try:
        ctypes.CDLL("libGL.so.1")
    except OSError:  # OpenCV says it once, here, instead of in each node, if it needs it
        import cv2  # noqa: F401

    check_modules(spec.executable for spec in specs)
    start = time.time()
    if (warning := open_network_warning({**os.environ, **specs[0].environment})) is not None:
        print(warning, file=sys.stderr)
    with ExitStack() as stack:
        lock = stack.enter_context(take_lock(specs[0])) if is_graph else None
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="invdyn_"))
        processes = stack.enter_context(Processes())
        if lock is not None and lock.socket is not None:
            processes.watch(lock.socket, lock.report_attempts)
        for spec in sorted(specs, key=lambda spec: spec.executable != FIRST):
            file = Path(folder) / f"{spec.name}.yaml"
            file.write_text(parameters_yaml(spec), encoding="utf-8")
            environment = {**child_environment(os.environ), **spec.environment}
            processes.start(
                spec.name,
                command(spec, file),
                environment,
                spec.ends_graph,
                spec.is_optional,
            )
        code = processes.wait()
    for file in missing_reports(specs, start):
        print(f"the report is lost: {file} was not written", file=sys.stderr)
        code = code or 1
    return code


def missing_reports(specs: list[NodeSpec], start: float) -> list[Path]:
    """Return the report files of nodes that were not written since a start time [s]."""
    files = [Path(str(report)) for spec in specs if (report := spec.parameters.get("report"))]
    return [file for file in files if not file.is_file() or file.stat().st_mtime < start]


def command(spec: NodeSpec, parameters: Path) -> list[str]:
    """Return the command line of a node's process."""
    name = [] if spec.composed else ["-r", f"__node:={spec.name}"]
    ros = ["--ros-args", *name, "--params-file", str(parameters)]
    if spec.namespace:
        ros += ["-r", f"__ns:=/{spec.namespace}"]
    for topic, other in spec.remappings.items():
        ros += ["-r", f"{topic}:={other}"]
    return [sys.executable, "-m", spec.module, *spec.composed, *ros]


def parameters_yaml(spec: NodeSpec) -> str:
    """Return the ROS parameter file of a node."""
    return yaml.safe_dump({"/**": {"ros__parameters": dict(spec.parameters)}})


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a node.

    By default nodes discover each other on this machine only and use one thread each.
    """
    defaults = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    defaults[FASTDDS_PROFILES] = str(package_file("config/fastdds.xml"))
    defaults |= discovery_environment("auto", environment)
    if Path(sys.prefix, "share", "ament_index").is_dir():  # ROS installed with pip
        defaults["AMENT_PREFIX_PATH"] = sys.prefix
    return {**defaults, **environment}
