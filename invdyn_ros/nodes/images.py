"""Conversion between image messages and arrays, and intrinsics of a camera."""

import array
from typing import NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from invdyn_ros.nodes.messages import ForeignMessage
from invdyn_ros.typing import Array

Channels = NDArray[np.uint8]


class Encoding(NamedTuple):
    """Layout of the pixels of an image.

    Attributes:
        num_values: values per pixel.
        num_bytes: bytes per value.
        channels: indices of red, green and blue; None if OpenCV converts the pixels.
        conversion: name of OpenCV's conversion to RGB.
    """

    num_values: int
    num_bytes: int = 1
    channels: tuple[int, int, int] | None = None
    conversion: str = ""


CHANNELS = {
    "rgb": (3, (0, 1, 2)),
    "bgr": (3, (2, 1, 0)),
    "rgba": (4, (0, 1, 2)),
    "bgra": (4, (2, 1, 0)),
    "mono": (1, (0, 0, 0)),
}
# OpenCV names a Bayer pattern by the second row and column
BAYER = {"rggb": "BayerBG", "bggr": "BayerRG", "gbrg": "BayerGR", "grbg": "BayerGB"}
YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}
ENCODINGS = {
    f"{name}{8 * num_bytes}": Encoding(num_values, num_bytes, channels)
    for num_bytes in (1, 2)
    for name, (num_values, channels) in CHANNELS.items()
}
ENCODINGS |= {
    f"bayer_{name}{8 * num_bytes}": Encoding(1, num_bytes, conversion=f"COLOR_{pattern}2RGB")
    for num_bytes in (1, 2)
    for name, pattern in BAYER.items()
}
ENCODINGS |= {
    name: Encoding(2, conversion=f"COLOR_YUV2RGB_{layout}") for name, layout in YUV.items()
}
DISTORTION_LENGTHS = {
    "": (0, 4, 5, 8, 12, 14),
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
}  # number of coefficients of the distortion models that OpenCV's pinhole camera has


def image_to_message(image: Channels, stamp: Time, frame_id: str) -> Image:
    """Return an rgb8 message.

    Args:
        image: (H, W, 3) uint8 RGB.
        stamp: time of exposure.
        frame_id: name of the optical frame.
    """
    height, width = image.shape[:2]
    # array.array is the only type that rclpy does not check element by element.
    return Image(
        header=Header(stamp=stamp, frame_id=frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=array.array("B", np.ascontiguousarray(image).tobytes()),
    )


def image_to_array(message: Image) -> Channels:
    """Return the RGB image (H, W, 3) uint8 of a message; of 16 bits, the upper 8 are kept.

    Raises:
        ForeignMessage: unsupported encoding, no pixels, or another amount of data.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ForeignMessage(
            f"image encoding '{message.encoding[:40]}' is not supported; send one of "
            f"{', '.join(ENCODINGS)}"
        )
    pixels = _pixels(message, encoding)  # (H, W, values)
    if encoding.channels is not None:
        if encoding.channels == (0, 1, 2) and encoding.num_values == 3:
            return pixels
        return np.ascontiguousarray(pixels[..., encoding.channels])
    if min(pixels.shape[:2]) < 2 or pixels.shape[1] % 2:
        raise ForeignMessage(
            f"image of {message.width}x{message.height} {message.encoding}; its width must be "
            "even and both sides at least 2 pixels"
        )
    import cv2  # slow to import

    return np.asarray(cv2.cvtColor(pixels, getattr(cv2, encoding.conversion)), np.uint8)


def _pixels(message: Image, encoding: Encoding) -> Channels:
    """Return the upper byte of each value, (H, W, values)."""
    height, width, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    num_bytes = width * encoding.num_values * encoding.num_bytes  # of a row without padding
    if not height * width or step < num_bytes or data.size != step * height:
        raise ForeignMessage(
            f"image of {width}x{height} {message.encoding} with step {step} and {data.size} bytes;"
            f" it needs a step of {num_bytes} or more and step times height bytes"
        )
    rows = data.reshape(height, step)[:, :num_bytes]
    if encoding.num_bytes == 2:
        rows = rows[:, 0 if message.is_bigendian else 1 :: 2]
    return np.ascontiguousarray(rows).reshape(height, width, encoding.num_values)


def camera_info_message(
    camera_matrix: Array, width: int, height: int, stamp: Time, frame_id: str
) -> CameraInfo:
    """Return the CameraInfo of a pinhole camera without distortion.

    Args:
        camera_matrix: (3, 3) [px].
        width: width of the images [px].
        height: height of the images [px].
        stamp: time of the image.
        frame_id: name of the optical frame.
    """
    k = np.asarray(camera_matrix, float)
    return CameraInfo(
        header=Header(stamp=stamp, frame_id=frame_id),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=k.flatten().tolist(),
        r=np.eye(3).flatten().tolist(),
        p=np.hstack([k, np.zeros((3, 1))]).flatten().tolist(),
    )


def message_to_intrinsics(message: CameraInfo) -> tuple[Array, Array]:
    """Return the camera matrix (3, 3) [px] and the distortion coefficients of a pinhole camera.

    Raises:
        ForeignMessage: not calibrated, not finite, or another camera model.
    """
    k, d = np.array(message.k).reshape(3, 3), np.array(message.d, float)
    if not (k[0, 0] > 0 and k[1, 1] > 0):
        raise ForeignMessage(
            "camera_info is not calibrated (K is zero); calibrate the camera, for example with "
            "camera_calibration"
        )
    if not (np.isfinite(k).all() and np.isfinite(d).all()):
        raise ForeignMessage("camera_info has values that are not finite")
    model = message.distortion_model
    if d.size not in DISTORTION_LENGTHS.get(model, ()):
        raise ForeignMessage(
            f"camera_info has the distortion model '{model[:40]}' with {d.size} coefficients; "
            f"known models are {', '.join(filter(None, DISTORTION_LENGTHS))}"
        )
    return k, d
