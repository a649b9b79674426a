"""Description and frames of arms, as robot_state_publisher publishes them."""

import numpy as np
import pytest
from node_probe import SIMULATED, START, STATES, TICK, UR5, stamps, state
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from test_link_frames import in_base

from invdyn_ros.graph.graph import resolve
from invdyn_ros.nodes.frames import FramePublisher
from invdyn_ros.nodes.robot_state import RobotStateNode
from invdyn_ros.nodes.simulator import SimulatorNode
from invdyn_ros.robots.link_frames import LinkPose
from invdyn_ros.robots.registry import REGISTERED, ROBOTS
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.urdf import UrdfTree

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DESCRIPTION = "/robot_description"


@pytest.fixture
def frames(monkeypatch):
    """Lists of the frames that move and of those that stay; tf2_msgs is not on PyPI."""
    sent, static = [], []
    monkeypatch.setattr(FramePublisher, "has_subscribers", lambda _: True)
    monkeypatch.setattr(FramePublisher, "publish", lambda _, ts: sent.append(list(ts)))
    monkeypatch.setattr(FramePublisher, "publish_static", lambda _, ts: static.extend(ts))
    return sent, static


def to_pose(message):
    t, r = message.transform.translation, message.transform.rotation
    parent, child = message.header.frame_id, message.child_frame_id
    return LinkPose(parent, child, (t.x, t.y, t.z), (r.x, r.y, r.z, r.w))


def test_simulated_arm_is_described_to_late_subscribers_and_has_frames(start_node, frames):
    sent, static = frames
    probe, states = start_node(
        SimulatorNode, [(STATES, JointState)], **SIMULATED, tf_prefix="left_"
    )
    probe.wait_until(lambda: len(sent) > 5)
    (described,) = [text.data for text in latched(probe)]
    assert UrdfTree(described).root == f"left_{UR5.base_link}"
    moved = [messages[0] for messages in sent]
    assert np.diff(stamps(moved)).min() >= 20_000_000  # at most 50 Hz
    poses = in_base([to_pose(m) for m in (*sent[-1], *static)], f"left_{UR5.base_link}")
    (measured,) = [m for m in states if m.header.stamp == moved[-1].header.stamp]
    q = np.array(measured.position[:6])
    expected = UR5.forward_kinematics(q)
    np.testing.assert_allclose(poses[f"left_{UR5.tip_link}"], expected, atol=1e-9)
    assert "left_" + UR5.gripper.joint_names[0] in measured.name


def latched(probe):
    """The descriptions that a subscriber gets that comes late."""
    received = []
    probe.node.create_subscription(String, DESCRIPTION, received.append, LATCHED)
    probe.wait_until(lambda: received)
    return received


def test_real_arm_is_described_when_asked_for_and_only_once(
    start_node, frames, tmp_path, monkeypatch
):
    """A graph takes the description, with its prefix, for the arm that it names."""
    sent, _ = frames
    probe = start_node(RobotStateNode, arm="ur5", tf_prefix="left_")
    assert "robot" in latched(probe)[0].data
    publisher = probe.advertise(STATES, JointState)

    def publish_until(count, *messages):
        probe.wait_until(lambda: [publisher.publish(m) for m in messages] and len(sent) == count)

    names = [f"left_{name}" for name in UR5.joint_names]
    publish_until(1, state(START, names=names))
    later = (state(START + ticks * TICK, names=names) for ticks in (2, 3))
    publish_until(2, *later)  # at most 50 Hz
    publish_until(3, state(START + 10 * TICK, UR5.home[:3], names=names[:3]))
    assert stamps(messages[0] for messages in sent) == [START, START + 3 * TICK, START + 10 * TICK]
    assert [len(messages) for messages in sent] == [6, 6, 3]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(REGISTERED, "")
    monkeypatch.setitem(ROBOTS, "ur5", ROBOTS["ur5"])  # restored after the test
    (described,) = {
        spec.parameters["arm"]
        for spec in resolve("teleop", {"urdf": "robot_description", "tf_prefix": "left_"})
        if "arm" in spec.parameters
    }
    robot = load_robot(str(described))
    assert robot.name == "ur5" and robot.urdf.is_relative_to(tmp_path)
    assert robot.joint_names == UR5.joint_names and robot.tip_link == UR5.tip_link
    probe.node.create_publisher(String, DESCRIPTION, LATCHED)
    probe.wait_until(lambda: "another node" in (probe.tested_node.hold_reason or ""))
