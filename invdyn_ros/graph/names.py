"""Namespace of a graph, and prefix of its joints and frames."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

CAMERA_FRAME = "camera_optical_frame"
"""Of the images of this package's camera nodes, without the prefix."""
PERSON_FRAME = "hip"
"""Of the landmarks, whose origin is between the hips of the person."""

NAMESPACE = re.compile(r"/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?", re.ASCII)
FRAME = re.compile(r"([\w-][\w/.-]*)?", re.ASCII)
MAX_LENGTH = 100  # of a namespace; ROS refuses names of topics that are longer than 248


def check_namespace(text: str) -> str:
    """Return a namespace as it is given.

    Raises:
        ValueError: it is none of ROS.
    """
    if not NAMESPACE.fullmatch(text) or len(text) > MAX_LENGTH:
        raise ValueError(
            f"{text!r} is not a namespace; give letters, digits and _, with single / between "
            f"names, at most {MAX_LENGTH}, as in left or cell_1/left"
        )
    return text


def check_frame(text: str) -> str:
    """Return the name of a frame, or a prefix of names, as it is given.

    Raises:
        ValueError: tf2 has no such frames.
    """
    if not FRAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a frame or a prefix of frames; give letters, digits and _, and no / "
            "at the beginning, as in left_"
        )
    return text


Namespace = Annotated[str, AfterValidator(check_namespace)]
FrameName = Annotated[str, AfterValidator(check_frame)]


def in_namespace(namespace: str, name: str) -> str:
    """Return the full name of a topic, service or node, whose name may be full already."""
    if name.startswith("/"):
        return name
    return "/" + "/".join(filter(None, (namespace.strip("/"), name)))


def option_of_namespace(namespace: str) -> str:
    """Return the option of a command for a graph in a namespace; empty for the root."""
    return f" --namespace {name}" if (name := namespace.strip("/")) else ""
