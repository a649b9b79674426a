"""Graphs of nodes by name.

`resolve` turns launch arguments into the nodes to start, for the launch files and `invdyn launch`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from invdyn_ros.config import from_strings
from invdyn_ros.graph.arms import resolve_arm
from invdyn_ros.graph.common_values import resolve_common
from invdyn_ros.graph.composition import compose
from invdyn_ros.graph.discovery import discovery_environment
from invdyn_ros.graph.grasp_sim import GRASP_SIM
from invdyn_ros.graph.gravity_compensation import GRAVITY_COMPENSATION
from invdyn_ros.graph.node_spec import NodeSpec, ParameterValue
from invdyn_ros.graph.play_motion import PLAY_MOTION
from invdyn_ros.graph.teleop import TELEOP
from invdyn_ros.graph.templates import ArgumentValues, Graph, NodeTemplate
from invdyn_ros.graph.transport import transport_environment

GRAPHS = {
    "teleop": TELEOP,
    "grasp_sim": GRASP_SIM,
    "gravity_compensation": GRAVITY_COMPENSATION,
    "play_motion": PLAY_MOTION,
}


def find_graph(name: str) -> Graph:
    """Return a graph by name.

    Raises:
        ValueError: the graph is unknown; the message lists the known ones.
    """
    if name not in GRAPHS:
        raise ValueError(f"no graph '{name}'; there are {', '.join(GRAPHS)}")
    return GRAPHS[name]


def resolve(graph_name: str, arguments: Mapping[str, str]) -> list[NodeSpec]:
    """Turn launch arguments into the nodes to start, after checking all of them.

    Args:
        graph_name: key of GRAPHS.
        arguments: argument name -> text.

    Raises:
        ValueError: unknown graph or argument, a value that is not allowed, or a missing file.
    """
    graph = find_graph(graph_name)
    parsed = from_strings(graph.arguments, arguments, f"launch arguments of {graph_name}")
    values: ArgumentValues = {**vars(parsed), "graph": graph_name}
    values["needs_torque"] = graph.needs_torque
    environment = discovery_environment(values["discovery"], os.environ)
    if (domain := values["domain"]) >= 0:
        environment["ROS_DOMAIN_ID"] = str(domain)
    values["arm"], values["arm_source"] = resolve_arm(values, environment)
    resolve_common(values)
    graph.resolve_values(values)
    specs = [
        NodeSpec(
            template.executable,
            template.executable,
            _parameters(template, values),
            template.ends_graph,
            environment,
            template.is_optional,
            values["namespace"].strip("/"),
            values["remappings"],
        )
        for template in graph.nodes
        if template.condition(values)
    ]
    if values["composed"]:
        specs = compose(specs)
    return [_with_transport(spec) for spec in specs]


def _with_transport(spec: NodeSpec) -> NodeSpec:
    """Return a process with the environment of its transport."""
    transport = transport_environment(spec.composed or (spec.executable,))
    return replace(spec, environment={**spec.environment, **transport})


def _parameters(template: NodeTemplate, values: ArgumentValues) -> dict[str, ParameterValue]:
    """Return the ROS parameters of a node; an empty text is left out."""
    names = (*template.parameter_names, "use_sim_time")
    if "tf_prefix" in names:  # whoever has the prefix of the joints has their other names
        names += ("joint_map",)
    texts = {**values, "arm": values["arm_source"]}
    return {name: texts[name] for name in names if texts.get(name, "") != ""}
