"""Transport of the messages between the nodes of a graph."""

from __future__ import annotations

import os
from collections.abc import Iterable

from invdyn_ros.robots.robot import package_file

FASTDDS_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"  # environment variable of Fast DDS
IMAGE_SENDERS = {"camera", "scene_camera"}


def transport_environment(executables: Iterable[str]) -> dict[str, str]:
    """Return the environment that chooses the transport of a process; that of the shell wins.

    Args:
        executables: nodes of the process.
    """
    if FASTDDS_PROFILES in os.environ:
        return {}
    name = "fastdds_small.xml" if IMAGE_SENDERS.isdisjoint(executables) else "fastdds.xml"
    return {FASTDDS_PROFILES: str(package_file(f"config/{name}"))}
