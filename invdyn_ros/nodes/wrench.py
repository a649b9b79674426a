"""Conversion of forces on the tip of an arm to messages and back."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import WrenchStamped

from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.typing import Array

MAX_FORCE = 1e3  # [N, N m]; more is an error of whoever sends it


def force_to_message(force: Array, names: RobotNames, stamp: Time) -> WrenchStamped:
    """Return a force (3,) [N] on the tip, along the axes of the base.

    Args:
        force: (3,) [N].
        names: names of the frames.
        stamp: time of the force.
    """
    message = WrenchStamped(header=names.header(stamp))
    f = message.wrench.force
    f.x, f.y, f.z = map(float, force)
    return message


def message_to_wrench(message: WrenchStamped, names: RobotNames) -> Array:
    """Return force [N] and torque [N m] (6,) on the tip, along the axes of the base.

    Raises:
        ForeignMessage: another frame, or values that are not finite or too large.
    """
    frame = message.header.frame_id
    if frame not in ("", names.base_link):
        raise ForeignMessage(f"the force is in frame '{frame}'; give it in '{names.base_link}'")
    f, t = message.wrench.force, message.wrench.torque
    wrench = np.array([f.x, f.y, f.z, t.x, t.y, t.z])
    if not (np.abs(wrench) < MAX_FORCE).all():  # also for NaN
        raise ForeignMessage(f"the force {wrench.tolist()} is not finite or above {MAX_FORCE:g} N")
    return wrench
