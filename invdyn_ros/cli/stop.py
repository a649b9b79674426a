"""`invdyn stop`: stop the arm of a running graph."""

from __future__ import annotations

from dataclasses import dataclass

from invdyn_ros.cli.options import parse
from invdyn_ros.nodes.graph_client import GraphOptions
from invdyn_ros.nodes.service_call import stop_arm


@dataclass(frozen=True, kw_only=True)
class StopOptions(GraphOptions):
    """Stop the arm of a running graph until it is engaged again."""


def main(argv: list[str] | None = None) -> int:
    """Call the service, print its answer and return the exit code: 1 if it was refused."""
    return stop_arm(parse(StopOptions, argv, "stop"))
