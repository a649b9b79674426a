"""`invdyn jog`: move one joint of the arm of a running graph a little, or its gripper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from pydantic import Field

from invdyn_ros.cli.options import parse
from invdyn_ros.nodes.graph_client import GraphClient, GraphOptions
from invdyn_ros.nodes.joint_jog import JointJog

GRIPPER = "gripper"
MAX_DISTANCE = 0.5  # [rad] of one move


@dataclass(frozen=True, kw_only=True)
class JogOptions(GraphOptions):
    """Move one joint of the arm of a running graph, or open and close its gripper.

    The arm is engaged and gets no other targets. The motion guard keeps the move within all
    limits. Start an arm without targets with 'invdyn launch grasp_sim policy:=none'.
    """

    joint: tyro.conf.Positional[str]
    """Name of the joint, or gripper."""
    distance: tyro.conf.Positional[Annotated[float, Field(ge=-MAX_DISTANCE, le=MAX_DISTANCE)]]
    """How far [rad], -0.5 to 0.5; of the gripper its opening [m], 0 to close it."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    options = parse(JogOptions, argv, "jog")
    with GraphClient(options) as client:
        if options.joint == GRIPPER:
            JointJog(client).open_gripper(options.distance)
            print(f"gripper commanded to {options.distance:.3f} m")
            return 0
        position = JointJog(client).move(options.joint, options.distance)
    print(f"{options.joint} is at {position:.3f} rad")
    return 0
