"""Transport of the messages between the nodes of a graph."""

from __future__ import annotations

import os

from invdyn_ros.robots.robot import package_file

FASTDDS_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"  # environment variable of Fast DDS
SMALL_SENDERS = ("inverse_dynamics", "simulator", "report", "dofbot")  # send no images


def transport_environment(executable: str) -> dict[str, str]:
    """Return the environment that chooses the transport of a node; that of the shell wins."""
    if FASTDDS_PROFILES in os.environ:
        return {}
    name = "fastdds_small.xml" if executable in SMALL_SENDERS else "fastdds.xml"
    return {FASTDDS_PROFILES: str(package_file(f"config/{name}"))}
