"""Grasp node: holds and reports the reason if its inputs are invalid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import State, TransitionEvent
from node_probe import START, STATES, TARGETS, TICK, UR5, UR5_NAMES
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from invdyn_ros.graph.names import CAMERA_FRAME
from invdyn_ros.grasp.policies.grasp_command import DONE
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata, save_policy
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.nodes.grasp import GraspNode
from invdyn_ros.nodes.joint_states import joints_to_message
from invdyn_ros.nodes.messages import REJECTED, block_to_message, to_stamp
from invdyn_ros.perception.block_detections import describe_duplicate
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.scene import block_pose

SCENE = load_scene("ur5")
IMAGE_PERIOD = 12 * TICK  # [ns]
NOISE = np.eye(6) * 1e-6


@pytest.fixture
def policies(tmp_path):
    """Return the parameters of the scripted policy and of a learned policy that always moves."""
    policy = MLPPolicy(
        PolicyMetadata("ur5", ObservationBuilder(UR5, SCENE, 7).size, 7, (4,), "clip", "sac")
    )
    with torch.no_grad():
        policy.layers[-1].bias += 5.0
    save_policy(policy, tmp_path)
    return {"scripted": {}, "learned": {"policy_checkpoint": tmp_path}}


class SimulatedInputs:
    """Publish joint states and detections to a grasp node."""

    def __init__(self, start_node, policy, parameters):
        topics = [(TARGETS, JointTrajectory), ("/diagnostics", DiagnosticArray)]
        self.probe, self.targets, self.diagnostics = start_node(
            GraspNode, topics, arm="ur5", policy=policy, **parameters
        )
        self.node, self.stamp = self.probe.tested_node, START
        self.states = self.probe.advertise(STATES, JointState)
        self.markers = self.probe.advertise("/blocks/markers", MarkerArray)
        self.blocks = self.probe.advertise("/blocks/block_0", PoseWithCovarianceStamped)
        self.publish_joints()

    def publish_joints(self):
        """Publish the arm at home and return the positions (n,) [rad] of the next target."""
        self.stamp += IMAGE_PERIOD
        count = len(self.targets)
        still = np.zeros(6)
        self.states.publish(
            joints_to_message(UR5_NAMES, to_stamp(self.stamp), UR5.home, 0.085, still)
        )
        self.probe.wait_until(lambda: len(self.targets) > count)
        return np.array(self.targets[-1].points[0].positions)

    def publish_markers(self, *markers):
        """Publish the markers of an image and wait until the node has received them."""
        header = Header(stamp=to_stamp(self.stamp), frame_id=CAMERA_FRAME)
        clear = Marker(header=header, action=Marker.DELETEALL)
        self.markers.publish(MarkerArray(markers=[clear, *markers]))
        self.probe.wait_until(lambda: self.stamp in self.node.detections.results)

    def publish_block(self, x, y, scale=1.0):
        """Publish a block at a position [m] whose distance from the camera is scaled."""
        T = np.linalg.inv(SCENE.camera.T_base_camera) @ block_pose(x, y, 0.02, 0.3)
        quaternion = Rotation.from_matrix(T[:3, :3]).as_quat()
        header = Header(stamp=to_stamp(self.stamp), frame_id=CAMERA_FRAME)
        self.publish_markers(Marker(ns="blocks", id=0, type=Marker.CUBE))
        self.blocks.publish(block_to_message(scale * T[:3, 3], quaternion, NOISE, header))
        self.probe.wait_until(lambda: self.stamp in self.node.detections.poses)

    def reports(self, words):
        """Return whether hold reason and diagnostics of the node contain some words."""
        self.probe.wait_until(lambda: words in self.diagnostics[-1].status[0].message)
        return words in self.node.hold_reason

    def moves(self):
        """Return whether the next target is off the home position."""
        return np.abs(self.publish_joints() - UR5.home).max() > 1e-6


OUTSIDE = {"scripted": "out of reach of 'ur5'", "learned": "outside of x 0.29 to 0.65"}


@pytest.mark.parametrize("policy", ["scripted", "learned"])
def test_arm_holds_and_reports_invalid_inputs(start_node, policies, policy):
    inputs = SimulatedInputs(start_node, policy, policies[policy])
    assert not inputs.moves() and inputs.node.hold_reason == "block not detected"
    inputs.publish_markers()
    assert not inputs.moves() and inputs.node.hold_reason == "block not detected"
    invalid = {
        OUTSIDE[policy]: lambda: inputs.publish_block(1.4, 0.2),
        "two blocks with id 0": lambda: inputs.publish_markers(
            Marker(ns=REJECTED, id=0, type=Marker.TEXT_VIEW_FACING, text=describe_duplicate(0))
        ),
        "looks 60 mm wide": lambda: inputs.publish_block(0.45, 0.0, scale=0.65),
    }
    for words, publish in invalid.items():
        for _ in range(10):
            publish()
            assert not inputs.moves()
        assert inputs.reports(words)
    for _ in range(10):
        inputs.publish_block(0.45, 0.0)
        inputs.publish_joints()
    assert inputs.node.hold_reason is None and inputs.moves()


def test_block_pose_in_a_foreign_frame_is_ignored(start_node, policies):
    inputs = SimulatedInputs(start_node, "scripted", policies["scripted"])
    inputs.publish_joints()
    header = Header(stamp=to_stamp(inputs.stamp), frame_id="map")
    pose = np.array([0.45, 0.0, 0.02]), np.array([0.0, 0.0, 0.0, 1.0])
    inputs.blocks.publish(block_to_message(*pose, NOISE, header))
    inputs.probe.wait_until(lambda: inputs.node.ignored_counts["/blocks/block_0"] == 1)
    assert not inputs.node.detections.poses


def test_policy_of_another_size_ends_the_node(run_until_error, tmp_path):
    save_policy(MLPPolicy(PolicyMetadata("ur5", 40, 7, (4,), "clip", "sac")), tmp_path)
    line = run_until_error(GraspNode, policy="learned", policy_checkpoint=tmp_path)
    assert line == (
        f"grasp: {tmp_path} is a policy with 40 observations and 7 actions; 'ur5' has "
        "45 and 7; train one with 'invdyn train_grasp --arm ur5'"
    )


def test_person_starts_the_next_episode_of_a_real_arm(start_node, policies):
    """The result is published, the arm disengaged, and engaging it starts the next episode."""
    inputs = SimulatedInputs(start_node, "scripted", {"target": "real"})
    node, probe, requests = inputs.node, inputs.probe, []
    messages = probe.subscribe("/grasp/episode", DiagnosticArray)

    def on_engage(request, response):
        requests.append(request.data)
        return response

    probe.node.create_service(SetBool, "/inverse_dynamics/engage", on_engage)
    probe.wait_until(node.episodes.engage_client.service_is_ready)
    inputs.publish_block(0.45, 0.0)
    inputs.publish_joints()
    node.policy.phase, node.policy.hold_reason = DONE, None  # as after a grasp
    goal = SCENE.goal[0] + 0.005, SCENE.goal[1]
    while not node.episodes.is_over:
        inputs.publish_block(*goal)
        inputs.publish_joints()
    probe.wait_until(lambda: requests == [False] and messages)
    status = messages[-1].status[0]
    assert (status.message, status.level, status.values[0].value) == ("placed", b"\0", "1")
    assert status.values[1].value == "5.0", "distance from the goal [mm]"
    assert node.hold_reason == "move the block to a new place, then 'invdyn engage'"
    transitions = probe.advertise("/inverse_dynamics/transition_event", TransitionEvent)
    transitions.publish(TransitionEvent(goal_state=State(id=State.PRIMARY_STATE_ACTIVE)))
    probe.wait_until(lambda: node.episodes.number == 2)
    inputs.publish_joints()
    inputs.publish_block(*goal)
    assert not inputs.moves() and "lies at its goal; move it" in node.hold_reason
    for _ in range(10):
        inputs.publish_block(0.45, 0.1)
        inputs.publish_joints()
    assert inputs.moves(), "away from home, though this arm does not follow"
