"""Conversion between messages and the landmarks of a hand."""

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.teleop.hand_grip import NUM_HAND_LANDMARKS
from invdyn_ros.typing import Array

FIELDS = ("x", "y", "z")
POINT_STEP = 4 * len(FIELDS)  # [bytes]


def hand_to_cloud(hand: Array | None, header: Header) -> PointCloud2:
    """Return a cloud of the landmarks of a hand, empty without one.

    Args:
        hand: (21, 3) x, y, z [m]; None without a hand.
        header: frame and time of the image.
    """
    points = np.empty((0, 3), "<f4") if hand is None else hand.astype("<f4")
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(FIELDS)
        ],
        point_step=POINT_STEP,
        row_step=POINT_STEP * len(points),
        is_dense=True,
        data=points.tobytes(),
    )


def cloud_to_hand(message: PointCloud2) -> Array | None:
    """Return the landmarks (21, 3) [m] of a cloud, None without a hand.

    Raises:
        ForeignMessage: other fields, another number of points, or values that are not finite.
    """
    names = tuple(field.name for field in message.fields)
    types = {field.datatype for field in message.fields}
    offsets = tuple(field.offset for field in message.fields)
    is_packed = offsets == (0, 4, 8) and message.point_step == POINT_STEP
    if names != FIELDS or types != {PointField.FLOAT32} or not is_packed or message.is_bigendian:
        raise ForeignMessage(
            f"a hand needs packed fields x, y, z as little-endian float32, got {', '.join(names)}"
        )
    num_points = message.width * message.height
    if num_points == 0:
        return None
    if num_points != NUM_HAND_LANDMARKS or len(message.data) != num_points * POINT_STEP:
        raise ForeignMessage(
            f"a hand has {NUM_HAND_LANDMARKS} landmarks, the cloud has {num_points} points in "
            f"{len(message.data)} bytes"
        )
    points = np.frombuffer(message.data, "<f4").reshape(-1, 3).astype(float)
    if not np.isfinite(points).all():
        raise ForeignMessage("the landmarks of the hand are not finite")
    return points
