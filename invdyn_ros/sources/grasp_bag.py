"""Reader of recordings of the grasp graph, episode by episode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.data.recording import JointSamples
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, detection_on_table
from invdyn_ros.grasp.learning.recorded_episodes import DesiredTrajectory, RecordedGrasp
from invdyn_ros.grasp.policies.success import is_relocated
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, quaternion_pose
from invdyn_ros.sources.bag_files import JOINT_STATE_MESSAGE, messages, topics
from invdyn_ros.sources.bag_joints import source_stamp
from invdyn_ros.sources.hand_eye_bag import POSE_MESSAGE

STATE_TOPIC, TARGET_TOPIC, GRIPPER_TOPIC = "joint_states", "joint_target", "gripper/command"
BLOCK_POSE_TOPIC, TRUE_BLOCKS_TOPIC = "blocks/block_0", "sim/objects"
TRAJECTORY_MESSAGE, COMMAND_MESSAGE = (
    "trajectory_msgs/msg/JointTrajectory",
    "std_msgs/msg/Float64MultiArray",
)
POSES_MESSAGE = "geometry_msgs/msg/PoseArray"
RESET_JUMP = 0.1  # [s] time going back by more than this is a reset, not reordering by the network
STAMP_DIGITS = 5  # decimals of the time [s] of a desired state, since stamps are rounded


class StampedMessage(NamedTuple):
    """Content of a message, its stamp and its log time [s]."""

    stamp: float
    logged: float
    content: Any


@dataclass(frozen=True)
class GraspBag:
    """A recording of the grasp graph.

    Attributes:
        path: a bag folder, or a bare .db3 or .mcap file.
        namespace: namespace of the graph.
        tf_prefix: prefix of its joints.
    """

    path: Path
    namespace: str = ""
    tf_prefix: str = ""

    def topic(self, name: str) -> str:
        """Return the full name of a topic."""
        return "/".join(("", *filter(None, (self.namespace.strip("/"), name))))

    def messages(self, topic: str, message_type: str) -> Iterator[tuple[int, Any]]:
        """Yield (log time [ns], message) of a topic."""
        return messages(self.path, self.topic(topic), message_type)

    def joints(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the recorded names of joints."""
        return tuple(self.tf_prefix + name for name in names)


def read_grasp_bag(bag: GraspBag, robot: Robot, scene: Scene) -> list[RecordedGrasp]:
    """Read the episodes of a recording of a grasp.

    A detection counts as received before the next desired state that was logged after it.

    Args:
        bag: the recording.
        robot: the arm, with its gripper.
        scene: scene of the graph, for its camera and the size of the block.

    Raises:
        ValueError: no recording, or no joint states, desired states or gripper commands in it.
    """
    try:
        states = _split_episodes(_states(bag, robot))
        recorded = topics(bag.path)
        targets = _targets(bag, robot)
        gripper_commands = _gripper_commands(bag, [message for part in states for message in part])
        detections = _detections(bag, scene) if bag.topic(BLOCK_POSE_TOPIC) in recorded else []
        true_poses = _true_block_poses(bag) if bag.topic(TRUE_BLOCKS_TOPIC) in recorded else []
    except ValueError as error:
        raise ValueError(f"{bag.path}: {error}") from error
    if len(states) == 1:  # time goes on from block to block where a person teleoperates
        states = _split_at_blocks(states[0], true_poses, scene)
    parts = (
        _by_episode(topic_messages, states)
        for topic_messages in (targets, gripper_commands, detections, true_poses)
    )
    rows = zip(states, *parts, strict=True)
    return [_grasp(*row) for row in rows if row[1]]  # without desired states the arm was at rest


def _grasp(
    states: list[StampedMessage],
    targets: list[StampedMessage],
    gripper_commands: list[StampedMessage],
    detections: list[StampedMessage],
    true_poses: list[StampedMessage],
) -> RecordedGrasp:
    """Return one episode from its messages."""
    desired = {round(message.content[0], STAMP_DIGITS): message.content[1:] for message in targets}
    times = sorted(desired)
    q, qd = (np.stack([desired[time][k] for time in times]) for k in (0, 1))
    stamps, logged = (np.array([message[k] for message in targets]) for k in (0, 1))
    received = []
    for detection in detections:
        index = int(np.searchsorted(logged, detection.logged))
        if index < len(stamps):
            received.append((max(float(stamps[index]), detection.stamp), detection.content))
    return RecordedGrasp(
        float(stamps[0]),
        JointSamples.from_rows([(message.stamp, *message.content) for message in states]),
        DesiredTrajectory(np.array(times), q, qd),
        np.array([(message.stamp, message.content) for message in gripper_commands]).reshape(
            -1, 2
        ),
        sorted(received, key=lambda pair: (pair[0], pair[1].time)),
        np.array([(message.stamp, *message.content) for message in true_poses]).reshape(-1, 8),
    )


def _states(bag: GraspBag, robot: Robot) -> list[StampedMessage]:
    """Return the joint states: (q, qd, effort, opening); the effort is empty."""
    gripper = robot.gripper
    fingers = gripper.joint_names if gripper else ()
    joints, samples, n = bag.joints(robot.joint_names), [], robot.n
    names, topic = (*joints, *bag.joints(fingers)), bag.topic(STATE_TOPIC)
    for logged, message in bag.messages(STATE_TOPIC, JOINT_STATE_MESSAGE):
        received_names = list(message.name)
        if not set(received_names) & set(joints):
            continue  # another publisher on the same topic
        index = [_index(name, received_names, topic) for name in names]
        q, stamp = np.asarray(message.position)[index], source_stamp(message)
        qd = np.asarray(message.velocity)
        qd = qd[index[:n]] if len(qd) == len(received_names) else np.empty(0)
        if not np.isfinite(q).all() or not np.isfinite(qd).all():
            raise ValueError(f"{topic} of {stamp} s has values that are not finite")
        opening = gripper.opening(q[n:].tolist()) if gripper else 0.0
        samples.append(StampedMessage(stamp, logged * 1e-9, (q[:n], qd, np.empty(0), opening)))
    if not samples:
        raise ValueError(f"{topic} has no message of '{robot.name}'")
    return samples


def _targets(bag: GraspBag, robot: Robot) -> list[StampedMessage]:
    """Return the desired states: (time [s], q, qd)."""
    targets = []
    for logged, message in bag.messages(TARGET_TOPIC, TRAJECTORY_MESSAGE):
        names, stamp = list(message.joint_names), source_stamp(message)
        index = [
            _index(name, names, bag.topic(TARGET_TOPIC)) for name in bag.joints(robot.joint_names)
        ]
        point = message.points[0]
        offset = point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
        q, qd = np.asarray(point.positions)[index], np.asarray(point.velocities)
        qd = qd[index] if len(qd) else np.zeros(robot.n)
        targets.append(StampedMessage(stamp, logged * 1e-9, (stamp + offset, q, qd)))
    return targets


def _gripper_commands(bag: GraspBag, states: list[StampedMessage]) -> list[StampedMessage]:
    """Return the gripper openings with the stamps of their joint states, or of the newest ones."""
    logs, commands = np.array([state.logged for state in states]), []
    for logged, message in bag.messages(GRIPPER_TOPIC, COMMAND_MESSAGE):
        label = message.layout.dim[0].label if message.layout.dim else ""
        newest = states[max(int(np.searchsorted(logs, logged * 1e-9, "right")) - 1, 0)].stamp
        sec, nanosec = divmod(int(label), 10**9) if label.isdigit() else (newest, 0)
        stamp = sec + nanosec * 1e-9  # equal to the stamp of the state to the last bit
        commands.append(StampedMessage(stamp, logged * 1e-9, float(message.data[0])))
    return commands


def _detections(bag: GraspBag, scene: Scene) -> list[StampedMessage]:
    T_base_camera, height, detections = scene.camera.T_base_camera, scene.block_size / 2, []
    for logged, message in bag.messages(BLOCK_POSE_TOPIC, POSE_MESSAGE):
        position, quaternion = _pose(message.pose.pose)
        covariance, stamp = np.reshape(message.pose.covariance, (6, 6)), source_stamp(message)
        pose = quaternion_pose(position, quaternion)
        detection: BlockDetection = detection_on_table(
            stamp, pose, covariance, T_base_camera, height
        )
        detections.append(StampedMessage(stamp, logged * 1e-9, detection))
    return detections


def _true_block_poses(bag: GraspBag) -> list[StampedMessage]:
    """Return the true poses of the first block, (7,) each."""
    return [
        StampedMessage(
            source_stamp(message), logged * 1e-9, np.concatenate(_pose(message.poses[0]))
        )
        for logged, message in bag.messages(TRUE_BLOCKS_TOPIC, POSES_MESSAGE)
    ]


def _pose(pose: Any) -> tuple[np.ndarray, np.ndarray]:
    p, o = pose.position, pose.orientation
    return np.array([p.x, p.y, p.z]), np.array([o.x, o.y, o.z, o.w])


def _index(name: str, names: list[str], topic: str) -> int:
    if name not in names:
        raise ValueError(f"no joint '{name}' in {topic}; a message has {', '.join(names)}")
    return names.index(name)


def _split_episodes(states: Iterable[StampedMessage]) -> list[list[StampedMessage]]:
    """Return joint states by episode, without duplicates; simulated time restarts in each."""
    parts: list[list[StampedMessage]] = [[]]
    for state in states:
        last = parts[-1][-1].stamp if parts[-1] else -np.inf
        if state.stamp < last - RESET_JUMP:
            parts.append([state])
        elif state.stamp > last:  # in lockstep, a state is repeated if its command is late
            parts[-1].append(state)
    return parts


def _split_at_blocks(
    states: list[StampedMessage], true_poses: list[StampedMessage], scene: Scene
) -> list[list[StampedMessage]]:
    """Return joint states by block: the next one is laid elsewhere, and time goes on."""
    starts = [
        pose.stamp
        for last, pose in pairwise(true_poses)
        if is_relocated(last.content[:3], pose.content[:3], scene)
    ]
    stamps = np.array([state.stamp for state in states])
    bounds = [0, *np.searchsorted(stamps, np.array(starts) - 1e-6), len(states)]
    return [states[first:end] for first, end in pairwise(bounds) if end > first]


def _by_episode(
    messages_of_topic: list[StampedMessage], states: list[list[StampedMessage]]
) -> list[list[StampedMessage]]:
    """Return messages by episode, in the order of their stamps, without duplicates.

    A message belongs to the episode whose joint states of the same stamp were logged at about the
    same time: topics overtake each other, and some have no message in an episode.
    """
    stamp, logged = (np.array([message[k] for message in messages_of_topic]) for k in (0, 1))
    smallest = np.full(len(messages_of_topic), np.inf)
    episode_of = np.full(len(messages_of_topic), -1)
    for k, part in enumerate(states):
        time, log = (np.array([message[j] for message in part]) for j in (0, 1))
        distance = np.abs(np.interp(stamp, time, log, left=np.inf, right=np.inf) - logged)
        episode_of[distance < smallest], smallest = k, np.minimum(distance, smallest)
    parts: list[dict[float, StampedMessage]] = [{} for _ in states]
    for message, k in zip(messages_of_topic, episode_of, strict=True):
        if k >= 0:
            parts[k].setdefault(message.stamp, message)
    return [[part[stamp] for stamp in sorted(part)] for part in parts]
