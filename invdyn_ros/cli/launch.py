"""`invdyn launch`: a graph's name and arguments enter, its nodes run until the run ends."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from invdyn_ros.cli.processes import Processes
from invdyn_ros.graph import GRAPHS, Graph, NodeSpec, find_graph, resolve

USAGE = "usage: invdyn launch {} [name:=value ...] [--show-args]".format("|".join(GRAPHS))


def main(argv: list[str] | None = None) -> int:
    """Launch the graph that the command line names; return the exit code of the run."""
    words = sys.argv[1:] if argv is None else argv
    options = [word for word in words if word.startswith("-")]
    if {"-h", "--help"} & set(options):
        print(_help())
        return 0
    for option in options:
        if option not in ("-s", "--show-args"):
            raise ValueError(f"unknown option {option}; {USAGE}")
    names = [word for word in words if word not in options and ":=" not in word]
    if len(names) != 1:
        raise ValueError(
            f"expected the name of one graph, got {' '.join(names) or 'none'}; {USAGE}"
        )
    values = dict(word.split(":=", 1) for word in words if ":=" in word)
    if options:
        print(show_arguments(find_graph(names[0])))
        return 0
    return launch(resolve(names[0], values))


def launch(specs: list[NodeSpec]) -> int:
    """Start each node in its own process and wait until one of them ends the run.

    Returns:
        0 when the node that ends the graph has ended well, else the code of the node that died;
        130 after Ctrl-C, 143 after SIGTERM.
    """
    import cv2  # noqa: F401  each node would fail on a missing libGL; say it once, before any starts

    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder, Processes() as processes:
        for spec in specs:
            file = Path(folder) / f"{spec.name}.yaml"
            file.write_text(parameters_yaml(spec), encoding="utf-8")
            environment = {**child_environment(os.environ), **spec.environment}
            processes.start(spec.name, command(spec, file), environment, spec.ends_graph)
        return processes.wait()


def command(spec: NodeSpec, parameters: Path) -> list[str]:
    """Command line of a node's process."""
    ros = ["--ros-args", "-r", f"__node:={spec.name}", "--params-file", str(parameters)]
    return [sys.executable, "-m", spec.module, *ros]


def parameters_yaml(spec: NodeSpec) -> str:
    """ROS parameter file of a node; YAML keeps text, whole numbers and numbers apart."""
    return yaml.safe_dump({"/**": {"ros__parameters": dict(spec.parameters)}})


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment of a node: what the user set, else this machine only and one thread a node."""
    defaults = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    if "ROS_LOCALHOST_ONLY" not in environment:
        defaults["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if Path(sys.prefix, "share", "ament_index").is_dir():  # ROS from wheels
        defaults["AMENT_PREFIX_PATH"] = sys.prefix
    return {**defaults, **environment}


def show_arguments(graph: Graph) -> str:
    """List the arguments of a graph: name, choices, default, description."""
    lines = []
    for argument in graph.arguments:
        kind = "|".join(argument.choices) or argument.kind.__name__
        lines += [f"  {argument.name}:={kind}  (default '{argument.default}')"]
        lines += [f"      {argument.description}"]
    return "\n".join(lines)


def _help() -> str:
    graphs = [f"  {name:<10} {graph.description}" for name, graph in GRAPHS.items()]
    return "\n".join([USAGE, "", *graphs, "", "Ctrl-C ends all nodes."])
