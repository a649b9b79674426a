"""Blocks node: publishes poses, markers and TF frames of the blocks in an image."""

from __future__ import annotations

import array
from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from node_probe import IMAGES, START, TICK, UR5, stamps
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.arms.pybullet_scene import _apply_marker_texture
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.benchmarks.lens_images import render_cube
from invdyn_ros.data.image_codec import encode_image
from invdyn_ros.nodes.blocks import BlocksNode
from invdyn_ros.nodes.camera_info import camera_info_message
from invdyn_ros.nodes.frames import FramePublisher
from invdyn_ros.nodes.images import image_to_message
from invdyn_ros.nodes.messages import REJECTED, pose_to_arrays, pose_to_transform, to_stamp
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.rigid_transforms import rigid_transform
from invdyn_ros.robots.block_markers import BlockMarkers
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.scene import block_pose


@pytest.fixture(scope="module")
def image_and_pose():
    """Return an image of a block on the table and its pose (4, 4) in the base frame."""
    scene, pose = load_scene("ur5"), block_pose(0.45, 0.03, 0.02, 0.4)
    camera = SceneRenderer(UR5, scene)
    image = camera.render(UR5.home, 0.0, pose[None])
    camera.close()
    return image, pose


def info_message(calibrated=True):
    intrinsics = CameraIntrinsics(load_scene("ur5").camera.intrinsics())
    size = (640, 480)
    return camera_info_message(intrinsics if calibrated else None, size, to_stamp(START), "camera")


def compressed(image, stamp):
    data = array.array("B", encode_image(image))
    return CompressedImage(header=Header(stamp=to_stamp(stamp)), format="png", data=data)


def test_lens_region_and_binning_of_camera_info_are_used_when_they_change(start_node):
    """The images are compressed. Only the true camera_info gives the true pose."""
    k = np.array([[300.0, 0, 320], [0, 300, 240], [0, 0, 1]])
    lens = CameraIntrinsics(k, "equidistant", np.array([-0.15, 0.02, 0.0, 0.0]), 640, 480)
    R = Rotation.from_euler("xyz", [2.6, 0.35, 0.3]).as_matrix()
    T = rigid_transform(R, np.array([0.09, 0.05, 0.17]))
    image = render_cube(T, lens)
    probe, poses = start_node(
        BlocksNode,
        [("/blocks/block_0", PoseWithCovarianceStamped)],
        lockstep=True,
        image_transport="compressed",
    )
    images = probe.advertise(f"{IMAGES}/compressed", CompressedImage)
    infos = probe.advertise("/camera/camera_info", CameraInfo)
    true = camera_info_message(lens, (640, 480), to_stamp(START), "camera")
    flat = camera_info_message(replace(lens, distortion=np.zeros(4)), (640, 480), Time(), "camera")
    part = camera_info_message(lens, (640, 480), Time(), "camera")
    part.roi.x_offset, part.roi.y_offset, part.roi.width, part.roi.height = 200, 80, 400, 400
    part.binning_x = part.binning_y = 2
    binned = image[80:480, 200:600].reshape(200, 2, 200, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    errors = []
    for info, picture in ((flat, image), (true, image), (part, binned)):
        count, detector = len(poses), probe.tested_node.detector
        infos.publish(info)
        probe.wait_until(lambda last=detector: probe.tested_node.detector is not last)
        images.publish(compressed(picture, START + len(errors) * TICK))
        probe.wait_until(lambda count=count: len(poses) > count)
        errors.append(np.linalg.norm(pose_to_arrays(poses[-1].pose.pose)[0] - T[:3, 3]))
    assert errors[1] < 1e-3 and errors[2] < 2e-3 < errors[0], errors
    counts = probe.tested_node.ignored_counts
    images.publish(compressed(image, START + 9 * TICK))
    images.publish(CompressedImage(format="png", data=b"no picture"))
    probe.wait_until(lambda: counts[f"{IMAGES}/compressed"] == 2)
    assert "is damaged" in str(probe.tested_node.diagnostic_values) and len(poses) == 3


def test_image_before_camera_info_is_processed_later(start_node, image_and_pose):
    image, true_pose = image_and_pose
    probe, poses, markers = start_node(
        BlocksNode,
        [("/blocks/block_0", PoseWithCovarianceStamped), ("/blocks/markers", MarkerArray)],
        lockstep=True,
    )
    images = probe.advertise(IMAGES, Image)
    images.publish(image_to_message(image, to_stamp(START), "camera"))
    probe.wait_until(lambda: probe.tested_node.pending_image is not None)
    assert "no camera_info" in probe.tested_node.hold_reason and not poses
    probe.advertise("/camera/camera_info", CameraInfo).publish(info_message())
    probe.wait_until(lambda: poses and markers)
    assert stamps(poses) == [START]
    position, _ = pose_to_arrays(poses[0].pose.pose)
    T = load_scene("ur5").camera.T_base_camera
    assert np.linalg.norm(T[:3, :3] @ position + T[:3, 3] - true_pose[:3, 3]) < 5e-3
    assert [m.action for m in markers[0].markers] == [Marker.DELETEALL, Marker.ADD]
    assert probe.tested_node.hold_reason is None
    blank = np.full_like(image, 127)
    images.publish(image_to_message(blank, to_stamp(START + TICK), "camera"))
    probe.wait_until(lambda: len(markers) > 1)
    assert [m.action for m in markers[1].markers] == [Marker.DELETEALL] and len(poses) == 1
    assert stamps(markers[1].markers) == [START + TICK]
    for k, repeated in enumerate((image, image), 2):
        images.publish(image_to_message(repeated, to_stamp(START + 2 * TICK), "camera"))
        probe.wait_until(lambda k=k: len(markers) > k and len(poses) == k)
    assert poses[1] == poses[2], "a repeated image gives the same pose again"


def test_camera_and_detected_block_are_frames_with_the_prefix(
    start_node, image_and_pose, monkeypatch
):
    sent, static = [], []
    # tf2_msgs is not on PyPI
    monkeypatch.setattr(FramePublisher, "publish", lambda _, transforms: sent.extend(transforms))
    monkeypatch.setattr(FramePublisher, "publish_static", lambda _, ts: static.extend(ts))
    probe, poses, markers = start_node(
        BlocksNode,
        [("/blocks/block_0", PoseWithCovarianceStamped), ("/blocks/markers", MarkerArray)],
        lockstep=True,
        publish_camera=True,
        tf_prefix="left_",
    )
    (camera,) = static
    assert camera.header.frame_id == f"left_{UR5.base_link}"
    assert camera.child_frame_id == "left_camera_optical_frame"
    place = camera.transform.translation
    T_base_camera = load_scene("ur5").camera.T_base_camera
    np.testing.assert_allclose([place.x, place.y, place.z], T_base_camera[:3, 3])
    infos, images = (
        probe.advertise("/camera/camera_info", CameraInfo),
        probe.advertise(IMAGES, Image),
    )
    infos.publish(info_message())
    probe.wait_until(lambda: probe.tested_node.detector is not None)
    for k, image in enumerate((image_and_pose[0], np.full_like(image_and_pose[0], 127))):
        images.publish(image_to_message(image, to_stamp(START + k * TICK), "camera"))
        probe.wait_until(lambda k=k: len(markers) == k + 1)
    probe.wait_until(lambda: poses)
    assert sent == [pose_to_transform(poses[0].pose.pose, "left_block_0", poses[0].header)]
    assert stamps(sent) == [START] and sent[0].header.frame_id == "camera"


def test_two_blocks_with_the_same_id_are_reported_without_a_pose(start_node):
    scene = replace(load_scene("ur5"), num_blocks=2)
    with SceneRenderer(UR5, scene) as camera:
        _apply_marker_texture(
            camera.client, camera.blocks[1], BlockMarkers()
        )  # the second block is a copy of the first
        poses = [block_pose(0.45, 0.03, 0.02, 0.4), block_pose(0.5, -0.05, 0.02, 1.0)]
        image = camera.render(UR5.home, 0.0, np.stack(poses))
    probe, poses, markers, diagnostics = start_node(
        BlocksNode,
        [
            ("/blocks/block_0", PoseWithCovarianceStamped),
            ("/blocks/markers", MarkerArray),
            ("/diagnostics", DiagnosticArray),
        ],
        lockstep=True,
    )
    probe.advertise("/camera/camera_info", CameraInfo).publish(info_message())
    probe.wait_until(lambda: probe.tested_node.detector is not None)
    image = image_to_message(image, to_stamp(START), "camera")
    probe.advertise(IMAGES, Image).publish(image)
    probe.wait_until(lambda: markers and diagnostics)
    text = markers[0].markers[1]
    assert (text.ns, text.id, text.type) == (REJECTED, 0, Marker.TEXT_VIEW_FACING)
    assert "two blocks with id 0" in text.text and len(markers[0].markers) == 2
    assert not poses and probe.tested_node.hold_reason == text.text
    probe.wait_until(lambda: diagnostics[-1].status[0].message == text.text)


def test_unsupported_image_and_uncalibrated_camera_are_named(start_node, capfd):
    probe, image = start_node(BlocksNode), np.zeros((48, 64, 3), np.uint8)
    message = image_to_message(image, Time(), "camera")
    message.encoding = "32FC1"
    probe.advertise(IMAGES, Image).publish(message)
    probe.advertise("/camera/camera_info", CameraInfo).publish(info_message(calibrated=False))
    counts = probe.tested_node.ignored_counts
    probe.wait_until(lambda: len(counts) == 2)
    log = capfd.readouterr().err
    assert "image encoding '32FC1' is not supported; send one of rgb8, bgr8" in log
    assert "camera_info is not calibrated (K is zero)" in log
