"""Which machines find the nodes of a graph, and may then command its arm."""

from __future__ import annotations

from collections.abc import Mapping

RANGE, LOCALHOST_ONLY = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"
OPEN_RANGES = ("SUBNET", "SYSTEM_DEFAULT")
SECURED = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce"}


def discovery_environment(discovery: str, shell: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that limit discovery, beside those of the shell.

    Args:
        discovery: localhost or subnet; auto: localhost unless the shell has a limit.
        shell: its environment variables.
    """
    if discovery == "auto":
        return {} if {RANGE, LOCALHOST_ONLY} & shell.keys() else {RANGE: "LOCALHOST"}
    older = {LOCALHOST_ONLY: "0"} if LOCALHOST_ONLY in shell else {}  # it would win
    return {RANGE: discovery.upper(), **older}


def open_network_warning(environment: Mapping[str, str]) -> str | None:
    """Return what it means that other machines find the nodes, None where they do not."""
    is_open = environment.get(RANGE) in OPEN_RANGES and environment.get(LOCALHOST_ONLY) != "1"
    if not is_open or SECURED.items() <= environment.items():
        return None
    return (
        "discovery is open to the subnet: whoever is on this network can see the camera, and "
        "command and stop the arm; docs/network_and_security.md says how to limit that"
    )
