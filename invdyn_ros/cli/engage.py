"""`invdyn engage`: let the arm of a running graph move."""

from __future__ import annotations

from dataclasses import dataclass

from invdyn_ros.cli.options import parse
from invdyn_ros.nodes.graph_client import GraphOptions
from invdyn_ros.nodes.service_call import engage_arm


@dataclass(frozen=True, kw_only=True)
class EngageOptions(GraphOptions):
    """Let the arm of a running graph move, from where it is measured; it must be at rest."""

    off: bool = False
    """Disengage it: it gets no more commands."""


def main(argv: list[str] | None = None) -> int:
    """Call the service, print its answer and return the exit code: 1 if it was refused."""
    options = parse(EngageOptions, argv, "engage")
    return engage_arm(options, not options.off)
