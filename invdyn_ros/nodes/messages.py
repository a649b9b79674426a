"""Messages to arrays and back. Stamps are nanoseconds or seconds of the source's clock."""

import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped, TransformStamped
from numpy.typing import NDArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Float64MultiArray, Header, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from invdyn_ros.control.safety_limits import State, Target
from invdyn_ros.typing import Array

COMMAND_TOPICS = {
    "N m": "/forward_effort_controller/commands",
    "rad": "/forward_position_controller/commands",
}  # where the real drivers listen, by the unit of the action
REFUSED = "refused"  # namespace of the texts on /blocks/markers that say why a block has no pose
LANDMARK_FIELDS = ("x", "y", "z", "visibility")
ENCODINGS = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0)}  # order of the channels to red, green, blue


def to_stamp(nanoseconds: int) -> Time:
    """Return a ROS stamp of nanoseconds."""
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def to_nanoseconds(stamp: Time) -> int:
    """Return the nanoseconds of a ROS stamp."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def to_seconds(stamp: Time) -> float:
    """Return the seconds of a ROS stamp."""
    return to_nanoseconds(stamp) * 1e-9


def newest(lockstep: bool) -> QoSProfile:
    """Return the QoS of who wants the newest message only, or in lockstep every one.

    A reader that is late takes the newest, it never works off a queue. Best effort spares an
    acknowledgement for each message: a wake-up of both sides.
    """
    if lockstep:
        return QoSProfile(depth=10)
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def image_to_message(image: NDArray[np.uint8], stamp: Time, frame: str) -> Image:
    """Return an rgb8 message of an image (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    # array.array is the one type that rclpy does not check element by element.
    return Image(
        header=Header(stamp=stamp, frame_id=frame),
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=array.array("B", np.ascontiguousarray(image).tobytes()),
    )


def image_to_array(message: Image) -> NDArray[np.uint8]:
    """Return the RGB image (H, W, 3) uint8 of a message.

    Raises:
        ValueError: the encoding is not one of the known ones, or the data are too short.
    """
    if message.encoding not in ENCODINGS:
        raise ValueError(
            f"image encoding '{message.encoding}' is not supported; send one of {list(ENCODINGS)}"
        )
    data = np.frombuffer(message.data, np.uint8)
    if message.step < 3 * message.width or data.size != message.step * message.height:
        raise ValueError(
            f"image of {message.width}x{message.height} {message.encoding} with step "
            f"{message.step} needs {message.step * message.height} bytes, got {data.size}"
        )
    rows = data.reshape(message.height, message.step)[:, : 3 * message.width]
    image = rows.reshape(message.height, message.width, 3)
    return image if message.encoding == "rgb8" else np.ascontiguousarray(image[..., ::-1])


def camera_info_message(
    intrinsics: Array, width: int, height: int, stamp: Time, frame: str
) -> CameraInfo:
    """Return the CameraInfo of an ideal pinhole camera with intrinsics (3, 3) [px]."""
    k = np.asarray(intrinsics, float)
    return CameraInfo(
        header=Header(stamp=stamp, frame_id=frame),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=k.flatten().tolist(),
        r=np.eye(3).flatten().tolist(),
        p=np.hstack([k, np.zeros((3, 1))]).flatten().tolist(),
    )


def landmarks_to_cloud(landmarks: NDArray[Any] | None, header: Header) -> PointCloud2:
    """Return a cloud of landmarks (33, 4) x y z [m] visibility; no person is an empty cloud."""
    points = np.empty((0, 4), np.float32) if landmarks is None else landmarks.astype(np.float32)
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(LANDMARK_FIELDS)
        ],
        point_step=16,
        row_step=16 * len(points),
        is_dense=True,
        data=array.array("B", points.tobytes()),
    )


def cloud_to_landmarks(message: PointCloud2) -> Array | None:
    """Return the landmarks (33, 4) of a cloud, None where nobody was seen.

    Raises:
        ValueError: the cloud has other fields or another number of points.
    """
    names = tuple(field.name for field in message.fields)
    if names != LANDMARK_FIELDS or message.point_step != 16:
        raise ValueError(f"landmarks need fields {LANDMARK_FIELDS} as float32, got {names}")
    if message.width == 0:
        return None
    if message.width != 33:
        raise ValueError(f"a person has 33 landmarks, the cloud has {message.width} points")
    return np.frombuffer(message.data, np.float32).reshape(33, 4).astype(float)


def target_to_message(target: Target, names: tuple[str, ...], stamp: Time) -> JointTrajectory:
    """Return the one-point trajectory of a wanted state; the stamp is the source's."""
    whole = round(target.horizon * 1e9)
    point = JointTrajectoryPoint(
        positions=target.state.q.tolist(),
        velocities=target.state.qd.tolist(),
        accelerations=target.state.qdd.tolist(),
    )
    point.time_from_start.sec, point.time_from_start.nanosec = divmod(whole, 10**9)
    return JointTrajectory(header=Header(stamp=stamp), joint_names=list(names), points=[point])


def message_to_target(message: JointTrajectory, names: tuple[str, ...]) -> Target:
    """Return the wanted state of a one-point trajectory, joints in the arm's order.

    Raises:
        ValueError: the joints differ, or there is not exactly one whole point.
    """
    if sorted(message.joint_names) != sorted(names):
        raise ValueError(
            f"joint_target is for joints {list(message.joint_names)}, the arm has {list(names)}"
        )
    if len(message.points) != 1:
        raise ValueError(f"joint_target must have one point, got {len(message.points)}")
    point, n = message.points[0], len(names)
    order = [list(message.joint_names).index(name) for name in names]
    q = np.array(point.positions, float)
    qd = np.array(point.velocities, float) if len(point.velocities) else np.zeros(n)
    qdd = np.array(point.accelerations, float) if len(point.accelerations) else np.zeros(n)
    if not q.size == qd.size == qdd.size == n:
        raise ValueError(f"joint_target has {q.size} positions for {n} joints")
    horizon = point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
    return Target(
        to_seconds(message.header.stamp), State(q[order], qd[order], qdd[order]), horizon
    )


def command_to_message(values: Array, nanoseconds: int) -> Float64MultiArray:
    """Return a command; its dimension's label is the stamp of the state that it answers [ns].

    The standard message has no header; drivers ignore the label, a simulator in lockstep and a
    recording use it to pair command and state.
    """
    message = Float64MultiArray(data=values.tolist())
    message.layout.dim.append(
        MultiArrayDimension(label=str(nanoseconds), size=values.size, stride=values.size)
    )
    return message


def command_stamp(message: Float64MultiArray) -> int | None:
    """Return the stamp [ns] of the state that a command answers, None if it does not say."""
    label = message.layout.dim[0].label if message.layout.dim else ""
    return int(label) if label.isdigit() else None


def pose_to_arrays(pose: Pose) -> tuple[Array, Array]:
    """Return position (3,) [m] and quaternion (4,) xyzw of a pose."""
    p, o = pose.position, pose.orientation
    return np.array([p.x, p.y, p.z]), np.array([o.x, o.y, o.z, o.w])


def arrays_to_pose(position: Array, quaternion: Array) -> Pose:
    """Return a pose from position (3,) [m] and quaternion (4,) xyzw."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = map(float, position)
    o = pose.orientation
    o.x, o.y, o.z, o.w = map(float, quaternion)
    return pose


def poses_to_message(poses: list[tuple[Array, Array]], stamp: Time, frame: str) -> PoseArray:
    """Return a PoseArray of (position, quaternion) pairs."""
    return PoseArray(
        header=Header(stamp=stamp, frame_id=frame),
        poses=[arrays_to_pose(*pose) for pose in poses],
    )


def block_to_message(
    position: Array, quaternion: Array, covariance: Array, header: Header
) -> PoseWithCovarianceStamped:
    """Return a block's pose with covariance (6, 6) in x y z rx ry rz [m2, rad2]."""
    message = PoseWithCovarianceStamped(header=header)
    message.pose.pose = arrays_to_pose(position, quaternion)
    message.pose.covariance = np.asarray(covariance, float).flatten().tolist()
    return message


def pose_to_transform(pose: Pose, child: str, header: Header) -> TransformStamped:
    """Return where a frame stands in the header's, at the header's stamp."""
    message = TransformStamped(header=header, child_frame_id=child)
    p, place = pose.position, message.transform.translation
    place.x, place.y, place.z = p.x, p.y, p.z
    message.transform.rotation = pose.orientation
    return message
