"""Images and camera calibrations in messages: round trips, and errors of invalid ones."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import (
    CameraInfo,
    CompressedImage,
    Image,
)

from invdyn_ros.nodes.camera_info import (
    camera_info_message,
    check_size,
    message_to_intrinsics,
)
from invdyn_ros.nodes.images import (
    ENCODINGS,
    compressed_to_array,
    image_to_array,
    image_to_message,
)
from invdyn_ros.nodes.messages import (
    ForeignMessage,
    to_nanoseconds,
    to_stamp,
)
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics

STAMP = 1_700_000_000_123_456_789  # [ns]


def through_the_wire(message: object) -> object:
    """Return a message after serialization and deserialization."""
    return deserialize_message(serialize_message(message), type(message))


def test_image_round_trips() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    message = through_the_wire(image_to_message(image, to_stamp(STAMP), "camera"))
    assert isinstance(message, Image)
    np.testing.assert_array_equal(image_to_array(message), image)
    assert to_nanoseconds(message.header.stamp) == STAMP and message.header.frame_id == "camera"
    message.encoding = "bgr8"
    np.testing.assert_array_equal(image_to_array(message), image[..., ::-1])


def test_image_with_padded_rows_is_read_without_its_padding() -> None:
    image = np.random.default_rng(1).integers(0, 256, (4, 5, 3), np.uint8)
    padded = np.zeros((4, 20), np.uint8)
    padded[:, :15] = image.reshape(4, 15)
    message = image_to_message(image, to_stamp(0), "camera")
    message.step, message.data = 20, padded.tobytes()
    np.testing.assert_array_equal(image_to_array(message), image)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_image_of_each_encoding_becomes_rgb(encoding: str) -> None:
    """Red above, blue below, which every encoding but mono can tell apart."""
    layout = ENCODINGS[encoding]
    rows = np.zeros((8, 8, layout.num_values), np.uint8)
    red, blue = np.array([200, 0, 0]), np.array([0, 0, 200])
    if layout.channels is not None:
        for half, colour in ((rows[:4], red), (rows[4:], blue)):
            half[..., layout.channels] = colour if layout.num_values > 1 else colour.max() // 2
    elif encoding.startswith("bayer"):
        for i, letter in enumerate(encoding[6:10]):
            rows[i // 2 : 4 : 2, i % 2 :: 2] = 200 * (letter == "r")
            rows[4 + i // 2 :: 2, i % 2 :: 2] = 200 * (letter == "b")
    elif encoding.startswith("nv"):
        rows = planar_image(encoding, red, blue)
    else:
        pixels = np.repeat([[red], [blue]], 4, axis=0).repeat(8, axis=1).astype(np.uint8)
        luma, u, v = np.moveaxis(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV).astype(int), 2, 0)
        luma = 16 + luma * 219 // 255
        chroma = np.where(np.arange(8) % 2, v, u)
        first, second = (luma, chroma) if "yu" in encoding[-4:] else (chroma, luma)
        rows = np.stack([first, second], axis=2).astype(np.uint8)
    if layout.num_bytes == 2:
        rows = (rows.astype(">u2") * 257).view(np.uint8)
    rows = rows.reshape(-1, 8 * layout.num_values * layout.num_bytes)
    data = np.pad(rows, ((0, 0), (0, 4)))
    if encoding == "nv24":  # the plane of the colours has the padding of two rows
        data[8:] = np.pad(rows[8:].reshape(8, 16), ((0, 0), (0, 8))).reshape(16, 12)
    message = Image(height=8, width=8, encoding=encoding, step=data.shape[1], is_bigendian=1)
    message.data = data.tobytes()
    image = image_to_array(message).astype(int)
    assert image.shape == (8, 8, 3)
    if layout.channels == (0, 0, 0):
        assert (image == 100).all()
        return
    for row, colour in ((1, red), (6, blue)):
        np.testing.assert_allclose(image[row, 2:6], np.tile(colour, (4, 1)), atol=60)


def planar_image(encoding: str, red: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Return brightness (8, 8) above colours, (12, 8) or (24, 8)."""
    pixels = np.repeat([[red], [blue]], 4, axis=0).repeat(8, axis=1).astype(np.uint8)
    luma, u, v = np.moveaxis(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV).astype(int), 2, 0)
    colours = np.stack([v, u] if encoding == "nv21" else [u, v], axis=-1)
    if encoding != "nv24":
        colours = colours[::2, ::2]
    return np.vstack([16 + luma * 219 // 255, colours.reshape(-1, 8)]).astype(np.uint8)


def test_step_of_an_image_with_planes_may_be_that_of_all_planes() -> None:
    rows = planar_image("nv12", np.array([200, 0, 0]), np.array([0, 0, 200]))
    message = Image(height=8, width=8, encoding="nv12", step=12, data=rows.tobytes())
    np.testing.assert_allclose(image_to_array(message)[1, 4], [200, 0, 0], atol=60)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed_image_is_decoded(suffix: str) -> None:
    gradient = np.mgrid[:48, :64][1].astype(np.uint8) * 3
    rgb = np.stack([gradient, 0 * gradient + 40, 200 - gradient], axis=2)
    data = cv2.imencode(suffix, rgb[..., ::-1])[1].tobytes()
    for name in ("bgr8; jpeg compressed bgr8", "png", ""):
        image = compressed_to_array(CompressedImage(format=name, data=data))
        np.testing.assert_allclose(image.astype(int), rgb, atol=12)
    for damaged in (b"", data[:-30], data[: len(data) // 2], b"x" * 99):
        with pytest.raises(ForeignMessage, match="is damaged"):
            compressed_to_array(CompressedImage(format="jpeg", data=damaged))
    for name in ("16UC1; compressedDepth png", "h264", "bgr8; webp"):
        with pytest.raises(ForeignMessage, match="send jpeg or png"):
            compressed_to_array(CompressedImage(format=name, data=data))


def test_huge_compressed_image_is_not_decoded() -> None:
    data = bytearray(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2  # width and height
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(ForeignMessage, match=r"30000x30000 pixels is too large|is damaged"):
        compressed_to_array(CompressedImage(format="png", data=bytes(data)))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("encoding", "nv12", "step 15 and 60 bytes"),
        ("encoding", "32FC1", "'32FC1' is not supported; send one of rgb8, bgr8"),
        ("height", 9, "image of 5x9 rgb8 with step 15 and 60 bytes"),
        ("height", 0, "image of 5x0"),
        ("step", 3, "it needs a step of 15 or more"),
        ("encoding", "yuv422", "width must be even"),
    ],
)
def test_invalid_image_message_is_refused(field: str, value: object, words: str) -> None:
    message = image_to_message(np.zeros((4, 5, 3), np.uint8), to_stamp(0), "camera")
    setattr(message, field, value)
    with pytest.raises(ForeignMessage, match=words):
        image_to_array(message)


K = np.array([[850.0, 0, 320], [0, 851.0, 240], [0, 0, 1]])


def info_of(model: str = "plumb_bob", d: tuple[float, ...] = (0.0,) * 5) -> CameraInfo:
    lens = CameraIntrinsics(K, model, np.array(d), 640, 480)
    return camera_info_message(lens, (640, 480), to_stamp(STAMP), "camera")


@pytest.mark.parametrize(
    ("model", "count"), [("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4)]
)
def test_camera_info_keeps_the_intrinsics(model: str, count: int) -> None:
    info = through_the_wire(info_of(model, tuple(np.arange(count) / 100)))
    assert isinstance(info, CameraInfo)
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4))[:, :3], K)
    lens = message_to_intrinsics(info)
    np.testing.assert_array_equal(lens.camera_matrix, K)
    np.testing.assert_array_equal(lens.distortion, np.arange(count) / 100)
    assert lens.distortion_model == model and lens.size == (640, 480)


def test_other_camera_models_are_refused_by_name() -> None:
    info = info_of()
    for model, count in (("omnidirectional", 4), ("plumb_bob", 8), ("equidistant", 5)):
        info.distortion_model, info.d = model, [0.1] * count
        with pytest.raises(ForeignMessage, match=f"'{model}' with {count} coefficients"):
            message_to_intrinsics(info)
    uncalibrated = camera_info_message(None, (640, 480), to_stamp(STAMP), "camera")
    assert (uncalibrated.width, uncalibrated.height, list(uncalibrated.d)) == (640, 480, [])
    with pytest.raises(ForeignMessage, match=r"not calibrated \(K is zero\)"):
        message_to_intrinsics(uncalibrated)


def test_region_of_interest_and_binning_are_those_of_the_image() -> None:
    info = info_of()
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 40, 400, 320
    info.binning_x = info.binning_y = 2
    lens, point = message_to_intrinsics(info), np.array([0.02, -0.01, 1.0])
    full = message_to_intrinsics(info_of()).project(point)
    np.testing.assert_allclose(lens.project(point), (full - [100, 40] + 0.5) / 2 - 0.5)
    check_size(lens, (200, 160))
    with pytest.raises(ForeignMessage, match=r"image of 640x480; .* of an image of 200x160"):
        check_size(lens, (640, 480))
    info.roi.x_offset = 300
    with pytest.raises(ForeignMessage, match=r"400x320 at \(300, 40\), outside"):
        message_to_intrinsics(info)
