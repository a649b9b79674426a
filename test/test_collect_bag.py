"""`invdyn collect bag`: recordings of joint states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from collect_command import Capture, collect, refused
from oracle import excitation, robot
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from test_rosbag import record

from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory

EFFORT = ["--effort-unit", "N m"]


def joint_states(seconds: float = 0.5, seed: int = 0) -> Trajectory:
    trajectory = excitation(robot("ur5"), seed, seconds=seconds)
    return replace(trajectory, time=trajectory.time + 100.0 * (1 + seed))


def test_every_recording_of_a_folder_is_read(tmp_path: Path, capsys: Capture) -> None:
    bags = tmp_path / "bags"
    for seed, storage in enumerate((*StoragePlugin, StoragePlugin.MCAP)):
        record(bags / f"run_{seed}", joint_states(seed=seed), storage)
    (bags / "run_2" / "metadata.yaml").unlink()
    (file,) = (bags / "run_2").iterdir()
    file.rename(bags / "bare.mcap")
    (bags / "run_2").rmdir()
    assert collect(tmp_path / "out", "bag", bags, *EFFORT) == 0
    rows = len(joint_states())
    output = capsys.readouterr().out
    fingers = 3 * -(-rows // 3)
    assert f"{3 * rows + fingers} rows in, {3 * rows} rows in 3 episodes out" in output
    assert f"-{fingers} messages without these joints" in output
    starts = sorted(t.time[0] for t in read_dataset(tmp_path / "out").trajectories)
    np.testing.assert_allclose(starts, [100.0, 200.0, 300.0])


def _truncated_bag(folder: Path, storage: StoragePlugin) -> Path:
    record(folder, joint_states(2.0), storage)
    file = next(p for p in folder.iterdir() if p.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return folder


def _other_type(folder: Path) -> Path:
    types = get_typestore(Stores.ROS2_JAZZY)
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        kind = "std_msgs/msg/String"
        topic = bag.add_connection("/joint_states", kind, typestore=types)
        bag.write(topic, 1, types.serialize_cdr(types.types[kind]("?"), kind))
    return folder


class Raw:
    """Joint states that a Trajectory refuses."""

    def __init__(self, trajectory: Trajectory, rows: np.ndarray) -> None:
        self.joint_names, self.time = trajectory.joint_names, trajectory.time[rows]
        self.position, self.velocity = trajectory.position[rows], trajectory.velocity[rows]
        self.action = trajectory.action[rows]


def _backwards(folder: Path) -> Path:
    twice = Raw(joint_states(), np.tile(np.arange(62), 2))  # as when a simulation starts again
    return record(folder, twice, logged=1e3 + np.arange(124) / 125)


def _nan(folder: Path) -> Path:
    trajectory = Raw(joint_states(), np.arange(62))
    trajectory.position[40, 2] = np.nan
    return record(folder, trajectory)


def _silent(folder: Path) -> Path:
    return record(folder, Raw(joint_states(), np.arange(0)))


BAGS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "torn db3": (
        lambda f: _truncated_bag(f, StoragePlugin.SQLITE3),
        "not a readable rosbag2 recording",
    ),
    "torn mcap": (
        lambda f: _truncated_bag(f, StoragePlugin.MCAP),
        "not a readable rosbag2 recording",
    ),
    "unknown type": (
        _other_type,
        "no topic with states of joints; it holds /joint_states",
    ),
    "clock restarts": (_backwards, "cut the recording there"),
    "nan": (_nan, "position of 'elbow_joint' is nan in row 40"),
    "one message": (lambda f: record(f, joint_states()[:1]), "no 13 consecutive messages"),
    "no message": (_silent, "no message has joint 'shoulder_pan_joint'"),
    "no folder": (lambda f: f, "no such file or folder"),
}


@pytest.mark.parametrize("name", BAGS)
def test_bad_recording_gives_a_one_line_error_and_no_files(
    tmp_path: Path, capsys: Capture, name: str
) -> None:
    make, message = BAGS[name]
    output = refused(tmp_path / "out", capsys, "bag", make(tmp_path / "bag"), *EFFORT)
    assert message in output and str(tmp_path / "bag") in output


def test_recording_of_another_arm_names_its_joints(tmp_path: Path, capsys: Capture) -> None:
    bag = record(tmp_path / "bag", joint_states())
    output = refused(tmp_path / "out", capsys, "bag", bag, *EFFORT, "--arm", "kuka_iiwa")
    assert "no message has joint 'lbr_iiwa_joint_1'; there are elbow_joint" in output
