"""Camera node: all frames of a video in order, in real time and in lockstep."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from node_probe import IMAGES, stamps
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from invdyn_ros.nodes import runner
from invdyn_ros.nodes.camera import CameraNode
from invdyn_ros.nodes.image_publisher import COMPRESSED_PERIOD
from invdyn_ros.nodes.images import image_to_array
from invdyn_ros.nodes.messages import latest_qos, to_stamp
from invdyn_ros.nodes.runner import NodeFinished

FRAMES, RATE = 12, 30.0


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Write a short video whose frames get brighter."""
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), RATE, (160, 120))
    for k in range(FRAMES):
        writer.write(np.full((120, 160, 3), 20 + 16 * k, np.uint8))
    writer.release()
    return file


def brightness(images):
    return [float(image_to_array(m).mean()) for m in images]


def test_all_frames_of_a_video_are_published_in_order_at_its_rate(start_node, video):
    probe, decode_times = (
        start_node(CameraNode, remaps={"go": "/cell/go"}, video=video, wait_for_topics="go"),
        [],
    )
    node = probe.tested_node
    node.frames = (decode_times.append(time.time()) or frame for frame in node.frames)
    start, images = time.time_ns(), probe.subscribe(IMAGES, Image, latest_qos(False))
    probe.node.create_publisher(String, "/cell/go", 1)
    probe.node.create_subscription(String, "/cell/go", print, 1)
    probe.wait_until(lambda: len(images) == FRAMES)
    assert np.abs(np.diff(brightness(images)) - 16).max() < 3
    gaps = 1e-9 * np.diff(stamps(images))
    assert gaps.min() > 0 and (FRAMES - 1) / RATE - 0.05 < gaps.sum() < 1.0
    assert start < stamps(images)[0] and stamps(images)[-1] < time.time_ns()
    with pytest.raises(runner.NodeFinished):
        probe.wait_until(lambda: False)
    earliest = node.start_time + np.arange(FRAMES - 1) / RATE + node.decode_delay
    assert node.decode_delay > 0.5 / RATE and len(decode_times) == FRAMES - 1
    assert (decode_times > earliest - 1e-3).all(), (
        "decoding delayed the processing of the last frame"
    )


def test_compressed_images_for_displays_are_some_of_the_images(start_node, video):
    probe = start_node(CameraNode, video=video, wait_for_topics="/go")
    images = probe.subscribe(IMAGES, Image, latest_qos(False))
    compressed = probe.subscribe(f"{IMAGES}/compressed", CompressedImage, latest_qos(False))
    probe.node.create_publisher(String, "/go", 1)
    probe.node.create_subscription(String, "/go", print, 1)
    probe.wait_until(lambda: len(images) == FRAMES and len(compressed) > 1)
    assert len(compressed) <= FRAMES / RATE / COMPRESSED_PERIOD + 1
    brightness_at = dict(zip(stamps(images), brightness(images), strict=True))
    for stamp, message in zip(stamps(compressed), compressed, strict=True):
        image = cv2.imdecode(np.array(message.data), cv2.IMREAD_COLOR)
        assert message.format.startswith("rgb8; jpeg") and image.shape == (120, 160, 3)
        assert image.mean() == pytest.approx(brightness_at[stamp], abs=2)


def test_in_lockstep_a_video_follows_the_simulated_clock(start_node, video):
    probe = start_node(CameraNode, video=video, lockstep=True)
    images = probe.subscribe(IMAGES, Image)
    clock = probe.advertise("/clock", Clock)

    def at(seconds, count):
        clock.publish(Clock(clock=to_stamp(round(seconds * 1e9))))
        probe.wait_until(lambda: len(images) >= count)

    at(0.0, 1)
    at(0.01, 1)
    at(0.101, 4)
    assert [round(1e-9 * s * RATE, 3) for s in stamps(images)] == [0, 1, 2, 3]
    at(0.101, 5)
    assert images[4] == images[3], "asked again, it answers again"
    at(9.0, FRAMES + 1)
    assert len(images) == FRAMES + 1 and np.diff(brightness(images)).min() > -1
    at(9.0, FRAMES + 2)  # the last image may have been lost
    at(0.001, FRAMES + 3)
    assert stamps(images)[-1] == 0, "after a reset the video starts again"
    at(9.0, 2 * FRAMES + 2)
    with pytest.raises(NodeFinished):
        at(9.1, 2 * FRAMES + 3)


def test_missing_video_ends_the_node(run_until_error, tmp_path):
    line = run_until_error(CameraNode, video=tmp_path / "none.mp4")
    assert line == f"camera: no video file {tmp_path / 'none.mp4'}"
