"""Processes of a graph, ready to be started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ParameterValue = bool | int | float | str


@dataclass(frozen=True)
class NodeSpec:
    """One process to start: a module of `invdyn_ros.nodes` and its ROS parameters."""

    name: str
    executable: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    ends_graph: bool = False
    """Whether the run is complete when this node exits with code 0."""
    environment: Mapping[str, str] = field(default_factory=dict)
    is_optional: bool = False
    """Whether the run goes on without this node."""
    namespace: str = ""
    """Namespace of the node, without a slash at its ends."""
    remappings: Mapping[str, str] = field(default_factory=dict)
    """Name -> other name of topics."""
    composed: tuple[str, ...] = ()
    """Executables of the nodes that share this process; empty: it is one node of this name."""

    @property
    def module(self) -> str:
        """Module name for `python -m`."""
        return f"invdyn_ros.nodes.{self.executable}"
