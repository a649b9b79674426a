"""Block pose node: publishes the pose of a block without markers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from geometry_msgs.msg import PoseWithCovarianceStamped
from node_probe import IMAGES, START, STATES, TICK, UR5, UR5_NAMES, stamps
from sensor_msgs.msg import Image, JointState
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.arms.domain_randomization import RANDOMIZATION_LEVELS, randomize_camera
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.grasp.estimation.block_estimate import upright_yaw
from invdyn_ros.grasp.estimation.block_pose_estimator import (
    BlockPoseEstimator,
    area_centre,
    landmarks,
)
from invdyn_ros.grasp.estimation.block_pose_network import (
    BlockPoseMetadata,
    BlockPoseNet,
    BlockPoseNetConfig,
    load_block_pose_net,
    save_block_pose_net,
)
from invdyn_ros.nodes.block_pose import BlockPoseNode, draw_overlay
from invdyn_ros.nodes.images import image_to_message
from invdyn_ros.nodes.joint_states import joints_to_message
from invdyn_ros.nodes.messages import pose_to_arrays, to_stamp
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.scene import block_pose, quaternion_pose

SCENE = load_scene("ur5")
TOPICS = [("/blocks/block_0", PoseWithCovarianceStamped), ("/blocks/markers", MarkerArray)]
OPEN = 0.08  # [m]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Return the folder of an untrained network with small standard deviations."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = BlockPoseNetConfig(pixels=64, channels=(8, 16, 16), num_keypoints=12, hidden_size=32)
    network = BlockPoseNet(
        BlockPoseMetadata("ur5", SCENE.block_size, area_centre(SCENE), landmarks(SCENE), config)
    )
    with torch.no_grad():
        network.head[-1].bias[4:] = torch.tensor([-3.0, -3.0, -3.0, 9.0])
    folder = tmp_path_factory.mktemp("network")
    save_block_pose_net(network, folder)
    return folder


@pytest.fixture(scope="module")
def image():
    camera = SceneRenderer(UR5, randomize_camera(SCENE, RANDOMIZATION_LEVELS["default"], 0, 0, 64))
    rendered = camera.render(UR5.home, OPEN, block_pose(0.45, 0.03, 0.02, 0.4)[None])
    camera.close()
    return rendered


def joints(stamp, q=UR5.home):
    return joints_to_message(UR5_NAMES, to_stamp(stamp), q, OPEN)


def test_published_pose_is_that_of_the_estimator(start_node, network, image):
    """An image waits for the joint state of its own time."""
    probe, poses, markers = start_node(
        BlockPoseNode, TOPICS, block_pose_model=str(network), lockstep=True
    )
    images, states = probe.advertise(IMAGES, Image), probe.advertise(STATES, JointState)
    states.publish(joints(START, UR5.home + 0.3))
    images.publish(image_to_message(image, to_stamp(START + TICK), "camera"))
    probe.wait_until(lambda: probe.tested_node.pending_image is not None)
    assert not poses and not markers
    states.publish(joints(START + TICK))
    probe.wait_until(lambda: poses and markers)
    expected = BlockPoseEstimator(UR5, SCENE, load_block_pose_net(network)).estimate(
        0.0, image, UR5.home, OPEN
    )
    T = quaternion_pose(*pose_to_arrays(poses[0].pose.pose))
    np.testing.assert_allclose(T[:3, 3], expected.position)
    assert upright_yaw(T[:3, :3]) == pytest.approx(expected.yaw)
    variance = np.diag(np.reshape(poses[0].pose.covariance, (6, 6)))
    np.testing.assert_allclose(variance[[0, 1, 2, 5]], expected.variance)
    assert stamps(poses) == [START + TICK] and poses[0].header.frame_id == UR5.base_link
    assert [m.action for m in markers[0].markers] == [Marker.DELETEALL, Marker.ADD]


def test_restarted_time_clears_the_stored_joint_states(start_node, network, image):
    probe, _, markers = start_node(
        BlockPoseNode, TOPICS, block_pose_model=str(network), lockstep=True
    )
    images, states = probe.advertise(IMAGES, Image), probe.advertise(STATES, JointState)
    states.publish(joints(START))
    states.publish(joints(5 * TICK))
    probe.wait_until(lambda: list(probe.tested_node.joint_states) == [5 * TICK])
    images.publish(image_to_message(image, to_stamp(5 * TICK), "camera"))
    probe.wait_until(lambda: markers)
    assert stamps(markers[0].markers)[0] == 5 * TICK


def test_image_of_another_size_and_joint_states_of_other_joints_are_ignored(start_node, network):
    probe = start_node(BlockPoseNode, block_pose_model=str(network))
    message = image_to_message(np.zeros((48, 64, 3), np.uint8), to_stamp(START), "camera")
    probe.advertise(IMAGES, Image).publish(message)
    probe.advertise(STATES, JointState).publish(JointState())
    values = probe.tested_node.diagnostic_values
    probe.wait_until(lambda: len(values) == 2)
    assert "64x48; the network takes square images" in values[f"ignored: {IMAGES}"]


def test_missing_network_ends_the_node(run_until_error, tmp_path):
    assert "is no block pose network: meta.json is missing" in run_until_error(
        BlockPoseNode, block_pose_model=str(tmp_path)
    )


def test_overlay_marks_the_detected_block(image):
    plain, marked = draw_overlay(image, None), draw_overlay(image, np.array([[0.0, 0.5]]))
    rows, columns = np.nonzero((plain != marked).any(axis=2))
    assert plain.shape == (256, 256, 3)
    assert abs(rows.mean() - 192) < 2 and abs(columns.mean() - 128) < 2
