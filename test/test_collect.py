from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from oracle import excitation, robot
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from test_rosbag import record
from test_sequence_files import arrays, save_hdf5, save_npz

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.gravity import convert_actions
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.registry import SOURCES
from invdyn_ros.sources.source import Collection, Source

Capture = pytest.CaptureFixture[str]
COLUMNS = ["--position", "0:2", "--velocity", "2:4", "--rate", "50", "--unit", "N m"]
UR5 = robot("ur5").joint_names
NAMES = ["a", "b"]
EFFORT = ["--effort-unit", "N m"]


def collect(out: Path, *arguments: object) -> int:
    return run_verb("collect", [*map(str, arguments), "--out", str(out)])


def refused(out: Path, capsys: Capture, *arguments: object) -> str:
    """Return the error line of a command that writes nothing."""
    before = sorted(out.parent.rglob("*"))
    assert collect(out, *arguments) == 2
    output = capsys.readouterr().err.strip()
    assert output.count("\n") == 0
    assert sorted(out.parent.rglob("*")) == before
    return output


def foreign(folder: Path, files: int = 1, names: list[str] | None = NAMES) -> Path:
    """Write a folder as the lerobot library does: no unit, several files, 32 bits."""
    (folder / "meta").mkdir(parents=True)
    info: dict[str, object] = {"codebase_version": "v3.0", "robot_type": "so100", "fps": 50}
    info["features"] = {"observation.state": {"names": names}}
    (folder / "meta/info.json").write_text(json.dumps(info))
    rng = np.random.default_rng(0)
    for k in range(files):
        path = folder / f"data/chunk-{k // 2:03d}/file-{k % 2:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        state, action = rng.normal(size=(2, 40, 2)).astype(np.float32)
        stamps = np.tile(np.arange(20) / 50, 2).astype(np.float32)
        episode = 2 * k + np.repeat([0, 1], 20)
        columns = {"observation.state": list(state), "action": list(action)}
        table = columns | {"timestamp": stamps, "episode_index": episode}
        pq.write_table(pa.table(table), path)
    return folder


def test_folder_by_another_library_needs_the_unit_only(tmp_path: Path, capsys: Capture) -> None:
    folder, out = foreign(tmp_path / "in", files=3), tmp_path / "out"
    assert "give --unit" in refused(out, capsys, "dataset", folder)
    assert collect(out, "dataset", folder, "--unit", "A") == 0
    assert "120 rows in, 120 rows in 6 episodes out" in capsys.readouterr().out
    trajectories, info = read_dataset(out)
    assert (info.robot, info.action_unit, info.joint_names) == ("so100", "A", ("a", "b"))
    assert [len(t) for t in trajectories] == [20] * 6
    assert len(trajectories[0].velocity) == len(trajectories[0].acceleration) == 0
    nameless = foreign(tmp_path / "nameless", names=None)
    output = refused(tmp_path / "o", capsys, "dataset", nameless, "--unit", "A")
    assert "state them with --joints" in output
    arguments = ("dataset", nameless, "--unit", "A", "--joints", "x", "y", "--arm", "toy")
    assert collect(tmp_path / "named", *arguments) == 0
    assert read_dataset(tmp_path / "named").info.joint_names == ("x", "y")


def test_own_folders_are_joined_unchanged(tmp_path: Path, capsys: Capture) -> None:
    ur5 = robot("ur5")
    parts = [excitation(ur5, seed, seconds=0.5) for seed in range(4)]
    uneven = replace(parts[3], time=parts[3].time + 3e-4 * np.sin(np.arange(len(parts[3]))))
    parts[3] = uneven[np.r_[0:20, 30 : len(uneven)]]
    write_dataset(tmp_path / "a", parts[:1], "ur5", ur5.rate)
    write_dataset(tmp_path / "b", parts[1:], "ur5", ur5.rate)
    assert collect(tmp_path / "out", "dataset", tmp_path / "a", tmp_path / "b") == 0
    for old, new in zip(parts, read_dataset(tmp_path / "out").trajectories, strict=True):
        np.testing.assert_array_equal(old.motion, new.motion)
        np.testing.assert_array_equal(old.action, new.action)
        np.testing.assert_allclose(old.time, new.time, atol=1e-12)


def test_folders_that_differ_are_not_mixed(tmp_path: Path, capsys: Capture) -> None:
    ur5, out = robot("ur5"), tmp_path / "out"
    first = excitation(ur5, 0, seconds=0.5)
    write_dataset(tmp_path / "a", [first], "ur5", ur5.rate)
    write_dataset(tmp_path / "amperes", [replace(first, action_unit="A")], "ur5", ur5.rate)
    write_dataset(tmp_path / "ur10", [first], "ur10", ur5.rate)
    output = refused(out, capsys, "dataset", tmp_path / "a", tmp_path / "amperes")
    assert "amperes" in output and "N m and A" in output
    assert "'ur5'" in refused(out, capsys, "dataset", tmp_path / "a", tmp_path / "ur10")
    assert "are N m, not A" in refused(out, capsys, "dataset", tmp_path / "a", "--unit", "A")
    assert "not a LeRobot folder" in refused(out, capsys, "dataset", tmp_path)


def test_torques_are_converted_when_asked_for_and_never_silently(
    tmp_path: Path, capsys: Capture
) -> None:
    ur5, out = robot("ur5"), tmp_path / "out"
    torque = excitation(ur5, 0, seconds=0.5)
    bare = convert_actions(torque, "N m without gravity", ur5.rigid_body_urdf())
    write_dataset(tmp_path / "torque", [torque], "ur5", ur5.rate)
    write_dataset(tmp_path / "bare", [bare], "ur5", ur5.rate)
    folders = ("dataset", tmp_path / "torque", tmp_path / "bare")
    assert "--unit" in refused(out, capsys, *folders)
    assert collect(out, *folders, "--unit", "N m") == 0
    assert "gravity of the URDF added" in capsys.readouterr().out
    assert "gravity of the URDF added" in (out / "meta/info.json").read_text()
    for trajectory in read_dataset(out).trajectories:
        np.testing.assert_allclose(trajectory.action, torque.action, atol=1e-9)


def test_sequence_accounts_for_all_rows(tmp_path: Path, capsys: Capture) -> None:
    columns = arrays((30, 1, 20))
    columns["actions"][40] = np.inf
    path = save_npz(tmp_path / "pusher", columns)
    assert "row 40 holds inf" in refused(tmp_path / "out", capsys, "sequence", path, *COLUMNS)
    assert collect(tmp_path / "out", "sequence", path, *COLUMNS, "--skip-invalid") == 0
    output = capsys.readouterr().out
    assert "51 rows in, 54 rows in 4 episodes out; -1 rows that are not finite; +4 final" in output
    assert read_dataset(tmp_path / "out").info.robot == "pusher"


def _no_stamps(path: Path) -> list[object]:
    columns = arrays((5,))
    del columns["next_observations"]
    times = {"t": np.array([0.0, 0.1, 0.2, 0.15, 0.3])}
    arguments = [*COLUMNS[:4], "--unit", "N m", "--time", "t"]
    return [save_npz(path, columns | times), *arguments]


def _one_sample(path: Path) -> list[object]:
    columns = arrays((30, 1, 20))
    del columns["next_observations"]
    return [save_npz(path, columns), *COLUMNS]


def _truncated(path: Path) -> list[object]:
    file = save_hdf5(path, arrays())
    file.write_bytes(file.read_bytes()[:3000])
    return [file, *COLUMNS]


def _pickled(path: Path) -> list[object]:
    np.savez(path.with_suffix(".npz"), actions=np.array([None]))
    return [path.with_suffix(".npz"), *COLUMNS]


def _empty(path: Path) -> list[object]:
    return [save_npz(path, {k: v[:0] for k, v in arrays().items()}), *COLUMNS]


def _text(path: Path) -> list[object]:
    path.with_suffix(".csv").write_text("q,qd")
    return [path.with_suffix(".csv"), *COLUMNS]


SEQUENCES: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "time backwards": (_no_stamps, "row 3 has time 0.15 s after 0.2 s; sort the rows"),
    "one sample": (_one_sample, "the episode from row 30 on has 1 samples; it needs 2"),
    "truncated": (_truncated, "not a readable hdf5 file"),
    "pickled": (_pickled, "not a readable npz file"),
    "empty": (_empty, "it has no rows"),
    "unknown kind": (_text, "unknown file format; known are .npz"),
    "no such column": (
        lambda path: [save_npz(path, arrays()), *COLUMNS, "--action", "torque"],
        "no column 'torque'; it has observations",
    ),
    "joint count": (
        lambda path: [save_npz(path, arrays()), *COLUMNS, "--joints", "a", "b", "c"],
        "4 columns of positions and velocities and 2 of actions, but 3 joints (a, b, c)",
    ),
    "joints of another arm": (
        lambda path: [save_npz(path, arrays()), *COLUMNS, "--arm", "ur5", "--joints", "a", "b"],
        "joints are a, b; 'ur5' has shoulder_pan_joint",
    ),
    "columns out of range": (
        lambda path: [save_npz(path, arrays()), *COLUMNS, "--position", "3:5"],
        "observations has 4 columns; 3:5 are out of range",
    ),
    "no time": (
        lambda path: [save_npz(path, arrays()), *COLUMNS[:4], "--unit", "N m"],
        "give --rate HZ, or --time COLUMN",
    ),
    "unknown unit": (
        lambda path: [save_npz(path, arrays()), *COLUMNS[:6], "--unit", "kg"],
        "invalid choice 'kg'",
    ),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_bad_sequence_gives_a_one_line_error_and_no_files(
    tmp_path: Path, capsys: Capture, name: str
) -> None:
    make, message = SEQUENCES[name]
    arguments = make(tmp_path / "bad")
    output = refused(tmp_path / "out", capsys, "sequence", *arguments)
    assert message in output
    assert "bad" in output or name in ("joints of another arm", "no time", "unknown unit")


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
    "unknown type": (_other_type, "no topic /joint_states of type sensor_msgs/msg/JointState"),
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


def test_pendulum_is_collected_with_its_shift(tmp_path: Path, capsys: Capture) -> None:
    arguments = ("pendulum", "--episodes", 3, "--steps", 20, "--mass", 1.5)
    assert collect(tmp_path / "out", *arguments) == 0
    assert "63 rows in, 63 rows in 3 episodes out" in capsys.readouterr().out
    trajectories, info = read_dataset(tmp_path / "out")
    assert (info.robot, info.rate, len(trajectories)) == ("pendulum", 50.0, 3)
    assert "mass is -1.0" in refused(tmp_path / "o", capsys, *arguments[:3], "--mass", -1)


@dataclass(frozen=True)
class ToySource(Source):
    """A source of ramps of one joint."""

    path: Path
    """Anything."""
    samples: int = 5
    """Of the trajectory."""

    def collect(self) -> Collection:
        time, absent = np.arange(self.samples) / 10, np.empty((0, 1))
        ramp = Trajectory(time, time[:, None], absent, absent, absent, ("slider",), "N m")
        result = ImportResult([ramp], self.samples + 1, {"first rows": -1})
        return Collection(result, "toy", metadata={"from": str(self.path)}, notes=("a ramp",))


def test_a_new_entry_in_sources_is_a_sub_command(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "toy", ToySource)
    assert collect(tmp_path / "out", "toy", "somewhere", "--samples", 7) == 0
    printed = capsys.readouterr().out
    assert "8 rows in, 7 rows in 1 episodes out; -1 first rows\na ramp\n" in printed
    assert "1 trajectories of toy" in printed and "without actions" in printed
    trajectories, info = read_dataset(tmp_path / "out")
    assert info.robot == "toy" and info.joint_names == ("slider",)
    np.testing.assert_allclose(trajectories[0].position[:, 0], np.arange(7) / 10)
    stored = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert stored["from"] == "somewhere"
    assert "PATH" in refused(tmp_path / "no", capsys, "toy")


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_documents_itself_and_all_its_options(name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        run_verb("collect", [name, "--help"])
    assert end.value.code == 0 and SOURCES[name].__doc__
    assert "Dataset folder to write." in " ".join(capsys.readouterr().out.split())
