"""Conversion between image messages, raw or compressed, and arrays."""

import array
from io import BytesIO
from typing import NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from invdyn_ros.native_output import suppress_native_output
from invdyn_ros.nodes.messages import ForeignMessage

Channels = NDArray[np.uint8]


class Encoding(NamedTuple):
    """Layout of the pixels of an image.

    Attributes:
        num_values: values per pixel of a row.
        num_bytes: bytes per value.
        channels: indices of red, green and blue; None if OpenCV converts the pixels.
        conversion: name of OpenCV's conversion to RGB.
        num_planes: size of the image over that of its first plane, which has the rows.
    """

    num_values: int
    num_bytes: int = 1
    channels: tuple[int, int, int] | None = None
    conversion: str = ""
    num_planes: float = 1


CHANNELS = {
    "rgb": (3, (0, 1, 2)),
    "bgr": (3, (2, 1, 0)),
    "rgba": (4, (0, 1, 2)),
    "bgra": (4, (2, 1, 0)),
    "mono": (1, (0, 0, 0)),
}
OPENCV_TYPES = {"UC1": "mono", "UC3": "bgr", "UC4": "bgra"}  # the colours are those of OpenCV
# OpenCV names a Bayer pattern by the second row and column
BAYER = {"rggb": "BayerBG", "bggr": "BayerRG", "gbrg": "BayerGR", "grbg": "BayerGB"}
YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}
ENCODINGS = {
    f"{name}{8 * num_bytes}": Encoding(num_values, num_bytes, channels)
    for num_bytes in (1, 2)
    for name, (num_values, channels) in CHANNELS.items()
}
ENCODINGS |= {
    f"{8 * num_bytes}{name}": ENCODINGS[f"{same}{8 * num_bytes}"]
    for num_bytes in (1, 2)
    for name, same in OPENCV_TYPES.items()
}
ENCODINGS |= {
    f"bayer_{name}{8 * num_bytes}": Encoding(1, num_bytes, conversion=f"COLOR_{pattern}2RGB")
    for num_bytes in (1, 2)
    for name, pattern in BAYER.items()
}
ENCODINGS |= {
    name: Encoding(2, conversion=f"COLOR_YUV2RGB_{layout}") for name, layout in YUV.items()
}
ENCODINGS |= {
    "nv12": Encoding(1, conversion="COLOR_YUV2RGB_NV12", num_planes=1.5),
    "nv21": Encoding(1, conversion="COLOR_YUV2RGB_NV21", num_planes=1.5),
    "nv24": Encoding(1, conversion="COLOR_YUV2RGB_NV12", num_planes=3),
}
MAX_PIXELS = 50_000_000  # of a compressed image
IMAGE_ENDS, END_SIZE = (b"\xff\xd9", b"IEND"), 64  # last bytes of JPEG and PNG files


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
            "rgb8, bgr8, rgba8, bgra8, mono8, 8UC1, 8UC3, 8UC4, bayer_rggb8 and its kind, the "
            "same with 16 for 8, uyvy, yuyv, nv12, nv21, nv24"
        )
    pixels = _pixels(message, encoding)  # (H, W, values)
    if encoding.channels is not None:
        if encoding.channels == (0, 1, 2) and encoding.num_values == 3:
            return pixels
        return np.ascontiguousarray(pixels[..., encoding.channels])
    is_planar = encoding.num_planes > 1
    if min(message.height, message.width) < 2 or (message.height * is_planar | message.width) % 2:
        raise ForeignMessage(
            f"image of {message.width}x{message.height} {message.encoding}; its width"
            f"{' and height' if is_planar else ''} must be even and both at least 2 pixels"
        )
    import cv2  # slow to import

    return np.asarray(cv2.cvtColor(pixels, getattr(cv2, encoding.conversion)), np.uint8)


def _pixels(message: Image, encoding: Encoding) -> Channels:
    """Return the upper byte of each value, (H, W, values); (1.5 H, W, 1) with a plane of colours.

    Raises:
        ForeignMessage: no pixels, or another amount of data.
    """
    height, width, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    num_bytes = width * encoding.num_values * encoding.num_bytes  # of a row without padding
    num_rows = round(height * encoding.num_planes)
    if num_rows > height and data.size == num_bytes * num_rows:
        step = num_bytes  # drivers disagree on the step of images with planes
    if not height * width or step < num_bytes or data.size != step * num_rows:
        raise ForeignMessage(
            f"image of {width}x{height} {message.encoding} with step {step} and {data.size} bytes;"
            f" it needs a step of {num_bytes} or more and step times {num_rows} bytes"
        )
    rows = data.reshape(num_rows, step)
    if encoding.num_planes == 3:  # as many colours as pixels: every second one is enough
        colours = rows[height:].reshape(height, 2 * step)[::2, : 2 * width]
        colours = colours.reshape(-1, width, 2)[:, ::2].reshape(-1, width)
        return np.concatenate([rows[:height, :width], colours])[..., None]
    rows = rows[:, :num_bytes]
    if encoding.num_bytes == 2:
        rows = rows[:, 0 if message.is_bigendian else 1 :: 2]
    return np.ascontiguousarray(rows).reshape(num_rows, width, encoding.num_values)


def compressed_to_array(message: CompressedImage) -> Channels:
    """Return the RGB image (H, W, 3) uint8 of a JPEG or PNG message.

    Raises:
        ForeignMessage: another format, or data that are damaged or too large.
    """
    check_compressed_format(message)
    import cv2  # slow to import
    import PIL.Image

    data = bytes(message.data)
    try:  # OpenCV decodes in half the time of Pillow, but does not tell a truncated image
        with PIL.Image.open(BytesIO(data), formats=("JPEG", "PNG")) as header:
            width, height = header.size
        if width * height > MAX_PIXELS:
            raise ForeignMessage(f"compressed image of {width}x{height} pixels is too large")
        is_complete = any(end in data[-END_SIZE:] for end in IMAGE_ENDS)
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        with suppress_native_output():
            bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if is_complete else None
    except (OSError, SyntaxError, cv2.error, PIL.Image.DecompressionBombError) as error:
        raise ForeignMessage(f"compressed image of {len(data)} bytes is damaged") from error
    if bgr is None:
        raise ForeignMessage(f"compressed image of {len(data)} bytes is damaged")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def check_compressed_format(message: CompressedImage) -> None:
    """Raise ForeignMessage unless a compressed image is a JPEG or PNG, but not one of depths."""
    name = message.format.lower() or "jpeg"  # some drivers do not name it
    if "depth" in name or not any(known in name for known in ("jpeg", "jpg", "png")):
        raise ForeignMessage(
            f"compressed image of the format '{message.format[:40]}'; send jpeg or png"
        )
