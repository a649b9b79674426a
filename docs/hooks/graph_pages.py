"""Pages of launch arguments, nodes with their ROS parameters, topics and services, and reasons."""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

import yaml
from source_index import ROOT, DataClass, Field, classes, trees
from tables import code, field_table, stacked, table, text_cell

from invdyn_ros.graph.graph import GRAPHS
from invdyn_ros.graph.launch_arguments import launch_arguments

LAUNCH = """# Launch arguments

`invdyn launch {graph} name:=value ...`, or `ros2 launch invdyn_ros {graph}.launch.py name:=value`.
"""
NODES = """# Nodes and ROS parameters

The launch files set these parameters. `ros2 run invdyn_ros NODE --ros-args -p name:=value`, or
`python -m invdyn_ros.nodes.NODE --ros-args -p name:=value`, sets them by hand; a nested
field is in a YAML file of parameters. `ros2 param describe` shows meaning, type and range.

A **reconfigurable** parameter acts while the node runs: `ros2 param set NODE NAME VALUE`. A new
speed acts on the next plan; the present one is verified, and goes on. All others are read-only,
and a value that is not allowed is refused with its reason.
"""

TROUBLESHOOTING = {
    "fault": "stops the arm until it is engaged again",
    "hold": "ends by itself with its cause",
    "refusal": "answers `invdyn engage`",
    "notice": "moves nothing; the arm goes on",
}


def launch_page() -> str:
    """Return the page of the launch arguments."""
    parts = [LAUNCH.format(graph="GRAPH")]
    for name, graph in GRAPHS.items():
        rows = [
            (
                code(f"{a.name}:="),
                code("\\|".join(a.choices) or a.type).replace("\\", ""),
                code(a.default),
                text_cell(a.description),
            )
            for a in launch_arguments(graph.arguments)
        ]
        header = ("argument", "value", "default", "meaning")
        parts.append(
            f"## {name}\n\n{graph.description.capitalize()}.\n\n{stacked(table(header, rows))}\n"
        )
    return "\n".join(parts)


def nodes_page() -> str:
    """Return the page of the nodes and their parameters."""
    parts = [NODES]
    for node in nodes():
        summary = (ast.get_docstring(trees()[f"nodes.{node}"]) or "").split("\n\n")[0]
        parts.append(f"## {node}\n\n{text_cell(' '.join(summary.split()))}\n")
        fields = parameters(node)
        parts.append(f"{field_table(fields)}\n" if fields else "No parameters.\n")
    return "\n".join(parts)


@cache
def nodes() -> tuple[str, ...]:
    """Return the modules of invdyn_ros.nodes that are processes."""
    names = [name for name in trees() if name.startswith("nodes.")]
    return tuple(
        name.split(".")[1]
        for name in names
        if any(getattr(n, "name", "") == "main" for n in trees()[name].body)
    )


def parameters(node: str) -> list[Field]:
    """Return the ROS parameters of a node: the fields of the dataclasses that it loads."""
    return [field for item in _loaded(node) for field in item.fields]


def _loaded(node: str) -> list[DataClass]:
    names = [
        ast.unparse(call.args[1])
        for call in ast.walk(trees()[f"nodes.{node}"])
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "load_parameters"
    ]
    return [classes()[name] for name in dict.fromkeys(names)]


def read_yaml(name: str) -> dict[str, Any]:
    """Return a YAML file beside this module."""
    text = (ROOT / "docs/hooks" / name).read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def topics_table() -> str:
    """Return the tables of topics and services."""
    data = read_yaml("topics.yaml")
    rows = (
        (code(name), t["type"], f"{t['from']} → {t['to']}", text_cell(t["meaning"]))
        for name, t in data["topics"].items()
    )
    services = (
        (code(name), s["type"], text_cell(s["meaning"])) for name, s in data["services"].items()
    )
    topics = table(("topic", "type", "from → to", "meaning"), rows)
    return stacked(topics) + stacked(table(("service", "type", "meaning"), services))


def reasons_table() -> str:
    """Return the tables of faults, holds and refusals."""
    parts = ["\n".join(f"- A **{kind}** {text}." for kind, text in TROUBLESHOOTING.items())]
    for heading, reasons in read_yaml("reasons.yaml").items():
        rows = (
            (code(r["reason"]), r["kind"], text_cell(r["cause"]), r["remedy"]) for r in reasons
        )
        reasons_of = table(("message", "kind", "cause", "remedy"), rows)
        parts.append(f"### {heading}\n\n{stacked(reasons_of)}")
    return "\n\n".join(parts) + "\n"
