"""A recording of the grasp graph enters; what was said in each of its episodes leaves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from invdyn_ros.data.recording import JointSamples
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, detection_on_table
from invdyn_ros.grasp.learning.recorded_episodes import DesiredTrajectory, RecordedGrasp
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, quaternion_pose
from invdyn_ros.sources.hand_eye_bag import POSE_MESSAGE
from invdyn_ros.sources.rosbag import JOINT_STATE, messages, source_stamp, topics

STATES, TARGETS, GRIPPER = "/joint_states", "/joint_target", "/gripper/command"
BLOCK_POSE, TRUE_BLOCKS = "/blocks/block_0", "/sim/objects"
TRAJECTORY, COMMAND = "trajectory_msgs/msg/JointTrajectory", "std_msgs/msg/Float64MultiArray"
POSES = "geometry_msgs/msg/PoseArray"
RESET_JUMP = 0.1  # back in time that the network cannot explain: the simulation was reset [s]
STAMP_DIGITS = 5  # of a time [s] when an arm was wanted somewhere: stamps are rounded

T = TypeVar("T")


class StampedMessage(NamedTuple):
    """One message: when it was made, when it was logged [s], and what it said."""

    stamp: float
    logged: float
    content: Any


def read_grasp_bag(path: Path, robot: Robot, scene: Scene) -> list[RecordedGrasp]:
    """Read the episodes of a recording of a grasp.

    A sighting counts as known from the wanted state on that was logged after it.

    Args:
        path: a bag folder, or a bare .db3 or .mcap file.
        robot: the arm, with its gripper.
        scene: as it was described to the graph: camera and size of the block.

    Raises:
        ValueError: no recording, or joint states, wanted states or grips are missing in it.
    """
    try:
        states = _split_episodes(_states(path, robot))
        heard = topics(path)
        targets = _targets(path, robot)
        grips = _gripper_commands(path, [said for part in states for said in part])
        seen = _detections(path, scene) if BLOCK_POSE in heard else []
        blocks = _true_block_poses(path) if TRUE_BLOCKS in heard else []
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    parts = (_by_episode(said, states) for said in (targets, grips, seen, blocks))
    rows = zip(states, *parts, strict=True)
    return [_grasp(*row) for row in rows if row[1]]  # an arm that nobody wanted anywhere rests


def _grasp(
    states: list[StampedMessage],
    targets: list[StampedMessage],
    grips: list[StampedMessage],
    seen: list[StampedMessage],
    true: list[StampedMessage],
) -> RecordedGrasp:
    """Put together what was said in one episode."""
    wanted = {round(said.content[0], STAMP_DIGITS): said.content[1:] for said in targets}
    times = sorted(wanted)
    q, qd = (np.stack([wanted[time][k] for time in times]) for k in (0, 1))
    told, logged = (np.array([said[k] for said in targets]) for k in (0, 1))
    known = []
    for one in seen:
        answer = int(np.searchsorted(logged, one.logged))
        if answer < len(told):
            known.append((max(float(told[answer]), one.stamp), one.content))
    return RecordedGrasp(
        float(told[0]),
        JointSamples.from_rows([(said.stamp, *said.content) for said in states]),
        DesiredTrajectory(np.array(times), q, qd),
        np.array([(said.stamp, said.content) for said in grips]).reshape(-1, 2),
        sorted(known, key=lambda pair: (pair[0], pair[1].time)),
        np.array([(said.stamp, *said.content) for said in true]).reshape(-1, 8),
    )


def _states(path: Path, robot: Robot) -> list[StampedMessage]:
    """Return the joint states: (q, qd, effort (0,), opening)."""
    fingers = robot.gripper.joints if robot.gripper else ()
    n, names, said = robot.n, (*robot.joint_names, *fingers), []
    for logged, message in messages(path, STATES, JOINT_STATE):
        known = list(message.name)
        if not set(known) & set(robot.joint_names):
            continue  # another publisher on the same topic
        index = [_index(name, known, STATES) for name in names]
        q, stamp = np.asarray(message.position)[index], source_stamp(message)
        qd = np.asarray(message.velocity)
        qd = qd[index[:n]] if len(qd) == len(known) else np.empty(0)
        if not np.isfinite(q).all() or not np.isfinite(qd).all():
            raise ValueError(f"{STATES} of {stamp} s holds what is no finite number")
        said.append(
            StampedMessage(stamp, logged * 1e-9, (q[:n], qd, np.empty(0), float(q[n:].sum())))
        )
    if not said:
        raise ValueError(f"{STATES} has no message of '{robot.name}'")
    return said


def _targets(path: Path, robot: Robot) -> list[StampedMessage]:
    """Return the wanted states: (when, q, qd)."""
    said = []
    for logged, message in messages(path, TARGETS, TRAJECTORY):
        names, stamp = list(message.joint_names), source_stamp(message)
        index = [_index(name, names, TARGETS) for name in robot.joint_names]
        point = message.points[0]
        ahead = point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
        q, qd = np.asarray(point.positions)[index], np.asarray(point.velocities)
        qd = qd[index] if len(qd) else np.zeros(robot.n)
        said.append(StampedMessage(stamp, logged * 1e-9, (stamp + ahead, q, qd)))
    return said


def _gripper_commands(path: Path, states: list[StampedMessage]) -> list[StampedMessage]:
    """Return the wanted openings; one that does not say which state it answers has the newest."""
    logs, said = np.array([state.logged for state in states]), []
    for logged, message in messages(path, GRIPPER, COMMAND):
        label = message.layout.dim[0].label if message.layout.dim else ""
        newest = states[max(int(np.searchsorted(logs, logged * 1e-9, "right")) - 1, 0)].stamp
        seconds, rest = divmod(int(label), 10**9) if label.isdigit() else (newest, 0)
        stamp = seconds + rest * 1e-9  # to the last bit that of the state
        said.append(StampedMessage(stamp, logged * 1e-9, float(message.data[0])))
    return said


def _detections(path: Path, scene: Scene) -> list[StampedMessage]:
    camera, height, said = scene.camera.T_base_camera, scene.block_size / 2, []
    for logged, message in messages(path, BLOCK_POSE, POSE_MESSAGE):
        position, quaternion = _pose(message.pose.pose)
        covariance, stamp = np.reshape(message.pose.covariance, (6, 6)), source_stamp(message)
        pose = quaternion_pose(position, quaternion)
        found: BlockDetection = detection_on_table(stamp, pose, covariance, camera, height)
        said.append(StampedMessage(stamp, logged * 1e-9, found))
    return said


def _true_block_poses(path: Path) -> list[StampedMessage]:
    """Return the true poses of the first block, (7,) each."""
    return [
        StampedMessage(
            source_stamp(message), logged * 1e-9, np.concatenate(_pose(message.poses[0]))
        )
        for logged, message in messages(path, TRUE_BLOCKS, POSES)
    ]


def _pose(pose: Any) -> tuple[np.ndarray, np.ndarray]:
    p, o = pose.position, pose.orientation
    return np.array([p.x, p.y, p.z]), np.array([o.x, o.y, o.z, o.w])


def _index(name: str, names: list[str], topic: str) -> int:
    if name not in names:
        raise ValueError(f"no joint '{name}' in {topic}; a message has {', '.join(names)}")
    return names.index(name)


def _split_episodes(states: Iterable[StampedMessage]) -> list[list[StampedMessage]]:
    """Return joint states by episode, each once: simulated time starts again with each."""
    parts: list[list[StampedMessage]] = [[]]
    for said in states:
        last = parts[-1][-1].stamp if parts[-1] else -np.inf
        if said.stamp < last - RESET_JUMP:
            parts.append([said])
        elif said.stamp > last:  # lockstep repeats a state when an answer is late
            parts[-1].append(said)
    return parts


def _by_episode(
    heard: list[StampedMessage], states: list[list[StampedMessage]]
) -> list[list[StampedMessage]]:
    """Return messages by episode, in the order of their stamps, each stamp once.

    A message belongs where joint states of its stamp were logged at about the same time: topics
    overtake each other, and in some episodes a topic is silent.
    """
    stamp, logged = (np.array([said[k] for said in heard]) for k in (0, 1))
    nearest, best = np.full(len(heard), np.inf), np.full(len(heard), -1)
    for k, part in enumerate(states):
        time, log = (np.array([said[j] for said in part]) for j in (0, 1))
        away = np.abs(np.interp(stamp, time, log, left=np.inf, right=np.inf) - logged)
        best[away < nearest], nearest = k, np.minimum(away, nearest)
    parts: list[dict[float, StampedMessage]] = [{} for _ in states]
    for said, k in zip(heard, best, strict=True):
        if k >= 0:
            parts[k].setdefault(said.stamp, said)
    return [[part[stamp] for stamp in sorted(part)] for part in parts]
