"""Camera node: all frames of a video in order, in real time and in lockstep."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from node_probe import IMAGES, stamps
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from invdyn_ros.nodes import runner
from invdyn_ros.nodes.camera import CameraNode
from invdyn_ros.nodes.image_publisher import COMPRESSED_PERIOD
from invdyn_ros.nodes.images import image_to_array
from invdyn_ros.nodes.messages import latest_qos, to_stamp
from invdyn_ros.nodes.runner import NodeFinished
from invdyn_ros.perception.calibration_file import to_calibration_yaml
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics

FRAMES, RATE, INFOS = 12, 30.0, "/camera/camera_info"


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


@pytest.mark.parametrize("scale", [0.5, 0.0])
def test_camera_info_is_published_with_each_image(start_node, video, tmp_path, scale):
    """Scaled to the published images, with their stamp and frame; without a file, K is zero."""
    k = np.array([[150.0, 0, 79.5], [0, 151, 59.5], [0, 0, 1]])
    file, d = tmp_path / "camera.yaml", np.array([-0.2, 0.05, 0.0, 0.0, 0.0])
    lens = CameraIntrinsics(k, "plumb_bob", d, 160, 120)
    file.write_text(to_calibration_yaml(lens, "film"))
    parameters = {"camera_info": file} if scale else {}
    probe = start_node(CameraNode, video=video, max_size=80, lockstep=True, **parameters)
    images, infos = probe.subscribe(IMAGES, Image), probe.subscribe(INFOS, CameraInfo)
    probe.advertise("/clock", Clock).publish(Clock(clock=to_stamp(50_000_000)))
    probe.wait_until(lambda: len(images) == len(infos) == 2)
    assert [m.header for m in images] == [m.header for m in infos]
    info = infos[0]
    assert (info.width, info.height) == (images[0].width, images[0].height) == (80, 60)
    expected = np.array([[150 * scale, 0, 39.5], [0, 151 * scale, 29.5], [0, 0, 1]])
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), expected if scale else 0 * k)
    np.testing.assert_array_equal(info.d, d if scale else [])


RELIABLE, SENSOR_DATA = QoSProfile(depth=5), latest_qos(False)
OVERRIDE = "qos_overrides./camera/image_raw.publisher.reliability"


@pytest.mark.parametrize("parameters", [{}, {OVERRIDE: "best_effort"}])
def test_viewers_get_images_unless_overridden(start_node, video, parameters):
    """Viewers subscribe reliably, as rqt and RViz do, or as to sensor data."""
    probe = start_node(CameraNode, video=video, lockstep=True, **parameters)
    published = {p.topic_name: p.qos_profile for p in probe.tested_node.publishers}
    for topic in (IMAGES, f"{IMAGES}/compressed", INFOS):
        compatible = [
            qos_check_compatible(published[topic], qos)[0] != QoSCompatibility.ERROR
            for qos in (RELIABLE, SENSOR_DATA)
        ]
        assert compatible == [not (parameters and topic == IMAGES), True]
    images = probe.subscribe(IMAGES, Image, SENSOR_DATA if parameters else RELIABLE)
    probe.advertise("/clock", Clock).publish(Clock(clock=to_stamp(0)))
    probe.wait_until(lambda: images)


def test_wrong_quality_of_service_ends_the_node(run_until_error, video):
    line = run_until_error(CameraNode, video=video, **{OVERRIDE: "maybe"})
    assert line.startswith("camera: qos_overrides: ") and "`maybe`" in line


def test_calibration_of_other_images_ends_the_node(run_until_error, video, tmp_path):
    file = tmp_path / "camera.yaml"
    lens = CameraIntrinsics(np.diag([150.0, 150, 1]), width=640, height=480)
    file.write_text(to_calibration_yaml(lens, "film"))
    line = run_until_error(CameraNode, video=video, camera_info=file)
    assert line == (
        f"camera: {file} is of images of 640x480, the camera gives 160x120; calibrate it at this "
        "size"
    )


@pytest.mark.parametrize("rate", [0.5, 4.0])
def test_with_simulated_time_a_video_follows_the_clock_at_any_rate(start_node, video, rate):
    """Its epoch is not that of the wall clock, and it may be set back."""
    probe = start_node(CameraNode, video=video, use_sim_time=True)
    images = probe.subscribe(IMAGES, Image, latest_qos(False))
    clock = probe.advertise("/clock", Clock)
    epoch, start = 5_000.0, time.monotonic()
    probe.wait_until(lambda: time.monotonic() > start + 0.3)
    assert not images, "no time is known yet"
    start = time.monotonic()

    def tick():
        elapsed = rate * (time.monotonic() - start)
        now = epoch + elapsed - 100.0 * (elapsed > 0.2)
        clock.publish(Clock(clock=to_stamp(round(1e9 * now))))

    with pytest.raises(NodeFinished):
        probe.wait_until(tick, 20)  # less than until the clock is where it was
    assert len(images) > FRAMES / 2  # a viewer that is slow misses some
    played = 1e-9 * np.array(stamps(images)) - epoch
    played[played < 0] += 100.0
    assert (np.diff(played) > 0).all()
    assert played[-1] > (FRAMES - 1.5) / RATE or len(images) < FRAMES


def test_missing_video_ends_the_node(run_until_error, tmp_path):
    line = run_until_error(CameraNode, video=tmp_path / "none.mp4")
    assert line == f"camera: no video file {tmp_path / 'none.mp4'}"
