"""Lookup of the arm of a graph: by name, in a file of the user, or as its driver describes it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from invdyn_ros.config import load_yaml
from invdyn_ros.data.cache import cached_file
from invdyn_ros.graph.launcher import child_environment
from invdyn_ros.graph.templates import ArgumentValues
from invdyn_ros.graph.topics import ROBOT_DESCRIPTION
from invdyn_ros.robots.arm_file import ARM_FILE_SUFFIX, wider_limits
from invdyn_ros.robots.link_frames import without_prefix
from invdyn_ros.robots.registry import SHIPPED, load_robot_spec, register_arm
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.urdf import load_urdf, parse_urdf
from invdyn_ros.robots.urdf_text import urdf_name

DEFAULT_ARM = "ur5"
READER = "invdyn_ros.nodes.robot_description_reader"


class ResolvedArm(NamedTuple):
    """An arm of a graph.

    Attributes:
        name: its name.
        source: its name or file, as the nodes get it.
    """

    name: str
    source: str


def resolve_arm(values: ArgumentValues, environment: Mapping[str, str]) -> ResolvedArm:
    """Return the arm of a graph, which from then on is known by its name.

    Limits that are wider than those of its URDF are printed.

    Args:
        values: launch arguments, of which arm, urdf, namespace and tf_prefix are used.
        environment: variables with the domain of the graph.

    Raises:
        ValueError: the arm is unknown, its file is wrong, or nobody describes it.
    """
    arm = values["arm"] or (DEFAULT_ARM if not values["urdf"] else "")
    if values["urdf"]:
        arm = str(_file_with_urdf(arm, *_urdf(values, environment)))
    if not arm.endswith(ARM_FILE_SUFFIX):
        load_robot_spec(arm)  # raises
        return ResolvedArm(arm, arm)
    file = str(Path(arm).absolute())
    name = register_arm(file)
    for limit in wider_limits(load_robot_spec(name), load_urdf(load_robot(name).urdf)):
        print(f"warning: {arm}: {limit}", file=sys.stderr)
    return ResolvedArm(name, file)


def _urdf(values: ArgumentValues, environment: Mapping[str, str]) -> tuple[Path, str]:
    """Return the file of a URDF, and the name of the arm in it."""
    if values["urdf"] != ROBOT_DESCRIPTION:
        path = Path(values["urdf"]).absolute()
        load_urdf(path)  # raises before any node starts
        return path, urdf_name(path)
    text = without_prefix(_published_description(values, environment), values["tf_prefix"])
    path = cached_file(f"{ROBOT_DESCRIPTION}.urdf", text)
    name = parse_urdf(text, ROBOT_DESCRIPTION).get("name") or ROBOT_DESCRIPTION
    return path, re.sub(r"\W", "_", name)


def _file_with_urdf(arm: str, urdf: Path, name: str) -> Path:
    """Return the file of an arm with another URDF.

    Args:
        arm: name or file of the arm; empty: the one that has the name in the URDF.
        urdf: file of the URDF.
        name: name in the URDF.
    """
    fields: dict[str, Any] = {"urdf": str(urdf)}
    if arm.endswith(ARM_FILE_SUFFIX):
        file = Path(arm).absolute()
        fields, name = load_yaml(file) | fields, file.stem
        if "driver" in fields:
            fields["driver"] = str(file.parent / str(fields["driver"]))
    else:
        name = arm or name
        fields |= {"arm": name} if name in SHIPPED else {}
    return cached_file(f"{name}{ARM_FILE_SUFFIX}", yaml.safe_dump(fields))


def _published_description(values: ArgumentValues, environment: Mapping[str, str]) -> str:
    """Return the URDF that the driver of the arm publishes."""
    place = ["-r", f"__ns:=/{values['namespace'].strip('/')}"] if values["namespace"] else []
    done = subprocess.run(
        [sys.executable, "-m", READER, "--ros-args", *place],
        env={**child_environment(os.environ), **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        *_, line = ["", *done.stderr.strip().splitlines()]
        raise ValueError(line or f"{ROBOT_DESCRIPTION} was not read: code {done.returncode}")
    return done.stdout
