"""Types of messages, services and actions of packages that may not be installed."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any


def interface_type(name: str) -> Any | None:
    """Return a message, service or action type, such as std_msgs/msg/Bool; None if not installed.

    Args:
        name: package, kind and name.
    """
    package, module, kind = name.split("/")
    try:
        return getattr(import_module(f"{package}.{module}"), kind, None)
    except ImportError:
        return None


def package_to_install(package: str) -> str:
    """Return the Debian package of a ROS package."""
    return f"ros-{os.environ.get('ROS_DISTRO', 'jazzy')}-{package.replace('_', '-')}"
