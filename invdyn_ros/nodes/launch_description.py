"""The graphs for `ros2 launch`: a graph's name enters, its launch description leaves.

Needs the ROS packages launch and launch_ros, which a launch file can count on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node

from invdyn_ros.graph.arguments import LaunchArgument, launch_arguments
from invdyn_ros.graph.graph import GRAPHS, NodeSpec, resolve


def launch_description(graph_name: str) -> LaunchDescription:
    """Describe a graph: its arguments, and the nodes that follow from their values."""
    declared = [_declare(argument) for argument in launch_arguments(GRAPHS[graph_name].arguments)]
    return LaunchDescription([*declared, OpaqueFunction(function=_nodes, args=[graph_name])])


def _declare(argument: LaunchArgument) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        argument.name,
        default_value=argument.default,
        description=argument.description,
        choices=list(argument.choices) or None,
    )


def _nodes(context: LaunchContext, graph_name: str) -> list[Node]:
    known = {field.name for field in fields(GRAPHS[graph_name].arguments)}
    # launch adds configurations of its own, and those of an including file
    given = {k: v for k, v in context.launch_configurations.items() if k in known}
    return [_node(spec) for spec in resolve(graph_name, given)]


def _node(spec: NodeSpec) -> Node:
    return Node(
        package="invdyn_ros",
        executable=spec.executable,
        name=spec.name,
        parameters=[dict(spec.parameters)],
        additional_env=dict(spec.environment),
        output="screen",
        on_exit=_ending(spec),
    )


def _ending(spec: NodeSpec) -> Callable[[ProcessExited, LaunchContext], Any]:
    """What to do when a node's process has ended: nothing, end the run, or end it as failed."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            # the one way to make `ros2 launch` itself end with a code other than 0
            raise RuntimeError(f"node '{spec.name}' ended with code {event.returncode}")
        return Shutdown(reason=f"{spec.name} is done") if spec.ends_graph else None

    return on_exit
