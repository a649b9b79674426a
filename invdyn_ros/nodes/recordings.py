"""Conversion of the recorded messages of a run to one Recording per episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from invdyn_ros.control.command import MODEL_DRIFT, SOFT_STOP
from invdyn_ros.data.recording import (
    EncodedImage,
    EpisodeStatus,
    JointSamples,
    Recording,
    StatusInterval,
)
from invdyn_ros.graph.topics import (
    BLOCKS_OVERLAY,
    DESIRED_JOINT_STATE,
    DIAGNOSTICS,
    EPISODE,
    JOINT_STATES,
    JOINT_TARGET,
    LANDMARKS,
    OBJECTS,
    POSE_OVERLAY,
    PUSH,
    TIMING,
    block_topic,
)
from invdyn_ros.nodes.joint_states import ArmJoints, gripper_opening, joints_by_name
from invdyn_ros.nodes.message_log import MessageLog
from invdyn_ros.nodes.messages import (
    EPISODE_RUNNING,
    cloud_to_landmarks,
    message_to_target,
    pose_to_arrays,
    to_nanoseconds,
    to_seconds,
)
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.nodes.runner import HOLD_COUNT_PREFIX
from invdyn_ros.nodes.statuses import own_statuses
from invdyn_ros.nodes.wrench import message_to_wrench
from invdyn_ros.robots.scene import quaternion_pose
from invdyn_ros.teleop.hand_calibration import CALIBRATION_KEY, HandCalibration

MAX_REORDERING = 100_000_000  # [ns] by which stamps may decrease without a restart of time
IMAGE_STAGE = "image"  # source in /timing of the images that the camera published
CONTACT = "contact: "  # prefix of the status of a simulator whose arm touches something
STALE = 3  # level of the status of a node without input: nothing is held back yet
# part of the status of a node that still performs its task; a late target is no hold yet
WARNINGS = ("action clipped", "fallback", "target is late", SOFT_STOP, MODEL_DRIFT)
PERCEPTION = ("camera", "scene_camera", "pose", "blocks", "block_pose")  # never hold the arm


def is_warning(text: str) -> bool:
    """Return whether the node of a status still performs its task."""
    return any(part in text for part in WARNINGS)


def is_restart(stamp: int, last: int) -> bool:
    """Return whether time has restarted between two stamps [ns]."""
    return stamp < last - MAX_REORDERING


def serialized_stamp(raw: bytes) -> int:
    """Return the stamp [ns] of a serialized message that starts with a header."""
    # it comes first in the CDR encoding, after four bytes that name the encoding
    sec, nanosec = np.frombuffer(raw[4:12], "<i4")
    return int(sec) * 10**9 + int(nanosec)


def names_joint(raw: bytes, joint: str) -> bool:
    """Return whether a serialized message of joint states has a joint."""
    name = joint.encode() + b"\0"  # after its length, as CDR has it
    return len(name).to_bytes(4, "little") + name in raw


def to_recordings(
    log: MessageLog, names: RobotNames, latency: bool, target: int = 0
) -> list[Recording]:
    """Return one recording per episode; the first one also has the counts of the whole run.

    Args:
        log: all recorded messages.
        names: names of joints and frames.
        latency: whether to include processing times; simulated stamps do not measure them.
        target: index of the block to grasp.
    """
    reader = _RunReader(names, target)
    for topic, raw in log:
        reader.add(topic, deserialize_message(raw, log.types[topic]), raw)
    return reader.recordings(latency)


class _Topic:
    """Values of one topic by their stamps [s], in parts that start where time restarts."""

    def __init__(self) -> None:
        self.parts: list[dict[float, Any]] = [{}]
        self.last = -1

    def add(self, stamp: int, value: Any) -> None:
        if is_restart(stamp, self.last):
            self.parts.append({})
        # lockstep repeats a message when a command is late
        self.parts[-1].setdefault(stamp * 1e-9, value)
        self.last = stamp

    def rows(self, part: int) -> list[tuple[float, Any]]:
        return sorted(self.parts[part].items(), key=_first) if part < len(self.parts) else []


class _RunReader:
    """Collects the values of all topics, one message at a time."""

    def __init__(self, names: RobotNames, target: int) -> None:
        self.target = target
        self.names, self._read_joints = names, ArmJoints(names.joint_names)
        self._opening = np.nan  # of the gripper, whose joints may be in other messages [m]
        self.topics: dict[str, _Topic] = {}
        self.ignored: Counter[str] = Counter()
        self.timing: list[tuple[int, str, float, float]] = []  # part, source, stamp, time
        self.statuses: list[tuple[int, float, Any]] = []  # part, time, status
        self.readers: dict[str, Callable[[Any], Any]] = {
            JOINT_STATES: self._joints,
            DESIRED_JOINT_STATE: lambda m: (*joints_by_name(m, names.joint_names), np.nan),
            JOINT_TARGET: lambda m: message_to_target(m, names.joint_names).state.q,
            LANDMARKS: cloud_to_landmarks,
            OBJECTS: lambda m: _poses(m, target),
            block_topic(target): self._detection,
            POSE_OVERLAY: lambda m: bytes(m.data),
            BLOCKS_OVERLAY: lambda m: bytes(m.data),
            PUSH: lambda m: message_to_wrench(m, names)[:3],
            EPISODE: episode_status,
        }

    def add(self, topic: str, message: Any, raw: bytes) -> None:
        """Add a message; one that cannot be read is counted."""
        states = self.topics.setdefault(JOINT_STATES, _Topic())
        part, now = len(states.parts) - 1, states.last * 1e-9
        if topic == DIAGNOSTICS:
            self.statuses += [(part, now, s) for s in own_statuses(message, self.names.namespace)]
        elif topic == TIMING:
            stamp = to_seconds(message.header.stamp)
            self.timing.append((part, message.source, stamp, to_seconds(message.time_ref)))
        elif topic in self.readers:
            try:
                value = self.readers[topic](message)
            except (ValueError, IndexError):  # a foreign message
                self.ignored[topic] += 1
                return
            if value is None and topic == JOINT_STATES:
                return
            stamp_ns = to_nanoseconds(message.header.stamp)
            self.topics.setdefault(topic, _Topic()).add(stamp_ns, value)

    def recordings(self, latency: bool) -> list[Recording]:
        """Return one recording per part."""
        count = len(self.topics.setdefault(JOINT_STATES, _Topic()).parts)
        recordings = [self._recording(part) for part in range(count)]
        for part, source, stamp, time in self.timing:
            if source == IMAGE_STAGE:
                recordings[part].image_stamps.append(stamp)
            elif latency:
                recordings[part].stages.append((source, stamp, time))
        for part, recording in enumerate(recordings):
            statuses = [(time, status) for p, time, status in self.statuses if p == part]
            recording.statuses.extend(status_intervals(statuses, recording.joints.time))
        all_statuses = [status for _, _, status in self.statuses]
        recordings[0].calibration = last_calibration(all_statuses)
        for reason, count in counts_by_reason(all_statuses).items():
            _, _, contact = reason.partition(CONTACT)
            if contact:
                recordings[0].contact_counts[contact] = count
            elif not is_warning(reason):
                recordings[0].hold_counts[reason] = count
        recordings[0].ignored_counts.update(self.ignored)
        return recordings

    def _recording(self, part: int) -> Recording:
        rows = {topic: values.rows(part) for topic, values in self.topics.items()}
        recording = Recording(
            JointSamples.from_rows([(t, *value) for t, value in rows.get(JOINT_STATES, [])]),
            JointSamples.from_rows(
                [(t, *value) for t, value in rows.get(DESIRED_JOINT_STATE, [])]
            ),
            targets=dict(rows.get(JOINT_TARGET, [])),
            landmarks=rows.get(LANDMARKS, []),
            pushes=rows.get(PUSH, []),
            episodes=rows.get(EPISODE, []),
            block_poses={t: poses[self.target] for t, poses in rows.get(OBJECTS, [])},
            all_block_poses=dict(rows.get(OBJECTS, [])),
        )
        for t, (in_base, T) in rows.get(block_topic(self.target), []):
            (recording.base_detections if in_base else recording.camera_detections)[t] = T
        overlays = rows.get(POSE_OVERLAY, []) or rows.get(BLOCKS_OVERLAY, [])
        recording.images = [EncodedImage(t, jpeg) for t, jpeg in overlays]
        return recording

    def _joints(self, message: JointState) -> tuple[Any, ...] | None:
        """Return the values of the arm, None if they are not complete or of another device."""
        names = set(message.name)
        if set(self.names.finger_names) <= names:
            self._opening = gripper_opening(message, self.names)
        if not names & set(self.names.joint_names):
            return None
        values = self._read_joints(message)
        return None if values is None else (*values[1:], self._opening)

    def _detection(self, message: Any) -> tuple[bool, Any]:
        in_base = message.header.frame_id == self.names.base_link
        return in_base, quaternion_pose(*pose_to_arrays(message.pose.pose))


def status_intervals(statuses: list[tuple[float, Any]], times: Any) -> list[StatusInterval]:
    """Return when which node held or had a fault, in time order.

    Args:
        statuses: time [s] and status of each diagnostics message.
        times: stamps of the joint states [s], with the last of which open intervals end.
    """
    intervals: list[StatusInterval] = []
    current: dict[str, StatusInterval] = {}
    end = float(times[-1]) if len(times) else 0.0
    for time, status in statuses:
        if status.name in PERCEPTION:
            continue
        last = current.pop(status.name, None)
        level = ord(status.level) if isinstance(status.level, bytes) else status.level
        kind = _status_kind(status.message, level)
        if last is not None and (kind, status.message) != (last.kind, last.text):
            intervals.append(last._replace(end=max(time, last.start)))
            last = None
        if level and level != STALE:
            start = max(time, float(times[0])) if len(times) else time
            current[status.name] = last or StatusInterval(
                start, end, status.name, status.message, kind
            )
    return sorted([*intervals, *current.values()])


def _status_kind(text: str, level: int) -> str:
    if level > 1:
        return "fault"
    if text.startswith(CONTACT):
        return "contact"
    return "warning" if is_warning(text) else "hold"


def counts_by_reason(statuses: list[Any]) -> dict[str, int]:
    """Return how often each node held, by node and reason, from its last diagnostics."""
    counts: dict[str, int] = {}
    for status in statuses:
        for value in status.values:
            if value.key.startswith(HOLD_COUNT_PREFIX):
                counts[f"{status.name}: {value.key.removeprefix(HOLD_COUNT_PREFIX)}"] = int(
                    value.value
                )
    return counts


def last_calibration(statuses: list[Any]) -> HandCalibration | None:
    """Return how the person was calibrated in the end, None if there was no gesture."""
    texts = [v.value for s in statuses for v in s.values if v.key == CALIBRATION_KEY]
    for text in reversed(texts):
        with suppress(ValueError):  # a foreign message
            return HandCalibration.from_json(text)
    return None


def _poses(message: Any, target: int) -> list[tuple[Any, Any]]:
    """Return the poses of all blocks; IndexError if there are too few."""
    poses = [pose_to_arrays(pose) for pose in message.poses]
    return [poses[target]] and poses


def episode_status(message: Any) -> EpisodeStatus:
    """Return what the grasp node says of an episode; IndexError without a status."""
    status = message.status[0]
    if status.message == EPISODE_RUNNING:
        return EpisodeStatus(None, status.message)
    return EpisodeStatus(status.level in (DiagnosticStatus.OK, 0), status.message)


def _first(pair: tuple[float, Any]) -> float:
    return pair[0]
