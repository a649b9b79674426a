"""`invdyn collect`: datasets, the pendulum and the table of sources."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from collect_command import Capture, collect, refused
from oracle import excitation, robot

from invdyn_ros.cli import run_verb
from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.gravity import convert_actions
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.registry import SOURCES
from invdyn_ros.sources.source import Collection, Source

NAMES = ["a", "b"]


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
