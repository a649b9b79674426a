from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.leakage import count_duplicates
from invdyn_ros.data.lerobot_format import EPISODES
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.data.windows import split, windows

JOINTS = ("a", "b", "c")


def random_walk(seed: int, count: int = 60) -> Trajectory:
    values = np.random.default_rng(seed).normal(size=(4, count, 3))
    time = 1.7e3 + seed + np.arange(count) / 50.0
    return Trajectory(time, *values, JOINTS, "N m")


@pytest.fixture
def trajectories() -> list[Trajectory]:
    return [random_walk(seed, 40 + seed) for seed in range(10)]


def test_dataset_round_trips(tmp_path: Path, trajectories: list[Trajectory]) -> None:
    write_dataset(tmp_path / "data", trajectories, "ur5", 50.0)
    read, info = read_dataset(tmp_path / "data")
    assert (info.robot, info.joint_names, info.action_unit, info.rate) == (
        "ur5",
        JOINTS,
        "N m",
        50.0,
    )
    for old, new in zip(trajectories, read, strict=True):
        np.testing.assert_array_equal(old.motion, new.motion)
        np.testing.assert_array_equal(old.action, new.action)
        np.testing.assert_allclose(old.time, new.time, atol=1e-9)


def test_names_of_recordings_are_kept_and_do_not_change_the_split(
    tmp_path: Path, trajectories: list[Trajectory]
) -> None:
    named = [replace(t, recording=f"day_{k % 4}") for k, t in enumerate(trajectories)]
    write_dataset(tmp_path / "data", named, "ur5", 50.0)
    read = read_dataset(tmp_path / "data").trajectories
    assert [t.recording for t in read] == [t.recording for t in named]
    parts = zip(split(named), split(trajectories), strict=True)
    assert [len(p) for pair in parts for p in pair] == [10, 10, 8, 8, 2, 2]
    episodes = tmp_path / "data" / EPISODES
    columns = pq.read_table(episodes).rename_columns({"recording": "source"})  # of older ones
    pq.write_table(columns, episodes)
    assert [t.recording for t in read_dataset(tmp_path / "data").trajectories][1] == "day_1"


def test_dataset_has_the_lerobot_layout(tmp_path: Path, trajectories: list[Trajectory]) -> None:
    write_dataset(tmp_path / "data", trajectories, "ur5", 50.0)
    names = pq.read_table(tmp_path / "data/data/chunk-000/file-000.parquet").column_names
    expected = "observation.state action timestamp frame_index episode_index index task_index"
    assert set(expected.split()) <= set(names)
    info = json.loads((tmp_path / "data/meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert info["features"]["observation.state"]["shape"] == [6]
    assert info["total_frames"] == sum(map(len, trajectories))
    stats = json.loads((tmp_path / "data/meta/stats.json").read_text())
    everything = np.concatenate([t.action for t in trajectories])
    np.testing.assert_allclose(stats["action"]["std"], everything.std(0))
    episodes = pq.read_table(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet")
    assert episodes["dataset_to_index"].to_pylist()[-1] == info["total_frames"]
    tasks = pq.read_table(tmp_path / "data/meta/tasks.parquet")
    assert tasks["task_index"].to_pylist() == [0]


def test_columns_of_one_joint_are_plain_numbers(tmp_path: Path) -> None:
    # LeRobot reads a feature of shape (1,) as a scalar and refuses lists of length 1
    walk = random_walk(0)
    single = Trajectory(walk.time, *(x[:, :1] for x in _columns(walk)[1:]), ("a",), "A")
    write_dataset(tmp_path / "data", [single], "pendulum", 50.0)
    info = json.loads((tmp_path / "data/meta/info.json").read_text())
    table = pq.read_table(tmp_path / "data/data/chunk-000/file-000.parquet")
    for name in ("action", "observation.acceleration"):
        assert info["features"][name]["shape"] == [1]
        assert str(table.schema.field(name).type) == "double"
    (read,), _ = read_dataset(tmp_path / "data")
    np.testing.assert_array_equal(read.motion, single.motion)
    np.testing.assert_array_equal(read.action, single.action)


def test_info_describes_every_column(tmp_path: Path, trajectories: list[Trajectory]) -> None:
    write_dataset(tmp_path / "data", trajectories, "ur5", 50.0)
    info = json.loads((tmp_path / "data/meta/info.json").read_text())
    file = info["data_path"].format(chunk_index=0, file_index=0)
    table = pq.read_table(tmp_path / "data" / file)
    assert set(info["features"]) == set(table.column_names)
    assert table["index"].to_pylist() == list(range(info["total_frames"]))
    episodes = pq.read_table(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet")
    for row in episodes.to_pylist():
        part = table.slice(row["dataset_from_index"], row["length"])
        assert set(part["episode_index"].to_pylist()) == {row["episode_index"]}
        assert part["frame_index"].to_pylist() == list(range(row["length"]))
        assert part["timestamp"][0].as_py() == 0.0
        assert row["tasks"] == ["move"]


def test_unlabelled_data_remain_unlabelled(tmp_path: Path) -> None:
    walk, absent = random_walk(0), np.empty((0, 3))
    unlabelled = Trajectory(walk.time, walk.position, absent, absent, absent, JOINTS, "rad")
    write_dataset(tmp_path / "data", [unlabelled], "arm", 50.0)
    (read,), _ = read_dataset(tmp_path / "data")
    assert len(read.velocity) == len(read.acceleration) == len(read.action) == 0


def test_writing_never_deletes_other_files(tmp_path: Path, trajectories: list[Trajectory]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not a dataset"):
        write_dataset(tmp_path, trajectories, "ur5", 50.0)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_dataset_is_replaced_atomically(tmp_path: Path, trajectories: list[Trajectory]) -> None:
    write_dataset(tmp_path / "data", trajectories, "ur5", 50.0)
    write_dataset(tmp_path / "data", trajectories[:2], "ur5", 50.0)
    assert len(read_dataset(tmp_path / "data").trajectories) == 2
    mixed = [trajectories[0], Trajectory(*_columns(trajectories[1]), JOINTS, "A")]
    with pytest.raises(ValueError, match="different action unit"):
        write_dataset(tmp_path / "data", mixed, "ur5", 50.0)
    assert len(read_dataset(tmp_path / "data").trajectories) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def _columns(t: Trajectory) -> tuple[np.ndarray, ...]:
    return t.time, t.position, t.velocity, t.acceleration, t.action


def _drop_key(path: Path) -> None:
    values = json.loads(path.read_text())
    del values["action_unit"]
    path.write_text(json.dumps(values))


def _drop_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["timestamp"]), path)


DATA = "data/chunk-000/file-000.parquet"
DAMAGE = {
    "no info": ("meta/info.json", Path.unlink, "not a dataset"),
    "cut info": ("meta/info.json", lambda p: p.write_text("{"), "not JSON"),
    "no unit": ("meta/info.json", _drop_key, "'action_unit' is missing"),
    "old version": (
        "meta/info.json",
        lambda p: p.write_text(p.read_text().replace("v3.0", "v2.1")),
        "reads v3.0",
    ),
    "no data": (DATA, Path.unlink, "write the dataset again"),
    "cut data": (DATA, lambda p: p.write_bytes(p.read_bytes()[:999]), "damaged"),
    "no column": (DATA, _drop_column, "no column 'timestamp'"),
    "cut episodes": (
        "meta/episodes/chunk-000/file-000.parquet",
        lambda p: p.write_bytes(b"PAR1"),
        "damaged",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_error_names_the_damaged_file(
    tmp_path: Path, trajectories: list[Trajectory], name: str
) -> None:
    write_dataset(tmp_path / "data", trajectories, "ur5", 50.0)
    file, damage, message = DAMAGE[name]
    damage(tmp_path / "data" / file)
    with pytest.raises(ValueError, match=message) as raised:
        read_dataset(tmp_path / "data")
    assert str(tmp_path / "data") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_values_that_are_not_finite_are_refused_on_reading(
    tmp_path: Path, trajectories: list[Trajectory]
) -> None:
    write_dataset(tmp_path / "data", trajectories, "ur5", 50.0)
    table = pq.read_table(tmp_path / "data" / DATA)
    stamps = table["timestamp"].to_numpy().copy()
    stamps[50] = np.nan
    index = table.column_names.index("timestamp")
    pq.write_table(table.set_column(index, "timestamp", [stamps]), tmp_path / "data" / DATA)
    with pytest.raises(ValueError, match="episode 1: time must increase: row 10"):
        read_dataset(tmp_path / "data")


def test_split_never_divides_a_trajectory(trajectories: list[Trajectory]) -> None:
    for seed in range(20):
        parts = split(trajectories, 0.3, seed)
        assert {id(t) for t in parts.train}.isdisjoint(id(t) for t in parts.test)
        assert len(parts.train) + len(parts.test) == len(trajectories)
        assert (len(parts.test), parts.group_by) == (3, "trajectory")
        assert count_duplicates(parts.train, parts.test) == 0
    assert split(trajectories, 0.3, 1).test != split(trajectories, 0.3, 2).test


def test_a_single_trajectory_is_split_in_time() -> None:
    parts = split([random_walk(0, 100)], 0.2)
    assert parts.group_by == "time"
    assert parts.train[0].time[-1] < parts.test[0].time[0]
    assert (len(parts.train[0]), len(parts.test[0])) == (80, 20)


def test_rows_in_both_parts_are_counted(trajectories: list[Trajectory]) -> None:
    assert count_duplicates(trajectories[:3], [trajectories[1][5:12], trajectories[9]]) == 7


def test_windows_never_span_two_trajectories(trajectories: list[Trajectory]) -> None:
    result = windows(trajectories, window_size=5)
    assert result.motion.shape == (sum(len(t) - 4 for t in trajectories), 5, 9)
    np.testing.assert_allclose(result.time[:, 0], -4 / 50.0, atol=1e-9)
    assert torch.equal(result.action[0], torch.as_tensor(trajectories[0].action[:5]))
    assert torch.equal(result.motion[-1], torch.as_tensor(trajectories[-1].motion[-5:]))


def test_windows_refuse_mixed_units(trajectories: list[Trajectory]) -> None:
    other = Trajectory(*_columns(trajectories[1]), JOINTS, "A")
    with pytest.raises(ValueError, match="N m and A"):
        windows([trajectories[0], other])
