"""Conversion of the recorded messages of a run to one Recording per episode."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from invdyn_ros.data.recording import JointSamples, Recording, StampedImage
from invdyn_ros.nodes.joint_states import gripper_opening, joints_by_name
from invdyn_ros.nodes.messages import (
    cloud_to_landmarks,
    image_to_array,
    pose_to_arrays,
    to_nanoseconds,
    to_seconds,
)
from invdyn_ros.nodes.runner import HOLD_COUNT_PREFIX
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import quaternion_pose

RawMessages = dict[str, tuple[Any, list[bytes]]]  # topic -> message type, serialized messages
StampedMessages = list[tuple[float, Any]]  # (stamp [s], message)
RUN_TOPICS = ("/diagnostics", "/timing", "/gripper/command")  # not split into episodes


def to_recordings(raw: RawMessages, robot: Robot, latency: bool) -> list[Recording]:
    """Return one recording per episode; the first one also has the data of the whole run.

    Args:
        raw: all recorded messages.
        robot: the arm.
        latency: whether to include processing times; simulated stamps do not measure them.
    """
    parts = {
        topic: split_episodes(deserialize_topic(raw, topic))
        for topic in raw
        if topic not in RUN_TOPICS
    }
    recordings = []
    for i in range(len(parts["/joint_states"])):
        part = {topic: split[i] for topic, split in parts.items() if i < len(split)}
        recordings.append(_recording(part, robot))
    if latency:
        recordings[0].stages.extend(
            (m.source, to_seconds(m.header.stamp), to_seconds(m.time_ref))
            for m in deserialize_topic(raw, "/timing")
        )
    recordings[0].hold_counts.update(count_holds(deserialize_topic(raw, "/diagnostics")))
    return recordings


def deserialize_topic(raw: RawMessages, topic: str) -> list[Any]:
    """Return the messages of a topic, none if it was not recorded."""
    message_type, serialized = raw.get(topic, (None, []))
    return [deserialize_message(data, message_type) for data in serialized]


def split_episodes(messages: Iterable[Any]) -> list[StampedMessages]:
    """Split messages where simulated time restarts, and drop repeated stamps."""
    split: list[StampedMessages] = [[]]
    last = -1
    for message in messages:
        stamp = to_nanoseconds(message.header.stamp)
        if stamp < last:
            split.append([])
        if stamp > last or not split[-1]:  # lockstep repeats a state when a command is late
            split[-1].append((to_seconds(message.header.stamp), message))
        last = stamp
    return split


def count_holds(diagnostics: Iterable[Any]) -> dict[str, int]:
    """Return how often each node held, by reason, from its last diagnostics."""
    counts: dict[str, int] = {}
    for message in diagnostics:
        for status in message.status:
            for value in status.values:
                if value.key.startswith(HOLD_COUNT_PREFIX) and status.name != "simulator":
                    counts[f"{status.name}: {value.key[len(HOLD_COUNT_PREFIX) :]}"] = int(
                        value.value
                    )
    return counts


def _recording(part: dict[str, StampedMessages], robot: Robot) -> Recording:
    """Return the recording of one episode from its messages by topic."""
    names = robot.joint_names
    recording = Recording(
        JointSamples.from_rows(
            [(t, *joints_by_name(m, names), _opening(m, robot)) for t, m in part["/joint_states"]]
        ),
        JointSamples.from_rows(
            [
                (t, *joints_by_name(m, names), np.nan)
                for t, m in part.get("/inverse_dynamics/desired_joint_state", [])
            ]
        ),
    )
    for t, m in part.get("/joint_target", []):
        order = [list(m.joint_names).index(name) for name in names]
        recording.targets[t] = np.array(m.points[0].positions)[order]
    recording.landmarks = [(t, cloud_to_landmarks(m)) for t, m in part.get("/pose/landmarks", [])]
    for t, m in part.get("/sim/objects", []):
        recording.block_poses[t] = pose_to_arrays(m.poses[0])
    for t, m in part.get("/blocks/block_0", []):
        T = quaternion_pose(*pose_to_arrays(m.pose.pose))
        in_base = m.header.frame_id == robot.base_link
        (recording.base_detections if in_base else recording.camera_detections)[t] = T
    overlays = part.get("/pose/overlay", []) or part.get("/blocks/overlay", [])
    recording.images = [StampedImage(t, image_to_array(m)) for t, m in overlays]
    return recording


def _opening(message: JointState, robot: Robot) -> float:
    """Return the opening of the gripper [m]; NaN if the driver does not publish it."""
    fingers = robot.gripper.joint_names if robot.gripper else ()
    if not set(fingers) <= set(message.name):
        return np.nan
    return gripper_opening(message, robot)
