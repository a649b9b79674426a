"""Conversion between ROS messages and arrays. Stamps are those of the source's clock."""

import array
import math
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped, TransformStamped
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Float64MultiArray, Header, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.typing import Array

REJECTED = "rejected"  # namespace of markers with the reason why a block has no pose
EPISODE_RUNNING = "running"  # message of an episode without a result
LANDMARK_FIELDS = ("x", "y", "z", "visibility")
IMAGE_FIELDS = ("u", "v")  # position in the image [image heights], may be absent
NUM_LANDMARKS = 33
SHARED_DEPTH = 4  # newest messages of a topic on which several devices publish
MAX_DIGITS = 19  # of a stamp [ns]
MIN_NORM, MAX_NORM = 1e-3, 1e3  # of a quaternion


class ForeignMessage(ValueError):
    """A message that a node cannot use: of another device, incomplete or damaged.

    Nodes ignore it, count it, and log the reason once.
    """


def to_stamp(nanoseconds: int) -> Time:
    """Convert nanoseconds to a ROS stamp."""
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def to_nanoseconds(stamp: Time) -> int:
    """Convert a ROS stamp to nanoseconds."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def to_seconds(stamp: Time) -> float:
    """Convert a ROS stamp to seconds."""
    return to_nanoseconds(stamp) * 1e-9


def latest_qos(lockstep: bool) -> QoSProfile:
    """Return the QoS of topics whose subscribers need the latest message, or all in lockstep.

    A late subscriber gets the latest message instead of a queue of old ones. Best effort avoids an
    acknowledgement of each message, which wakes up both processes.
    """
    if lockstep:
        return QoSProfile(depth=10)
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def joint_states_qos(lockstep: bool) -> QoSProfile:
    """Return the QoS of joint states: the latest of the arm, or all in lockstep.

    Other devices publish theirs on the same topic at the same time; with a depth of one, they
    would take the place of those of the arm.
    """
    if lockstep:
        return QoSProfile(depth=10)
    return QoSProfile(depth=SHARED_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)


def landmarks_to_cloud(landmarks: NDArray[Any] | None, header: Header) -> PointCloud2:
    """Return a cloud of landmarks, empty without a person.

    Args:
        landmarks: (33, 4) x, y, z [m] and visibility, or (33, 6) with the position in the image
            [image heights]; None without a person.
        header: frame and time of the image.
    """
    points = np.empty((0, 6), np.float32) if landmarks is None else landmarks.astype(np.float32)
    names = (*LANDMARK_FIELDS, *IMAGE_FIELDS)[: points.shape[1]]
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(names)
        ],
        point_step=4 * len(names),
        row_step=4 * len(names) * len(points),
        is_dense=True,
        data=array.array("B", points.tobytes()),
    )


def cloud_to_landmarks(message: PointCloud2) -> Array | None:
    """Return the landmarks (33, 4) or (33, 6) of a cloud, None without a person.

    Raises:
        ForeignMessage: other fields, another number of points, or values that are not finite.
    """
    fields = {field.name: field for field in message.fields}
    names = [name for name in LANDMARK_FIELDS if name in fields]
    names += IMAGE_FIELDS if set(IMAGE_FIELDS) <= set(fields) else ()
    if not set(LANDMARK_FIELDS) <= set(fields) or any(
        fields[name].datatype != PointField.FLOAT32 for name in names
    ):
        raise ForeignMessage(
            f"landmarks need fields {', '.join(LANDMARK_FIELDS)} as float32, got "
            f"{', '.join(fields) or 'none'}"
        )
    num_points, step = message.width * message.height, message.point_step
    if num_points == 0:
        return None
    offsets = [fields[name].offset for name in names]
    if num_points != NUM_LANDMARKS or max(offsets) + 4 > step:
        raise ForeignMessage(
            f"a person has {NUM_LANDMARKS} landmarks, the cloud has {num_points} points of "
            f"{step} bytes"
        )
    if len(message.data) != num_points * step:
        raise ForeignMessage(
            f"a cloud of {num_points} points of {step} bytes has {len(message.data)} bytes"
        )
    number = ">f4" if message.is_bigendian else "<f4"
    layout = {
        "names": names,
        "formats": [number] * len(names),
        "offsets": offsets,
        "itemsize": step,
    }
    points: NDArray[Any] = np.frombuffer(message.data, np.dtype(layout))  # type: ignore[call-overload]
    with np.errstate(invalid="ignore"):
        landmarks = np.stack([points[name] for name in names], axis=1).astype(float)
    if not np.isfinite(landmarks).all():
        raise ForeignMessage("landmarks are not finite")
    return landmarks


def target_to_message(target: Target, names: RobotNames, stamp: Time) -> JointTrajectory:
    """Return a one-point trajectory.

    Args:
        target: the desired state.
        names: names of joints and frames.
        stamp: stamp of the data that the target is computed from.
    """
    horizon = round(target.horizon * 1e9)
    point = JointTrajectoryPoint(
        positions=target.state.q.tolist(),
        velocities=target.state.qd.tolist(),
        accelerations=target.state.qdd.tolist(),
    )
    point.time_from_start.sec, point.time_from_start.nanosec = divmod(horizon, 10**9)
    return JointTrajectory(
        header=names.header(stamp), joint_names=list(names.joint_names), points=[point]
    )


def message_to_target(message: JointTrajectory, names: tuple[str, ...]) -> Target:
    """Return the desired state of a one-point trajectory.

    Args:
        message: the trajectory.
        names: names of the joints in the order of the result.

    Raises:
        ForeignMessage: other joints, not exactly one point, or an incomplete point.
    """
    if sorted(message.joint_names) != sorted(names):
        raise ForeignMessage(
            f"joint_target is for joints {list(message.joint_names)}, the arm has {list(names)}"
        )
    if len(message.points) != 1:
        raise ForeignMessage(f"joint_target must have one point, got {len(message.points)}")
    point, n = message.points[0], len(names)
    order = [list(message.joint_names).index(name) for name in names]
    q = np.array(point.positions, float)
    qd = np.array(point.velocities, float) if len(point.velocities) else np.zeros(n)
    qdd = np.array(point.accelerations, float) if len(point.accelerations) else np.zeros(n)
    if not q.size == qd.size == qdd.size == n:
        raise ForeignMessage(
            f"joint_target has {q.size} positions, {qd.size} velocities and {qdd.size} "
            f"accelerations for {n} joints"
        )
    horizon = point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
    return Target(
        to_seconds(message.header.stamp), State(q[order], qd[order], qdd[order]), horizon
    )


def command_to_message(values: Array, nanoseconds: int) -> Float64MultiArray:
    """Return a command labelled with the stamp of the state that it belongs to.

    The message has no header, so the stamp is the label of its dimension. Drivers ignore it; a
    simulator in lockstep and recordings use it to match command and state.

    Args:
        values: (n,) command.
        nanoseconds: stamp of the state [ns].
    """
    message = Float64MultiArray(data=values.tolist())
    message.layout.dim.append(
        MultiArrayDimension(label=str(nanoseconds), size=values.size, stride=values.size)
    )
    return message


def command_stamp(message: Float64MultiArray) -> int | None:
    """Return the stamp [ns] of the state that a command belongs to, None without a label."""
    label = message.layout.dim[0].label if message.layout.dim else ""
    return int(label) if label.isdecimal() and len(label) <= MAX_DIGITS else None


def message_to_command(message: Float64MultiArray, num_values: int) -> Array:
    """Return the values (n,) of a command.

    Raises:
        ForeignMessage: another number of values, or one that is not finite.
    """
    values = np.array(message.data, float)
    if values.shape != (num_values,) or not np.isfinite(values).all():
        expected = "one number" if num_values == 1 else f"{num_values} numbers"
        raise ForeignMessage(f"invalid command {values.tolist()[:20]}: expected {expected}")
    return values


def pose_to_arrays(pose: Pose) -> tuple[Array, Array]:
    """Return position (3,) [m] and quaternion (4,) xyzw of a pose.

    Raises:
        ForeignMessage: not finite, or no rotation.
    """
    p, o = pose.position, pose.orientation
    position, quaternion = np.array([p.x, p.y, p.z]), np.array([o.x, o.y, o.z, o.w])
    if not math.isfinite(position.sum()) or not MIN_NORM < np.abs(quaternion).max() < MAX_NORM:
        raise ForeignMessage(
            f"pose with position {position.tolist()} and quaternion {quaternion.tolist()} is not "
            "a pose"
        )
    return position, quaternion


def arrays_to_pose(position: Array, quaternion: Array) -> Pose:
    """Return a pose from position (3,) [m] and quaternion (4,) xyzw."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = map(float, position)
    o = pose.orientation
    o.x, o.y, o.z, o.w = map(float, quaternion)
    return pose


def poses_to_message(poses: list[tuple[Array, Array]], stamp: Time, frame_id: str) -> PoseArray:
    """Return a PoseArray of (position, quaternion) pairs.

    Args:
        poses: positions (3,) [m] and quaternions (4,) xyzw.
        stamp: time of the poses.
        frame_id: name of their frame.
    """
    return PoseArray(
        header=Header(stamp=stamp, frame_id=frame_id),
        poses=[arrays_to_pose(*pose) for pose in poses],
    )


def block_to_message(
    position: Array, quaternion: Array, covariance: Array, header: Header
) -> PoseWithCovarianceStamped:
    """Return the pose of a block.

    Args:
        position: (3,) [m].
        quaternion: (4,) xyzw.
        covariance: (6, 6) of x, y, z, rx, ry, rz [m2, rad2].
        header: frame and time of the pose.
    """
    message = PoseWithCovarianceStamped(header=header)
    message.pose.pose = arrays_to_pose(position, quaternion)
    message.pose.covariance = np.asarray(covariance, float).flatten().tolist()
    return message


def pose_to_transform(pose: Pose, child_frame_id: str, header: Header) -> TransformStamped:
    """Return the transform from a child frame to the frame of the header.

    Args:
        pose: pose of the child frame.
        child_frame_id: name of the child frame.
        header: parent frame and time.
    """
    message = TransformStamped(header=header, child_frame_id=child_frame_id)
    p, translation = pose.position, message.transform.translation
    translation.x, translation.y, translation.z = p.x, p.y, p.z
    message.transform.rotation = pose.orientation
    return message
