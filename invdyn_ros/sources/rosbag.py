"""Reader of joint states from rosbag2 recordings: .db3 or .mcap files, or bag folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from invdyn_ros.data.resampling import Resampling, resample_recording
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.bag_files import find_bags
from invdyn_ros.sources.bag_joints import JointRow, joint_rows, measured_rows, with_effort
from invdyn_ros.sources.bag_messages import joint_messages, state_topic
from invdyn_ros.sources.import_result import ImportResult, merge_results, recording_names
from invdyn_ros.sources.joint_mapping import recorded_names
from invdyn_ros.sources.source import DEFAULT_ARM, Collection, Source, arm_name

DUPLICATES, REPEATED = "duplicate messages", "messages with the stamp of another one"
TOO_SHORT, RESAMPLED = "messages in trajectories shorter than the window", "by resampling"
SPLIT_FILE = re.compile(r"(.*)_(\d+)")  # as a recorder names the parts of one recording

Names = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True)
class BagConfig:
    """Topics, names, unit and sampling of a recording."""

    effort_unit: Literal["N m", "N m without gravity", "A", "rad"]
    """Unit of `effort`, which the driver decides and no recording holds. UR: A with older drivers,
    N m without gravity with newer ones on PolyScope 5.23 or later."""
    topic: Names = ()
    """Topic with the states of joints, may be repeated: JointState, JointTrajectory,
    JointTrajectoryControllerState or DynamicJointState. Default: /joint_states, or the only one.
    """
    negate_action: bool = False
    """Turn the sign of the effort, where it is the torque of the load."""
    effort_topic: str = ""
    """Topic with the effort, if it is another one; also a Float64MultiArray."""
    map: Names = ()
    """recorded=joint: a joint that has another name in the recording; may be repeated."""
    ignore: Names = ()
    """Joint of the recording to leave out; may be repeated."""
    tf_prefix: str = ""
    """Prefix of the joints in the recording, that of the driver."""
    resample: Resampling = "auto"
    """HZ: resample at this rate; auto: at that of the recording where its stamps are not evenly
    spaced; off: keep the stamps, without accelerations, for time-series models."""
    max_gap: float = 0.1
    """[s] A longer gap between messages ends a trajectory."""
    window: int = 13
    """Samples per Savitzky-Golay window; shorter trajectories are left out."""


def read_bag(path: str | Path, joint_names: Sequence[str], config: BagConfig) -> ImportResult:
    """Read the motion of joints from recordings, with accelerations.

    Args:
        path: a bag folder, a bare .db3 or .mcap file, or a folder of several of these.
        joint_names: names of the joints, in any order in the messages.
        config: topics, names, unit of `effort`, and sampling.

    Raises:
        ValueError: no readable bag, no such topic or joint, or all motions are too short.
    """
    recordings = _recordings(path)
    names = recording_names([bags[0] for bags in recordings])
    return merge_results(
        _read_recording(bags, tuple(joint_names), config).named(name)
        for bags, name in zip(recordings, names, strict=True)
    )


def _recordings(path: str | Path) -> list[list[Path]]:
    """Return the files of each recording at a path; a split one without metadata has several."""
    groups: dict[object, list[tuple[int, Path]]] = {}
    for bag in find_bags(path):
        part = SPLIT_FILE.fullmatch(bag.stem) if bag.is_file() else None
        key, number = ((part[1], bag.suffix), int(part[2])) if part else (bag, 0)
        groups.setdefault(key, []).append((number, bag))
    return [[bag for _, bag in sorted(group)] for group in groups.values()]


def _read_recording(paths: list[Path], joints: tuple[str, ...], config: BagConfig) -> ImportResult:
    changes = Counter[str]()
    recorded = recorded_names(joints, config.tf_prefix, config.map)
    parts: list[Trajectory] = []
    rows: list[JointRow] = []
    for path in paths:
        try:
            read = _rows(path, recorded, config, changes, joints)
            if rows and not 0 <= read[0].time - rows[-1].time <= config.max_gap:
                parts += _parts(rows, joints, config, changes)
                rows = []
            rows += read
            if path == paths[-1]:
                parts += _parts(rows, joints, config, changes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    try:
        if not parts:
            raise ValueError(
                f"no {config.window} consecutive messages without a gap of {config.max_gap} s"
            )
        result = resample_recording(parts, config.resample, config.max_gap, config.window)
    except ValueError as error:
        raise ValueError(f"{paths[0]}: {error}") from error
    count = sum(map(len, parts)) - changes.total()
    changes[TOO_SHORT] -= result.too_short
    changes[RESAMPLED] += sum(map(len, result.trajectories)) - sum(map(len, result.recorded))
    return ImportResult(result.trajectories, count, dict(changes), result.recorded)


def _rows(
    path: Path,
    recorded: tuple[str, ...],
    config: BagConfig,
    changes: Counter[str],
    joints: tuple[str, ...],
) -> list[JointRow]:
    """Return the rows of one file."""
    topics = config.topic or (state_topic(path),)
    rows = joint_rows(joint_messages(path, topics, config.ignore), recorded, changes, joints)
    _check_time(rows, config.max_gap)
    if config.effort_topic:
        efforts = joint_messages(path, [config.effort_topic], config.ignore)
        rows = with_effort(rows, efforts, recorded, changes, config.max_gap)
    return measured_rows(rows, changes)


def _parts(
    rows: list[JointRow], joints: tuple[str, ...], config: BagConfig, changes: Counter[str]
) -> list[Trajectory]:
    """Return the trajectories between the gaps."""
    recording = _to_trajectory(rows, joints, config.effort_unit, changes)
    recording = recording.negated() if config.negate_action else recording
    segments = recording.segments(config.max_gap)
    parts = [part for part in segments if len(part) >= max(config.window, 2)]
    changes[TOO_SHORT] -= len(recording) - sum(map(len, parts))
    return parts


def _check_time(rows: list[JointRow], gap: float) -> None:
    """Check that time does not jump back; the network may swap neighbouring messages.

    Raises:
        ValueError: it does.
    """
    time = np.array([row.time for row in rows])
    jumps = np.flatnonzero(time < np.maximum.accumulate(time) - gap)
    if len(jumps):
        k = int(jumps[0])
        raise ValueError(
            f"message {k} of these joints is stamped {time[k]} s, after {time[:k].max()} s; "
            "cut the recording there"
        )


def _to_trajectory(
    rows: list[JointRow], joints: tuple[str, ...], unit: str, changes: Counter[str]
) -> Trajectory:
    """Stack rows in the order of their stamps, only the first one of each stamp."""
    rows = sorted(rows, key=lambda row: row.time)
    unique = [rows[0]]
    for row in rows[1:]:
        if row.time > unique[-1].time:
            unique.append(row)
        else:
            is_same = all(
                np.array_equal(a, b) for a, b in zip(row[1:4], unique[-1][1:4], strict=True)
            )
            changes[DUPLICATES if is_same else REPEATED] -= 1
    time, *columns, _ = zip(*unique, strict=True)
    blocks = []
    for name, values in zip(("position", "velocity", "effort"), columns, strict=True):
        known = {len(v) for v in values}
        if len(known) > 1:
            raise ValueError(f"some messages have {name} and some do not; record them separately")
        blocks.append(np.stack(values) if known != {0} else np.empty((0, len(joints))))
    position, velocity, action = blocks
    return Trajectory(
        np.array(time), position, velocity, np.empty((0, len(joints))), action, joints, unit
    )


@dataclass(frozen=True)
class BagSource(Source):
    """Read states of joints from rosbag2 recordings (.db3 or .mcap, with or without metadata)."""

    path: Path
    """The recording, or a folder of several."""
    bag: BagConfig
    """Topics, names, unit and sampling."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; default: that of the URDF file, or ur5."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""

    def collect(self) -> Collection:
        """Read all recordings at the path."""
        robot = load_robot(arm_name(self.arm, self.urdf, DEFAULT_ARM), self.urdf)
        result = read_bag(self.path, robot.joint_names, self.bag)
        return Collection(result, robot.name, urdf=self.urdf)
