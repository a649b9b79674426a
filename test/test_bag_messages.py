"""Recordings of other message types, topics, names and encodings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from collect_command import Capture, collect, refused
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from test_collect_bag import EFFORT, joint_states
from test_rosbag import JOINT_STATE, JOINTS, recorded

from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.bag_files import (
    CONTROLLER_STATE_MESSAGE,
    DEFINITIONS,
    DYNAMIC_STATE_MESSAGE,
)
from invdyn_ros.sources.bag_messages import COMMAND_MESSAGE, TRAJECTORY_MESSAGE
from invdyn_ros.sources.joint_mapping import guess_mapping
from invdyn_ros.sources.rosbag import BagConfig, read_bag

TYPES = get_typestore(Stores.ROS2_JAZZY)
for _name, _text in DEFINITIONS.items():
    TYPES.register(get_types_from_msg(_text, _name))
MULTI_DOF_POINT = "trajectory_msgs/msg/MultiDOFJointTrajectoryPoint"
NONE = np.empty(0)
MOTION = joint_states()


class Stamped(NamedTuple):
    """A message to record."""

    topic: str
    type: str
    time: float
    content: Any


def write(
    folder: Path,
    messages: Sequence[Stamped],
    storage: StoragePlugin = StoragePlugin.MCAP,
) -> Path:
    with Writer(folder, version=9, storage_plugin=storage) as bag:
        topics: dict[tuple[str, str], Connection] = {}
        for m in sorted(messages, key=lambda m: m.time):
            key = m.topic, m.type
            if key not in topics:
                topics[key] = bag.add_connection(*key, typestore=TYPES)
            raw = TYPES.serialize_cdr(m.content, m.type)
            bag.write(topics[key], round(m.time * 1e9), raw)
    return folder


def make(kind: str, *fields: Any) -> Any:
    return TYPES.types[kind](*fields)


def header(stamp: float) -> Any:
    time = make("builtin_interfaces/msg/Time", int(stamp), round(stamp % 1 * 1e9))
    return make("std_msgs/msg/Header", time, "")


def duration(seconds: float) -> Any:
    return make("builtin_interfaces/msg/Duration", 0, round(seconds * 1e9))


def point(*columns: np.ndarray, after: float = 0.0) -> Any:
    return make("trajectory_msgs/msg/JointTrajectoryPoint", *columns, duration(after))


def joint_state(time: float, names: Sequence[str], *columns: np.ndarray) -> Any:
    return make(JOINT_STATE, header(time), list(names), *columns)


def rows(motion: Trajectory = MOTION) -> list[tuple[float, np.ndarray, np.ndarray, np.ndarray]]:
    columns = (motion.position, motion.velocity, motion.action)
    return list(zip(motion.time, *columns, strict=True))


def states(
    topic: str = "/joint_states",
    names: Sequence[str] = JOINTS,
    order: Sequence[int] = range(6),
) -> list[Stamped]:
    return [
        Stamped(topic, JOINT_STATE, t, joint_state(t, names, *(x[list(order)] for x in row)))
        for t, *row in rows()
    ]


def controller_states() -> list[Stamped]:
    empty = point(NONE, NONE, NONE, NONE)
    wrong = point(*[np.full(6, 9.0)] * 4)
    messages = []
    for t, q, qd, tau in rows():
        points = (wrong, point(q, qd, NONE, NONE), wrong, point(NONE, NONE, NONE, tau))
        multi_dof = [make(MULTI_DOF_POINT, [], [], [], duration(0))] * 6
        fields = (header(t), list(JOINTS), *points, empty, empty, [], *multi_dof)
        content = make(CONTROLLER_STATE_MESSAGE, *fields)
        messages.append(Stamped("/arm/controller_state", CONTROLLER_STATE_MESSAGE, t, content))
    return messages


def dynamic_states() -> list[Stamped]:
    names = ["position", "velocity", "effort"]
    return [
        Stamped(
            "/dynamic_joint_states",
            DYNAMIC_STATE_MESSAGE,
            t,
            make(
                DYNAMIC_STATE_MESSAGE,
                header(t),
                list(JOINTS),
                [
                    make("control_msgs/msg/InterfaceValue", names, np.array(values))
                    for values in zip(*columns, strict=True)
                ],
            ),
        )
        for t, *columns in rows()
    ]


def trajectories() -> list[Stamped]:
    """Plans of two points, the second of which the next plan replaces; without stamps."""
    return [
        Stamped(
            "/arm/joint_trajectory",
            TRAJECTORY_MESSAGE,
            t,
            make(
                TRAJECTORY_MESSAGE,
                header(0.0),
                list(JOINTS),
                [point(q, qd, NONE, tau), point(q + 9, qd, NONE, tau, after=0.1)],
            ),
        )
        for t, q, qd, tau in rows()
    ]


def commanded_effort() -> list[Stamped]:
    """States without effort, and commands without names and stamps, a little before each."""
    measured = [
        Stamped("/joint_states", JOINT_STATE, t, joint_state(t, JOINTS, q, qd, NONE))
        for t, q, qd, _ in rows()
    ]
    layout = make("std_msgs/msg/MultiArrayLayout", [], 0)
    return measured + [
        Stamped("/commands", COMMAND_MESSAGE, t - 1e-3, make(COMMAND_MESSAGE, layout, tau))
        for t, *_, tau in rows()
    ]


def two_topics() -> list[Stamped]:
    """Three joints on each topic, beside a gripper."""
    return [
        Stamped(topic, JOINT_STATE, t, joint_state(t, names, *(x[index] for x in row)))
        for t, *row in rows()
        for topic, index in (("/upper", [2, 0, 1]), ("/lower", [5, 4, 3]))
        for names in [[JOINTS[k] for k in index]]
    ]


BAGS: dict[str, tuple[Callable[[], list[Stamped]], dict[str, Any]]] = {
    "controller state": (controller_states, {}),
    "dynamic state": (dynamic_states, {}),
    "trajectory": (trajectories, {}),
    "effort topic": (commanded_effort, {"effort_topic": "/commands"}),
    "two topics": (two_topics, {"topic": ("/upper", "/lower")}),
    "other topic": (lambda: states("/robot/joint_states"), {}),
    "renamed": (
        lambda: states(names=[f"j{k}" for k in range(6)]),
        {"map": tuple(f"j{k}={name}" for k, name in enumerate(JOINTS))},
    ),
}


@pytest.mark.parametrize("name", BAGS)
def test_states_of_other_messages_and_topics_are_read(tmp_path: Path, name: str) -> None:
    messages, options = BAGS[name]
    path = write(tmp_path / "bag", messages())
    (read,) = read_bag(path, JOINTS, BagConfig("N m", **options)).trajectories
    if name == "trajectory":  # the last point of the last plan is not replaced
        read = read[: len(MOTION)]
    np.testing.assert_allclose(read.time, MOTION.time, atol=1e-6)
    for column in ("position", "velocity", "action"):
        np.testing.assert_array_equal(getattr(read, column), getattr(MOTION, column))


def test_channels_of_other_encodings_do_not_hinder(tmp_path: Path) -> None:
    """Recorders write JSON beside CDR, and "unknown" where they find no definition."""
    text = "std_msgs/msg/String"
    other = [Stamped("/odom", text, MOTION.time[0], make(text, "{}"))]
    mcap = write(tmp_path / "json", states() + other)
    (mcap / "metadata.yaml").unlink()
    (file,) = mcap.iterdir()
    schema = b"\x07\0\0\0ros2msg"
    content = file.read_bytes()
    assert text.encode() + schema in content
    file.write_bytes(content.replace(text.encode() + schema, text.encode() + b"\x07\0\0\0jsonsch"))
    sqlite = write(tmp_path / "unknown", states() + other, StoragePlugin.SQLITE3)
    with sqlite3.connect(next(sqlite.glob("*.db3"))) as database:
        database.execute("UPDATE message_definitions SET encoding = 'unknown'")
    for path in (file, sqlite):
        (read,) = read_bag(path, JOINTS, BagConfig("N m")).trajectories
        np.testing.assert_array_equal(read.position, MOTION.position)


def test_files_of_a_split_recording_are_one_trajectory(tmp_path: Path) -> None:
    folder, messages = tmp_path / "split", states()
    folder.mkdir()
    for number, part in enumerate((messages[:20], messages[20:45], messages[45:])):
        bag = write(tmp_path / f"part_{number}", part)
        next(bag.glob("*.mcap")).rename(folder / f"run_{9 + number}.mcap")  # 9, 10, 11
    (read,) = read_bag(folder, JOINTS, BagConfig("N m")).trajectories
    np.testing.assert_array_equal(read.position, MOTION.position)


def test_options_of_the_error_message_read_the_recording(tmp_path: Path, capsys: Capture) -> None:
    """The remedy of an error is a command line that works."""
    numbered = [f"fer_joint{k}" for k in (3, 1, 2, 6, 5, 4)]
    order = [int(name[-1]) - 1 for name in numbered]
    renamed = [
        Stamped(
            "/joint_states", JOINT_STATE, t, joint_state(t, numbered, *(x[order] for x in row))
        )
        for t, *row in rows()
    ]
    prefixed = states(names=[f"left_{name}" for name in JOINTS])
    for name, messages, option in (("a", renamed, "--map"), ("b", prefixed, "--tf-prefix")):
        bag = write(tmp_path / name, messages)
        words = refused(tmp_path / "no", capsys, "bag", bag, *EFFORT).split("give ")[1].split()
        assert words[0] == option
        assert collect(tmp_path / f"out_{name}", "bag", *words, bag, *EFFORT) == 0
        (read,), _ = read_dataset(tmp_path / f"out_{name}")
        np.testing.assert_array_equal(read.position, MOTION.position)
    output = refused(tmp_path / "no", capsys, "bag", bag, *EFFORT, "--map", "x=elbow")
    assert "--map x=elbow: give recorded=joint with a joint of the arm: shoulder_pan" in output


def test_mapping_is_guessed_from_numbers_and_likeness_or_not_at_all() -> None:
    names = ["fer_finger_joint1", "fer_finger_joint2", "fer_joint2", "fer_joint1", "fer_joint0"]
    panda = ["panda_joint1", "panda_joint2", "panda_joint3"]
    zero_based = [("fer_joint0", "panda_joint1"), ("fer_joint1", "panda_joint2")]
    assert guess_mapping(panda, names)[:2] == zero_based
    likely = guess_mapping(
        ["shoulder_pan_joint", "elbow_joint"], ["gripper", "ELBOW", "shoulder_pan"]
    )
    assert likely == [("shoulder_pan", "shoulder_pan_joint"), ("ELBOW", "elbow_joint")]
    assert guess_mapping(panda, ["left_wheel", "right_wheel", "camera_tilt"]) == []


def test_two_publishers_of_one_stamp_are_suspected(tmp_path: Path, capsys: Capture) -> None:
    other = [
        Stamped("/joint_states", JOINT_STATE, t + 1e-4, joint_state(t, JOINTS, q + 0.3, qd, tau))
        for t, q, qd, tau in rows(recorded(0.3))
    ]
    own = [
        Stamped("/joint_states", JOINT_STATE, t, joint_state(t, JOINTS, q, qd, tau))
        for t, q, qd, tau in rows(recorded(0.3))
    ]
    bag = write(tmp_path / "bag", own + other)
    assert collect(tmp_path / "out", "bag", bag, *EFFORT) == 0
    output = capsys.readouterr().out
    assert f"-{len(own)} messages with the stamp of another one" in output
    assert "suspicion: two publishers on one topic" in output
