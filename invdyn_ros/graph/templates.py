"""Graphs and their nodes before the launch arguments have values, and the nodes of every graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from invdyn_ros.graph.arguments import CommonArguments
from invdyn_ros.robots.robot import ROBOTS

ArgumentValues = dict[str, Any]  # values of the launch arguments, and values derived from them


@dataclass(frozen=True)
class NodeTemplate:
    """A node of a graph, before the values of the launch arguments are known."""

    executable: str
    parameter_names: tuple[str, ...] = ()
    """Values that are set as ROS parameters of the same name."""
    condition: Callable[[ArgumentValues], bool] = lambda values: True
    """Whether the node is started."""
    ends_graph: bool = False
    is_optional: bool = False


@dataclass(frozen=True)
class Graph:
    """A set of nodes and the launch arguments that configure them."""

    description: str
    arguments: type[CommonArguments]
    nodes: tuple[NodeTemplate, ...]
    resolve_values: Callable[[ArgumentValues], None]
    """Checks the values against each other and adds derived values."""
    needs_torque: bool = False
    """Whether the arm has to take torques."""


INVERSE_DYNAMICS_PARAMETERS = (
    "arm",
    "driver",
    "checkpoint",
    "unsafe",
    "device",
    "engaged",
    "lockstep",
    "target_rate",
    "state_predictor",
    "simulated_time",
    "joint_state_timeout",
    "max_gap",
    "position_jump",
    "servo_lag",
    "resume",
    "speed",
    "tool_speed",
    "obstacles",
    "payload",
    "tf_prefix",
)
SIMULATOR_PARAMETERS = (
    "arm",
    "unit",
    "seed",
    "lockstep",
    "wall_clock",
    "headless",
    "wait_for_topics",
    "obstacles",
    "payload",
    "tf_prefix",
)
REPORT_PARAMETERS = (
    "graph",
    "arm",
    "checkpoint",
    "lockstep",
    "report",
    "record",
    "storage",
    "duration",
    "obstacles",
    "tf_prefix",
)


def is_simulated(values: ArgumentValues) -> bool:
    """Return whether the arm is a simulated one."""
    return values["target"] == "sim"


def set_lockstep(values: ArgumentValues, lockstep: bool) -> None:
    """Set whether the nodes wait for each other, in simulated time, and what follows from it."""
    values["lockstep"] = values["simulated_time"] = lockstep
    values["wall_clock"] = not lockstep
    values["resume"] = is_simulated(values) and not lockstep


def driver_templates() -> tuple[NodeTemplate, ...]:
    """Return the driver nodes of real arms, each started for its own arm."""
    nodes = dict.fromkeys(spec.driver_node for spec in ROBOTS.values() if spec.driver_node)
    return tuple(
        NodeTemplate(node, ("tf_prefix",), partial(_needs_driver, node)) for node in nodes
    )


def state_template() -> NodeTemplate:
    """Return the description of a real arm; the simulator has that of a simulated one."""
    return NodeTemplate(
        "robot_state",
        ("arm", "tf_prefix"),
        lambda values: values["description"] and not is_simulated(values),
        is_optional=True,
    )


def view_template(*parameter_names: str) -> NodeTemplate:
    """Return the live window, whose end must not stop an arm."""
    names = ("graph", "arm", "target", "obstacles", "checkpoint", "view_port", "tf_prefix")
    return NodeTemplate(
        "view", (*names, *parameter_names), lambda values: values["view"], is_optional=True
    )


def _needs_driver(node: str, values: ArgumentValues) -> bool:
    is_own = ROBOTS[values["arm"]].driver_node == node and not values["driver"]
    return values["target"] == "real" and is_own
