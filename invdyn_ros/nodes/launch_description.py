"""Launch descriptions of the graphs for `ros2 launch`.

Needs the ROS packages launch and launch_ros, which are installed wherever launch files run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node

from invdyn_ros.graph.discovery import open_network_warning
from invdyn_ros.graph.graph import GRAPHS, resolve
from invdyn_ros.graph.graph_lock import GraphLock, take_lock
from invdyn_ros.graph.launch_arguments import LaunchArgument, given_arguments, launch_arguments
from invdyn_ros.graph.node_spec import NodeSpec
from invdyn_ros.graph.processes import LAUNCHER_VARIABLE, REPORT_TIMEOUT

LOCKS: list[GraphLock] = []  # of the graphs of this process


def launch_description(graph_name: str) -> LaunchDescription:
    """Return the launch description of a graph: its launch arguments and its nodes."""
    declarations = [
        _declare(argument) for argument in launch_arguments(GRAPHS[graph_name].arguments)
    ]
    return LaunchDescription([*declarations, OpaqueFunction(function=_nodes, args=[graph_name])])


def _declare(argument: LaunchArgument) -> DeclareLaunchArgument:
    return DeclareLaunchArgument(
        argument.name,
        default_value=argument.default,
        description=argument.description,
        choices=list(argument.choices) or None,
    )


def _nodes(context: LaunchContext, graph_name: str) -> list[Node | LogInfo]:
    names = {field.name for field in fields(GRAPHS[graph_name].arguments)}
    # launch also holds configurations of its own and of an including file
    values = {k: v for k, v in context.launch_configurations.items() if k in names}
    folder = Path(context.get_locals_as_dict().get("current_launch_file_directory", ""))
    # launch takes any name on its command line; `resolve` refuses unknown ones
    values |= given_arguments(sys.argv, folder / f"{graph_name}.launch.py")
    specs = resolve(graph_name, values)
    _refuse_second_graph(context, specs[0])
    warning = open_network_warning({**os.environ, **specs[0].environment})
    return [*([LogInfo(msg=warning)] if warning else []), *map(_node, specs)]


def _refuse_second_graph(context: LaunchContext, spec: NodeSpec) -> None:
    """Take the lock of a graph until this process ends.

    Raises:
        ValueError: a graph runs already in this domain and namespace.
    """
    outer = context.launch_configurations.get("ros_namespace", "")  # of an including launch file
    lock = take_lock(spec, outer)
    LOCKS.append(lock)
    if lock.socket is not None and context.asyncio_loop is not None:
        context.asyncio_loop.add_reader(lock.socket, lock.report_attempts)


def _node(spec: NodeSpec) -> Node:
    return Node(
        package="invdyn_ros",
        executable=spec.executable,
        name=None if spec.composed else spec.name,
        namespace=spec.namespace or None,  # None: that of an including launch file
        arguments=list(spec.composed),
        parameters=[dict(spec.parameters)],
        remappings=list(spec.remappings.items()),
        additional_env={**spec.environment, LAUNCHER_VARIABLE: str(os.getpid())},
        output="screen",
        on_exit=_exit_handler(spec),
        prefix=_interrupt_later(),
        # the node that ends the graph may have a report to write
        **({"sigterm_timeout": str(REPORT_TIMEOUT)} if spec.ends_graph else {}),
    )


@cache
def _interrupt_later() -> str | None:
    """Return a command that blocks SIGINT until the first import of a node, None without one.

    Python would print a traceback if Ctrl-C, which reaches all processes, comes before.
    """
    command = ["env", "--block-signal=INT"]  # coreutils 8.31
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return " ".join(command)


def _exit_handler(spec: NodeSpec) -> Callable[[ProcessExited, LaunchContext], Any]:
    """Return a handler of a node's exit; it ends the launch on failure or if the graph ends."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            if spec.is_optional:
                return None
            # nothing else makes `ros2 launch` exit with a code other than 0
            raise RuntimeError(f"node '{spec.name}' ended with code {event.returncode}")
        return Shutdown(reason=f"{spec.name} has finished") if spec.ends_graph else None

    return on_exit
