"""`invdyn visualize KIND`: write a film or a page of a model, or the page of a report."""

from __future__ import annotations

from typing import Annotated, Any

import tyro

from invdyn_ros.cli.options import parse
from invdyn_ros.cli.visualize_network import NetworkOptions, write_network
from invdyn_ros.cli.visualize_report import ReportOptions, write_report
from invdyn_ros.cli.visualize_trajectories import TrajectoryOptions, write_trajectories

WRITERS: dict[type, Any] = {
    TrajectoryOptions: write_trajectories,
    NetworkOptions: write_network,
    ReportOptions: write_report,
}
"""Options of a kind -> function that writes its files and returns their paths."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    commands: Any = (
        Annotated[TrajectoryOptions, tyro.conf.subcommand("trajectories")]
        | Annotated[NetworkOptions, tyro.conf.subcommand("network")]
        | Annotated[ReportOptions, tyro.conf.subcommand("report")]
    )
    options = parse(Annotated[commands, tyro.conf.OmitArgPrefixes], argv, "visualize")
    for file in WRITERS[type(options)](options):
        print(file)
    return 0
