"""Statuses of the nodes of a graph, among those of all systems on the topic of diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

NODE_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def status_name(node: str, namespace: str) -> str:
    """Return the name of the status of a node, such as left/inverse_dynamics.

    Args:
        node: name of the node.
        namespace: namespace of the node.
    """
    return f"{namespace}/{node}".strip("/")


def own_statuses(message: DiagnosticArray, namespace: str) -> Iterator[DiagnosticStatus]:
    """Yield the statuses of the nodes of a namespace, each with the name of its node.

    Statuses of other packages, such as "ur_hardware: safety", do not have the name of a node.
    """
    prefix = status_name("", namespace)
    prefix = f"{prefix}/" if prefix else ""
    for status in message.status:
        name = status.name.removeprefix("/").removeprefix(prefix)
        if status_name(name, namespace) == status.name.strip("/") and NODE_NAME.fullmatch(name):
            status.name = name
            yield status
