"""Conversion of messages: round trips, and errors of invalid ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import (
    JointState,
    PointCloud2,
    PointField,
)
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.nodes.bag import BagWriter
from invdyn_ros.nodes.joint_states import (
    JointStateReader,
    gripper_opening,
    joints_by_name,
    joints_to_message,
)
from invdyn_ros.nodes.messages import (
    ForeignMessage,
    arrays_to_pose,
    block_to_message,
    cloud_to_landmarks,
    command_stamp,
    command_to_message,
    landmarks_to_cloud,
    message_to_target,
    pose_to_arrays,
    pose_to_transform,
    poses_to_message,
    target_to_message,
    to_nanoseconds,
    to_stamp,
)
from invdyn_ros.nodes.robot_names import NamesConfig, RobotNames
from invdyn_ros.nodes.statuses import own_statuses
from invdyn_ros.robots.robot import load_robot

STAMP = 1_700_000_000_123_456_789  # [ns]
NAMES = ("a", "b", "c")
AT_ONE = Target(0, State(*np.ones((3, 3))), 0.0)


def through_the_wire(message: object) -> object:
    """Return a message after serialization and deserialization."""
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 10**9, STAMP])
def test_stamp_conversion_is_exact(nanoseconds: int) -> None:
    assert to_nanoseconds(to_stamp(nanoseconds)) == nanoseconds


def test_landmarks_round_trip_with_and_without_person() -> None:
    points = np.random.default_rng(0).standard_normal((33, 4)).astype(np.float32)
    header = Header(stamp=to_stamp(STAMP))
    cloud = through_the_wire(landmarks_to_cloud(points, header))
    assert isinstance(cloud, PointCloud2)
    np.testing.assert_array_equal(cloud_to_landmarks(cloud), points)
    assert cloud_to_landmarks(landmarks_to_cloud(None, header)) is None


def test_landmarks_are_found_by_the_names_of_their_fields() -> None:
    """Another node may add fields, or order them otherwise."""
    kinds = [("visibility", "<f4"), ("id", "<i4"), ("z", "<f4"), ("y", "<f4"), ("x", "<f4")]
    points = np.zeros(33, kinds)
    for name in ("x", "y", "z", "visibility"):
        points[name] = np.random.default_rng(0).random(33)
    cloud = PointCloud2(height=33, width=1, point_step=20, row_step=20, data=points.tobytes())
    cloud.fields = [
        PointField(name=name, offset=4 * i, count=1, datatype=5 if name == "id" else 7)
        for i, (name, _) in enumerate(kinds)
    ]
    landmarks = cloud_to_landmarks(cloud)
    for i, name in enumerate(("x", "y", "z", "visibility")):
        np.testing.assert_array_equal(landmarks[:, i], points[name])


def test_cloud_with_other_fields_is_refused() -> None:
    cloud = landmarks_to_cloud(np.zeros((12, 4)), Header())
    with pytest.raises(ForeignMessage, match="33 landmarks, the cloud has 12"):
        cloud_to_landmarks(cloud)
    cloud.fields = cloud.fields[:3]
    with pytest.raises(ValueError, match="visibility"):
        cloud_to_landmarks(cloud)


def test_joints_are_found_by_name_in_any_order() -> None:
    message = JointState(
        name=["finger", "c", "a", "b"],
        position=[9.0, 3.0, 1.0, 2.0],
        velocity=[0.0, 6.0, 4.0, 5.0],
    )
    q, qd, effort = joints_by_name(message, NAMES)
    np.testing.assert_array_equal(q, [1, 2, 3])
    np.testing.assert_array_equal(qd, [4, 5, 6])
    assert effort.size == 0


def test_incomplete_joint_state_is_refused() -> None:
    with pytest.raises(ForeignMessage, match=r"lacks \['c'\]"):
        joints_by_name(JointState(name=["a", "b"], position=[1.0, 2.0]), NAMES)
    with pytest.raises(ForeignMessage, match=r"names \['b'\] more than once"):
        joints_by_name(JointState(name=[*NAMES, "b"], position=[1.0] * 4), NAMES)
    with pytest.raises(ValueError, match="names 3 joints but has 2 positions"):
        joints_by_name(JointState(name=list(NAMES), position=[1.0, 2.0]), NAMES)


def test_gripper_may_publish_its_own_joint_states() -> None:
    robot, stamp = load_robot("ur5"), to_stamp(STAMP)
    read, fingers = JointStateReader(RobotNames.of(robot)), robot.gripper.joint_names
    arm = JointState(name=list(robot.joint_names), position=robot.home.tolist())
    arm.header.stamp = stamp
    with pytest.raises(ForeignMessage, match="joints of the gripper yet"):
        read(arm)
    assert read(JointState(name=list(fingers), position=[0.02, 0.02])) is None
    state = read(arm)
    assert (state.stamp, state.opening, state.qd.size) == (STAMP, 0.04, 0)
    arm.position[0] = np.nan
    with pytest.raises(ForeignMessage, match="positions"):
        read(arm)


def test_target_round_trips_in_the_joint_order_of_the_arm() -> None:
    target = Target(STAMP * 1e-9, State(*np.arange(9.0).reshape(3, 3)), 0.008)
    message = through_the_wire(target_to_message(target, RobotNames(NAMES), to_stamp(STAMP)))
    assert isinstance(message, JointTrajectory)
    converted = message_to_target(message, NAMES)
    assert converted.stamp == pytest.approx(STAMP * 1e-9, abs=1e-6) and converted.horizon == 0.008
    for sent, actual in zip(target.state, converted.state, strict=True):
        np.testing.assert_array_equal(actual, sent)
    other = message_to_target(message, ("c", "a", "b"))
    np.testing.assert_array_equal(other.state.q, target.state.q[[2, 0, 1]])


def test_target_without_velocities_is_at_rest() -> None:
    message = target_to_message(AT_ONE, RobotNames(NAMES), to_stamp(0))
    message.points[0].velocities, message.points[0].accelerations = [], []
    converted = message_to_target(message, NAMES)
    np.testing.assert_array_equal(converted.state.qd, 0)
    np.testing.assert_array_equal(converted.state.qdd, 0)


def test_invalid_target_is_refused() -> None:
    message = target_to_message(AT_ONE, RobotNames(NAMES), to_stamp(0))
    with pytest.raises(ValueError, match=r"\['a', 'b', 'c'\], the arm has \['a', 'x'\]"):
        message_to_target(message, ("a", "x"))
    message.points[0].positions = [1.0]
    with pytest.raises(ValueError, match="1 positions, 3 velocities"):
        message_to_target(message, NAMES)
    message.points = []
    with pytest.raises(ValueError, match="one point, got 0"):
        message_to_target(message, NAMES)


@pytest.mark.parametrize(("namespace", "own"), [("/", "a"), ("/left", "b"), ("/left/arm", "c")])
def test_only_statuses_of_the_nodes_of_a_namespace_are_read(namespace: str, own: str) -> None:
    """All systems of a domain share the topic; drivers name their statuses by their tasks."""
    names = "grasp", "left/grasp", "left/arm/grasp", "leftgrasp/x", "ur: safety", "left/ur: x", ""
    pairs = zip(names, "abcdefg", strict=True)
    statuses = [DiagnosticStatus(name=name, message=letter) for name, letter in pairs]
    read = list(own_statuses(DiagnosticArray(status=statuses), namespace))
    assert [(status.name, status.message) for status in read] == [("grasp", own)]


def test_command_has_the_stamp_of_its_state() -> None:
    message = through_the_wire(command_to_message(np.array([1.0, -2.0]), STAMP))
    assert isinstance(message, Float64MultiArray)
    assert command_stamp(message) == STAMP and list(message.data) == [1.0, -2.0]
    assert command_stamp(Float64MultiArray(data=[1.0])) is None
    message.layout.dim[0].label = "joints"
    assert command_stamp(message) is None


def test_pose_round_trips() -> None:
    position, quaternion = np.array([0.1, -0.2, 0.3]), np.array([0.5, 0.5, -0.5, 0.5])
    covariance = np.arange(36.0).reshape(6, 6)
    block = through_the_wire(block_to_message(position, quaternion, covariance, Header()))
    assert isinstance(block, PoseWithCovarianceStamped)
    np.testing.assert_array_equal(np.reshape(block.pose.covariance, (6, 6)), covariance)
    poses = poses_to_message([(position, quaternion)], to_stamp(STAMP), "base")
    for pose in (block.pose.pose, *poses.poses):
        np.testing.assert_array_equal(pose_to_arrays(pose)[0], position)
        np.testing.assert_array_equal(pose_to_arrays(pose)[1], quaternion)


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_joints_and_gripper_round_trip(arm: str) -> None:
    """Under the names that the driver gives them."""
    robot, rng = load_robot(arm), np.random.default_rng(0)
    names, none = RobotNames.of(robot, NamesConfig("left_")), np.empty(0)
    for qd, effort in ((rng.normal(size=robot.n), none), (none, rng.normal(size=robot.n))):
        q = rng.normal(size=robot.n)
        sent = joints_to_message(names, to_stamp(STAMP), q, 0.03, qd, effort)
        message = through_the_wire(sent)
        assert isinstance(message, JointState)
        assert message.header == Header(stamp=to_stamp(STAMP), frame_id=f"left_{robot.base_link}")
        assert all(name.startswith("left_") for name in message.name)
        for actual, expected in zip(
            joints_by_name(message, names.joint_names), (q, qd, effort), strict=True
        ):
            np.testing.assert_array_equal(actual, expected)
        assert gripper_opening(message, names) == (0.03 if robot.gripper else 0.0)


def test_pose_and_its_transform_agree() -> None:
    rng = np.random.default_rng(0)
    header = Header(stamp=to_stamp(STAMP), frame_id="camera")
    for _ in range(10):
        pose = arrays_to_pose(rng.normal(size=3), Rotation.random(random_state=rng).as_quat())
        sent = through_the_wire(pose_to_transform(pose, "block_3", header))
        assert isinstance(sent, TransformStamped)
        assert (sent.header, sent.child_frame_id) == (header, "block_3")
        place, rotation = sent.transform.translation, sent.transform.rotation
        position, quaternion = pose_to_arrays(pose)
        np.testing.assert_array_equal([place.x, place.y, place.z], position)
        np.testing.assert_array_equal([rotation.x, rotation.y, rotation.z, rotation.w], quaternion)


def test_recorded_messages_are_read_back_from_the_bag(tmp_path: Path) -> None:
    """A reader without ROS reads the raw messages of a subscription."""
    folder = tmp_path / "bag"
    writer = BagWriter(folder)
    sent = [
        (
            "/joint_states",
            JointState(header=Header(stamp=to_stamp(STAMP)), name=["a"], position=[1.5]),
        ),
        ("/commands", command_to_message(np.array([2.5]), STAMP)),
    ]
    rclpy.init()
    node, received = rclpy.create_node("bag_test"), []
    for k, (topic, message) in enumerate(sent):
        publisher = node.create_publisher(type(message), topic, 10)
        node.create_subscription(type(message), topic, received.append, 10, raw=True)
        while publisher.get_subscription_count() == 0:
            rclpy.spin_once(node, timeout_sec=0.1)
        publisher.publish(message)
        while len(received) == k:
            rclpy.spin_once(node, timeout_sec=0.1)
        writer.write(topic, type(message), STAMP + k, received[k])
    node.destroy_node()
    rclpy.shutdown()
    writer.close()
    store = get_typestore(Stores.ROS2_JAZZY)
    with Reader(folder) as reader:
        actual = [
            (row.topic, row.msgtype, time, store.deserialize_cdr(raw, row.msgtype))
            for row, time, raw in reader.messages()
        ]
    kinds = ["sensor_msgs/msg/JointState", "std_msgs/msg/Float64MultiArray"]
    assert [row[0] for row in actual] == ["/joint_states", "/commands"]
    assert [row[1] for row in actual] == kinds
    assert [row[2] for row in actual] == [STAMP, STAMP + 1]
    assert actual[0][3].position[0] == 1.5
    assert actual[1][3].data[0] == 2.5 and actual[1][3].layout.dim[0].label == str(STAMP)


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exists already"):
        BagWriter(tmp_path)
