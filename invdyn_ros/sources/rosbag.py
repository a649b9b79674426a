"""Reader of joint states from rosbag2 recordings: .db3 or .mcap files, or bag folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from invdyn_ros.config import check_nesting, describe_error, read_text
from invdyn_ros.data.trajectory import MAX_INTERVAL_DEVIATION, Trajectory
from invdyn_ros.models.effort_fit import effort_notes
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.bag_joints import joint_rows, measured_rows
from invdyn_ros.sources.import_result import ImportResult, merge_results, recording_names
from invdyn_ros.sources.source import DEFAULT_ARM, Collection, Source, arm_name

JOINT_STATE_MESSAGE = "sensor_msgs/msg/JointState"
METADATA, FILES = "metadata.yaml", (".db3", ".mcap")
DUPLICATES = "duplicate messages"
TOO_SHORT, RESAMPLED = "messages in trajectories shorter than the window", "by resampling"


@dataclass(frozen=True)
class BagConfig:
    """Topic, unit and sampling of a recording."""

    effort_unit: Literal["N m", "N m without gravity", "A", "rad"]
    """Unit of `effort`, which the driver decides and no recording holds. UR: A with older drivers,
    N m without gravity with newer ones on PolyScope 5.23 or later."""
    topic: str = "/joint_states"
    """Topic with the joint states."""
    tf_prefix: str = ""
    """Prefix of the joints in the recording, that of the driver."""
    rate: float | None = None
    """[Hz] Rate of the trajectories; default: that of the recording."""
    max_gap: float = 0.1
    """[s] A longer gap between messages ends a trajectory."""
    window: int = 13
    """Samples per Savitzky-Golay window; shorter trajectories are left out."""
    keep_stamps: bool = False
    """Keep the stamps of the messages, without accelerations, as time-series models need them."""


def read_bag(path: str | Path, joint_names: Sequence[str], config: BagConfig) -> ImportResult:
    """Read the motion of joints from recordings, with accelerations.

    Args:
        path: a bag folder, a bare .db3 or .mcap file, or a folder of several of these.
        joint_names: names of the joints, in any order in the messages.
        config: topic, unit of `effort`, rate and filter.

    Raises:
        ValueError: no readable bag, no such topic or joint, or all motions are too short.
    """
    bags = find_bags(path)
    return merge_results(
        _read_recording(bag, tuple(joint_names), config).named(name)
        for bag, name in zip(bags, recording_names(bags), strict=True)
    )


def find_bags(path: str | Path) -> list[Path]:
    """Return the recordings at a path, in the order of their names.

    Raises:
        ValueError: there are none.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; give a bag folder, a .db3 or a .mcap")
    if path.is_file() or (path / METADATA).is_file():
        return [path]
    inside = sorted(path.iterdir())
    bags = [p for p in inside if p.suffix in FILES or (p / METADATA).is_file()]
    if not bags:
        raise ValueError(
            f"{path}: no recording in this folder; it has neither {METADATA} nor a .db3 or .mcap"
        )
    return bags


def _read_recording(path: Path, joints: tuple[str, ...], config: BagConfig) -> ImportResult:
    changes = Counter[str]()
    try:
        recorded = tuple(config.tf_prefix + joint for joint in joints)
        rows = joint_rows(messages(path, config.topic, JOINT_STATE_MESSAGE), recorded, changes)
        count = len(rows) - changes.total()
        _check_time(rows, config.max_gap)
        rows = measured_rows(rows, changes)
        recording = _to_trajectory(rows, joints, config.effort_unit, changes)
        segments = recording.segments(config.max_gap)
        parts = [part for part in segments if len(part) >= max(config.window, 2)]
        changes[TOO_SHORT] -= len(recording) - sum(map(len, parts))
        if not parts:
            raise ValueError(
                f"no {config.window} consecutive messages without a gap of {config.max_gap} s"
            )
        rate, trajectories = config.rate or recording.rate, parts
        if not config.keep_stamps:
            trajectories = [
                _to_uniform_rate(part, rate).differentiate(config.window) for part in parts
            ]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    changes[RESAMPLED] += sum(map(len, trajectories)) - sum(map(len, parts))
    return ImportResult(trajectories, count, dict(changes))


class MissingTopic(ValueError):
    """A recording without a topic of the expected name and type."""


def messages(path: Path, topic: str, message_type: str) -> Iterator[tuple[int, Any]]:
    """Yield (log time [ns], message) of a topic.

    Args:
        path: the recording.
        topic: name of the topic.
        message_type: such as "sensor_msgs/msg/JointState".

    Raises:
        ValueError: no recording, or no topic of that name and type in it.
    """
    from rosbags.typesys import Stores, get_typestore

    # these message types are the same in all ROS 2 distributions
    types = get_typestore(Stores.ROS2_JAZZY)
    with _open(path) as reader:
        types_by_topic = {c.topic: c.msgtype for c in reader.connections}
        if types_by_topic.get(topic) != message_type:
            known = ", ".join(f"{name} ({kind})" for name, kind in types_by_topic.items())
            raise MissingTopic(
                f"no topic {topic} of type {message_type}; it holds {known or 'nothing'}"
            )
        for _, stamp, raw in reader.messages([c for c in reader.connections if c.topic == topic]):
            yield stamp, types.deserialize_cdr(raw, message_type)


def topics(path: Path) -> set[str]:
    """Return the names of the topics of a recording.

    Raises:
        ValueError: no recording.
    """
    with _open(path) as reader:
        return {connection.topic for connection in reader.connections}


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a recording; the library raises any class of error for damaged content.

    Raises:
        ValueError: no recording, or a damaged one.
    """
    from rosbags.rosbag2 import Reader

    try:
        if (path / METADATA).is_file():
            check_nesting(read_text(path / METADATA))
        with Reader(path) as reader:
            yield reader
    except MissingTopic:
        raise
    except Exception as error:
        raise ValueError(
            f"not a readable rosbag2 recording ({describe_error(error)}); record or copy it again"
        ) from error


def _check_time(rows: list[tuple[np.ndarray, ...]], gap: float) -> None:
    """Check that time does not jump back; the network may swap neighbouring messages.

    Raises:
        ValueError: it does.
    """
    time = np.array([float(row[0]) for row in rows])
    jumps = np.flatnonzero(time < np.maximum.accumulate(time) - gap)
    if len(jumps):
        k = int(jumps[0])
        raise ValueError(
            f"message {k} of these joints is stamped {time[k]} s, after {time[:k].max()} s; "
            "cut the recording there"
        )


def _to_trajectory(
    rows: list[tuple[np.ndarray, ...]], joints: tuple[str, ...], unit: str, changes: Counter[str]
) -> Trajectory:
    """Stack rows in the order of their stamps, without exact duplicates."""
    rows = sorted(rows, key=lambda row: float(row[0]))
    unique = [rows[0]]
    for row in rows[1:]:
        if not all(np.array_equal(a, b) for a, b in zip(row, unique[-1], strict=True)):
            unique.append(row)
    changes[DUPLICATES] -= len(rows) - len(unique)
    time, *columns = zip(*unique, strict=True)
    blocks = []
    for name, values in zip(("position", "velocity", "effort"), columns, strict=True):
        known = {len(v) for v in values}
        if len(known) > 1:
            raise ValueError(f"some messages have {name} and some do not; record them separately")
        blocks.append(np.stack(values) if known != {0} else np.empty((0, len(joints))))
    position, velocity, action = blocks
    return Trajectory(
        np.stack(time), position, velocity, np.empty((0, len(joints))), action, joints, unit
    )


def _to_uniform_rate(part: Trajectory, rate: float) -> Trajectory:
    """Resample a trajectory at a rate [Hz], unless it already has that rate."""
    return (
        part
        if np.abs(np.diff(part.time) * rate - 1).max() < MAX_INTERVAL_DEVIATION
        else part.resample(rate)
    )


@dataclass(frozen=True)
class BagSource(Source):
    """Read joint states from rosbag2 recordings (.db3 or .mcap, with or without metadata)."""

    path: Path
    """The recording, or a folder of several."""
    bag: BagConfig
    """Topic, unit and sampling."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; default: that of the URDF file, or ur5."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""

    def collect(self) -> Collection:
        """Read all recordings at the path."""
        robot = load_robot(arm_name(self.arm, self.urdf, DEFAULT_ARM), self.urdf)
        result = read_bag(self.path, robot.joint_names, self.bag)
        notes = effort_notes(robot, result.trajectories, self.bag.effort_unit)
        return Collection(result, robot.name, self.bag.rate, notes=notes)
