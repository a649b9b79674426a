"""`invdyn ping`: whether a graph and its arm answer, and what its nodes wait for."""

from __future__ import annotations

from dataclasses import dataclass

from invdyn_ros.cli.options import parse
from invdyn_ros.nodes.graph_client import GraphClient, GraphOptions
from invdyn_ros.nodes.graph_status import GraphStatus, read_graph_status

MAX_AGE = 10.0  # [s] beyond which stamps are those of another clock


@dataclass(frozen=True, kw_only=True)
class PingOptions(GraphOptions):
    """Say whether a graph and its arm answer, and what its nodes wait for.

    The exit code is 1 if a node has a fault or no joint states arrive.
    """


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    options = parse(PingOptions, argv, "ping")
    with GraphClient(options) as client:
        status = read_graph_status(client)
    print("\n".join(lines(status)))
    return 1 if status.is_faulty else 0


def lines(status: GraphStatus) -> list[str]:
    """Return the state of a graph in words."""
    text = [
        f"{name:<18}{level:<9}{message if message != level else ''}".rstrip()
        for name, (level, message) in sorted(status.nodes.items())
    ]
    if not status.joint_rate:
        return [*text, f"{'joint states':<18}none"]
    age = f", {1e3 * status.joint_age:.1f} ms old" if abs(status.joint_age) < MAX_AGE else ""
    return [*text, f"{'joint states':<18}{status.joint_rate:.0f} per s{age}"]
