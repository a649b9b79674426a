"""Serialized messages of a run in, one Recording per episode out."""

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

Kept = dict[str, tuple[Any, list[bytes]]]  # topic -> message type, serialized messages
Stamped = list[tuple[float, Any]]  # (stamp [s], message)
WHOLE = ("/diagnostics", "/timing", "/gripper/command")  # topics that are not cut into episodes


def recordings(kept: Kept, robot: Robot, latency: bool) -> list[Recording]:
    """Return one recording per episode, one at least; the first has what belongs to the run.

    Args:
        kept: all that was heard.
        robot: the arm.
        latency: stamps tell it; simulated ones do not.
    """
    parts = {
        topic: split_where_time_restarts(messages(kept, topic))
        for topic in kept
        if topic not in WHOLE
    }
    made = []
    for i in range(len(parts["/joint_states"])):
        part = {topic: split[i] for topic, split in parts.items() if i < len(split)}
        made.append(_recording(part, robot))
    if latency:
        made[0].stages.extend(
            (m.source, to_seconds(m.header.stamp), to_seconds(m.time_ref))
            for m in messages(kept, "/timing")
        )
    made[0].hold_counts.update(holds(messages(kept, "/diagnostics")))
    return made


def messages(kept: Kept, topic: str) -> list[Any]:
    """Return the messages of a topic; none where it was not listened to."""
    kind, raws = kept.get(topic, (None, []))
    return [deserialize_message(raw, kind) for raw in raws]


def split_where_time_restarts(heard: Iterable[Any]) -> list[Stamped]:
    """Return messages by episode, each stamp once: the simulated time starts again with each."""
    split: list[Stamped] = [[]]
    last = -1
    for message in heard:
        stamp = to_nanoseconds(message.header.stamp)
        if stamp < last:
            split.append([])
        if stamp > last or not split[-1]:  # lockstep repeats a state when an answer is late
            split[-1].append((to_seconds(message.header.stamp), message))
        last = stamp
    return split


def holds(diagnostics: Iterable[Any]) -> dict[str, int]:
    """Return how often any node held, by reason, as the last diagnostics of each say."""
    counts: dict[str, int] = {}
    for message in diagnostics:
        for status in message.status:
            for value in status.values:
                if value.key.startswith(HOLD_COUNT_PREFIX) and status.name != "simulator":
                    counts[f"{status.name}: {value.key[len(HOLD_COUNT_PREFIX) :]}"] = int(
                        value.value
                    )
    return counts


def _recording(part: dict[str, Stamped], robot: Robot) -> Recording:
    """Return the recording of one episode from its messages by topic."""
    names = robot.joint_names
    made = Recording(
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
        made.targets[t] = np.array(m.points[0].positions)[order]
    made.landmarks = [(t, cloud_to_landmarks(m)) for t, m in part.get("/pose/landmarks", [])]
    for t, m in part.get("/sim/objects", []):
        made.block_poses[t] = pose_to_arrays(m.poses[0])
    for t, m in part.get("/blocks/block_0", []):
        place = quaternion_pose(*pose_to_arrays(m.pose.pose))
        in_base = m.header.frame_id == robot.base_link
        (made.base_detections if in_base else made.camera_detections)[t] = place
    overlays = part.get("/pose/overlay", []) or part.get("/blocks/overlay", [])
    made.images = [StampedImage(t, image_to_array(m)) for t, m in overlays]
    return made


def _opening(message: JointState, robot: Robot) -> float:
    """Return the gripper's opening [m]; NaN where the driver of a real arm knows no gripper."""
    fingers = robot.gripper.joints if robot.gripper else ()
    if not set(fingers) <= set(message.name):
        return np.nan
    return gripper_opening(message, robot)
