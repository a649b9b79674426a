"""`invdyn visualize KIND`: write a film or a page of a model."""

from __future__ import annotations

from typing import Annotated, Any

import tyro

from invdyn_ros.cli.options import parse
from invdyn_ros.cli.visualize_network import NetworkOptions, write_network
from invdyn_ros.cli.visualize_trajectories import TrajectoryOptions, write_trajectories


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    commands: Any = (
        Annotated[TrajectoryOptions, tyro.conf.subcommand("trajectories")]
        | Annotated[NetworkOptions, tyro.conf.subcommand("network")]
    )
    options = parse(Annotated[commands, tyro.conf.OmitArgPrefixes], argv, "visualize")
    write: Any = write_network if isinstance(options, NetworkOptions) else write_trajectories
    for file in write(options):
        print(file)
    return 0
