"""Nodes that share a process: which they are, and how they become one entry of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from invdyn_ros.graph.node_spec import NodeSpec

COMPOSED = "composed"  # executable and name of the process
# In the order in which they are created, that which feeds the others last. None of them is part of
# the control loop, whose joint states must not wait for the interpreter.
COMPOSABLE = ("grasp", "pose", "retarget", "blocks", "block_pose", "camera")


def compose(specs: Sequence[NodeSpec]) -> list[NodeSpec]:
    """Return the processes of a graph with all composable nodes in one.

    All nodes of a graph take the value of a parameter from the same launch arguments, so nodes of
    one process can share their parameters.
    """
    parts = [spec for name in COMPOSABLE for spec in specs if spec.executable == name]
    if len(parts) < 2:
        return list(specs)
    parameters = {name: value for part in parts for name, value in part.parameters.items()}
    process = replace(parts[0], name=COMPOSED, executable=COMPOSED, parameters=parameters)
    names = tuple(part.executable for part in parts)
    return [replace(process, composed=names), *(spec for spec in specs if spec not in parts)]
