"""Conversion between CameraInfo messages and the intrinsics of a camera."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics


def camera_info_message(
    intrinsics: CameraIntrinsics | None, size: tuple[int, int], stamp: Time, frame_id: str
) -> CameraInfo:
    """Return the CameraInfo of an image.

    Args:
        intrinsics: of the camera, for images of this size; None: not calibrated, K is zero.
        size: width and height of the image [px].
        stamp: time of the image.
        frame_id: name of the optical frame.
    """
    message = CameraInfo(header=Header(stamp=stamp, frame_id=frame_id))
    message.width, message.height = size
    if intrinsics is not None:
        message.distortion_model = intrinsics.distortion_model
        message.d = intrinsics.distortion.tolist()
        message.k = intrinsics.camera_matrix.ravel().tolist()
        message.r = intrinsics.rectification.ravel().tolist()
        message.p = intrinsics.projection_matrix.ravel().tolist()
    return message


def message_to_intrinsics(message: CameraInfo) -> CameraIntrinsics:
    """Return the intrinsics for the images of a camera: of its region of interest, binned.

    Raises:
        ForeignMessage: not calibrated, not finite, an unknown distortion model, or a region that
            is not in the image.
    """
    k = np.array(message.k).reshape(3, 3)
    if not (k[0, 0] > 0 and k[1, 1] > 0) and not np.isnan(k).any():
        raise ForeignMessage(
            "camera_info is not calibrated (K is zero); calibrate the camera, for example with "
            "'invdyn calibrate camera'"
        )
    size, d = (message.width, message.height), np.array(message.d, float)
    model = message.distortion_model or ("plumb_bob" if d.size < 8 else "rational_polynomial")
    try:
        full = CameraIntrinsics(k, model, d, *size)
    except ValueError as error:
        raise ForeignMessage(f"camera_info: {error}") from None
    roi, binning = message.roi, (max(message.binning_x, 1), max(message.binning_y, 1))
    x, y, width, height = roi.x_offset, roi.y_offset, roi.width, roi.height
    if not (width and height):  # not set: the whole image
        x, y, (width, height) = 0, 0, size
    if any(size) and (x + width > size[0] or y + height > size[1]):
        raise ForeignMessage(
            f"camera_info has the region of interest {width}x{height} at ({x}, {y}), outside of "
            f"its image of {size[0]}x{size[1]}"
        )
    if (x, y, width, height) == (0, 0, *size) and binning == (1, 1):
        return full
    bx, by = binning
    return full.resampled((x, y), (1 / bx, 1 / by), (width // bx, height // by))


def check_size(intrinsics: CameraIntrinsics, size: tuple[int, int]) -> None:
    """Raise ForeignMessage if an image does not have the size of its camera_info.

    Args:
        intrinsics: those of the camera_info.
        size: width and height of the image [px].
    """
    if any(intrinsics.size) and size != intrinsics.size:
        expected = "{}x{}".format(*intrinsics.size)
        raise ForeignMessage(
            f"image of {size[0]}x{size[1]}; camera_info is of an image of {expected}; publish "
            "that of these images, with binning or region of interest where they are a part"
        )
