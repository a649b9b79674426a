from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from invdyn_ros.data.dataset import read_dataset, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.column_names import parse_columns
from invdyn_ros.sources.pendulum import PendulumConfig, simulate_pendulum
from invdyn_ros.sources.sequence_config import SequenceConfig
from invdyn_ros.sources.sequence_files import read_sequence
from invdyn_ros.sources.transitions import chain_transitions

RATE, LENGTHS = 50.0, (30, 20, 50)
Arrays = dict[str, np.ndarray]
SPEC: dict[str, Any] = {"position": "0:2", "velocity": "2:4", "unit": "N m"}


def arrays(lengths: tuple[int, ...] = LENGTHS) -> Arrays:
    """Two joints under constant acceleration between rows, so that (qd' - qd)/dt is known."""
    rng = np.random.default_rng(0)
    count = sum(lengths)
    state, acceleration = rng.normal(size=(count, 4)), rng.normal(size=(count, 2))
    following = state.copy()
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    for k in range(count):
        if k not in starts:
            state[k] = following[k - 1]
        following[k, 2:] = state[k, 2:] + acceleration[k] / RATE
        following[k, :2] = state[k, :2] + following[k, 2:] / RATE
    ends = np.zeros(count, dtype=bool)
    ends[np.cumsum(lengths) - 1] = True
    return {
        "observations": state,
        "next_observations": following,
        "actions": 3.0 * acceleration,
        "terminals": ends,
        "rewards": np.zeros(count),
    }


def save_npz(path: Path, columns: Arrays) -> Path:
    np.savez(path.with_suffix(".npz"), **columns)
    return path.with_suffix(".npz")


def save_hdf5(path: Path, columns: Arrays) -> Path:
    with h5py.File(path.with_suffix(".hdf5"), "w") as file:
        for name, values in columns.items():
            file[name] = values
        file["metadata/algorithm"] = "none"  # as D4RL files have it
        file["pictures"] = np.zeros((3, 4, 4, 3), np.uint8)
    return path.with_suffix(".hdf5")


def save_zarr(path: Path, columns: Arrays) -> Path:
    """Save as Diffusion Policy does: data/ and meta/episode_ends."""
    group = zarr.open_group(str(path.with_suffix(".zarr")), mode="w")
    for name, values in columns.items():
        if name != "terminals":
            group["data/" + name] = values
    group["meta/episode_ends"] = np.flatnonzero(columns["terminals"]) + 1
    return path.with_suffix(".zarr")


def save_parquet(path: Path, columns: Arrays) -> Path:
    table = {name: list(v) if v.ndim > 1 else pa.array(v) for name, v in columns.items()}
    pq.write_table(pa.table(table), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


SAVE: dict[str, Callable[[Path, Arrays], Path]] = {
    "npz": save_npz,
    "hdf5": save_hdf5,
    "zarr": save_zarr,
    "parquet": save_parquet,
}


def spec(**values: Any) -> SequenceConfig:
    return SequenceConfig(**(SPEC | {"rate": RATE} | values))


def read(path: Path, **values: Any) -> list[Trajectory]:
    result = read_sequence(path, (), spec(**values))
    assert result.summary()  # no row is missing
    return result.trajectories


def check_accelerations(parts: list[Trajectory]) -> None:
    """The action makes the acceleration in every row, as in `arrays`."""
    for part in parts:
        np.testing.assert_allclose(part.action, 3.0 * part.acceleration, atol=1e-9)
        step = np.diff(part.velocity, axis=0) * RATE
        np.testing.assert_allclose(part.acceleration[:-1], step, atol=1e-9)


@pytest.mark.parametrize("kind", SAVE)
def test_every_format_gives_the_same_episodes(tmp_path: Path, kind: str) -> None:
    parts = read(SAVE[kind](tmp_path / "data", arrays()))
    assert [len(part) for part in parts] == [length + 1 for length in LENGTHS]
    check_accelerations(parts)
    for old, new in zip(read(save_npz(tmp_path / "same", arrays())), parts, strict=True):
        np.testing.assert_array_equal(old.motion, new.motion)


def triplets(columns: Arrays, rows: np.ndarray) -> Arrays:
    return {name: columns[name][rows] for name in ("observations", "actions", "next_observations")}


def test_triplets_are_episodes_of_two_states_and_survive_the_disk(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).permutation(np.arange(0, sum(LENGTHS), 2))
    parts = read(save_npz(tmp_path / "data", triplets(arrays(), rows)))
    assert [len(part) for part in parts] == [2] * 50
    check_accelerations(parts)
    write_dataset(tmp_path / "out", parts, "toy", RATE)
    for old, new in zip(parts, read_dataset(tmp_path / "out").trajectories, strict=True):
        np.testing.assert_array_equal(old.motion, new.motion)
        np.testing.assert_allclose(old.time, new.time, atol=1e-12)


def test_triplets_of_one_motion_are_joined_whatever_their_order(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).permutation(sum(LENGTHS))
    parts = read(save_npz(tmp_path / "shuffled", triplets(arrays(), rows)))
    assert sorted(len(part) for part in parts) == [length + 1 for length in sorted(LENGTHS)]
    check_accelerations(parts)
    whole = {len(part): part for part in read(save_npz(tmp_path / "sorted", arrays()))}
    for part in parts:
        np.testing.assert_allclose(part.motion, whole[len(part)].motion, rtol=1e-9)


def test_closed_loops_and_repeated_states_lose_no_row() -> None:
    state = np.array([[0.0], [1.0], [2.0], [5.0], [5.0], [7.0]])
    following = np.array([[1.0], [2.0], [0.0], [6.0], [5.0], [5.0]])
    order, last = chain_transitions(state, following, np.zeros(6, dtype=bool))
    assert sorted(order.tolist()) == list(range(6))
    for row, after, ends in zip(order, order[1:], last, strict=False):
        assert ends or following[row] == state[after]


def test_terminals_and_timeouts_end_episodes_without_next_states(tmp_path: Path) -> None:
    columns = arrays()
    del columns["next_observations"]
    columns["timeouts"] = columns.pop("terminals") & (np.arange(sum(LENGTHS)) < 40)
    parts = read(save_npz(tmp_path / "d4rl", columns))
    assert [len(part) for part in parts] == [30, 70]


def test_ogbench_states_are_in_qpos_and_qvel(tmp_path: Path) -> None:
    columns = arrays()
    state = columns["observations"]
    columns |= {"qpos": state[:, :2], "qvel": state[:, 2:], "observations": np.ones((100, 9))}
    del columns["next_observations"]
    parts = read(save_npz(tmp_path / "ogbench", columns), position="qpos", velocity="qvel:0:2")
    assert [len(part) for part in parts] == list(LENGTHS)
    check_accelerations(parts)


def test_groups_of_a_file_are_episodes_in_the_order_of_their_number(tmp_path: Path) -> None:
    columns, bounds = arrays(), np.cumsum((0, *LENGTHS))
    with h5py.File(tmp_path / "minari.hdf5", "w") as file:
        for k in (2, 0, 1):
            rows = slice(bounds[k], bounds[k + 1])
            last = columns["next_observations"][rows][-1:]
            states = np.concatenate([columns["observations"][rows], last])
            file[f"episode_{k}/observations"] = states  # one more than actions
            file[f"episode_{k}/actions"] = columns["actions"][rows]
    parts = read(tmp_path / "minari.hdf5")
    assert [len(part) for part in parts] == [length + 1 for length in LENGTHS]
    check_accelerations(parts)
    unfiltered = read(tmp_path / "minari.hdf5", acceleration="none")
    assert [len(part) for part in unfiltered] == list(LENGTHS)


def test_episodes_of_equal_length_may_be_one_array(tmp_path: Path) -> None:
    columns = arrays((25, 25, 25, 25))
    block = {name: columns[name].reshape(4, 25, -1) for name in ("observations", "actions")}
    parts = read(save_npz(tmp_path / "block", block))
    assert [len(part) for part in parts] == [25] * 4
    check_accelerations(parts)


def test_a_folder_of_files_is_read_in_order_with_their_names(tmp_path: Path) -> None:
    for number, length in enumerate((12, 15)):
        save_npz(tmp_path / f"part_{number}", arrays((length,)))
    save_parquet(tmp_path / "part_1", arrays((20,)))
    parts = [(len(part), part.recording) for part in read(tmp_path)]
    assert parts == [(13, "part_0"), (16, "part_1.npz"), (21, "part_1.parquet")]


def test_stamps_gaps_and_uneven_steps_are_kept(tmp_path: Path) -> None:
    columns = arrays((60,))
    stamps = 5.0 + np.cumsum(np.random.default_rng(0).uniform(0.01, 0.03, 60))
    stamps[40:] += 1.0
    del columns["next_observations"]
    path = save_npz(tmp_path / "stamped", columns | {"t": stamps})
    first, second = read(path, rate=None, time="t", max_gap=0.5)
    np.testing.assert_array_equal(np.concatenate([first.time, second.time]), stamps)
    slope = np.diff(first.velocity, axis=0) / np.diff(first.time)[:, None]
    np.testing.assert_array_equal(first.acceleration[:-1], slope)
    write_dataset(tmp_path / "out", [first, second], "toy", RATE)
    for old, new in zip([first, second], read_dataset(tmp_path / "out").trajectories, strict=True):
        np.testing.assert_allclose(old.time, new.time, atol=1e-12)


def test_filter_gives_the_acceleration_of_sampled_motion(tmp_path: Path) -> None:
    time = np.arange(200) / RATE
    columns = {"observations": np.sin(2 * time)[:, None], "actions": np.zeros((200, 1))}
    path = save_npz(tmp_path / "sine", columns)
    (part,) = read(path, position="0:1", velocity=None, acceleration="filter")
    inside = slice(6, -6)
    expected = -4 * np.sin(2 * time)[inside]
    np.testing.assert_allclose(part.acceleration[inside, 0], expected, atol=0.02)


def test_columns_are_found_by_name_and_range() -> None:
    assert parse_columns("0:2", "obs") == [("obs", slice(0, 2))]
    assert parse_columns("a,b:1:3", "obs") == [("a", slice(None)), ("b", slice(1, 3))]
    assert parse_columns("x:y:0:1", "obs") == [("x:y", slice(0, 1))]


def test_invalid_rows_are_left_out_on_request_and_counted(tmp_path: Path) -> None:
    columns = arrays()
    columns["observations"][[10, 11, 35]] = np.nan
    path = save_npz(tmp_path / "nan", columns)
    with pytest.raises(
        ValueError, match=r"nan.npz: row 10 holds nan \(of 3 such rows\).*--skip-invalid"
    ):
        read(path)
    result = read_sequence(path, (), spec(skip_invalid=True))
    assert result.changes["rows that are not finite"] == -3
    assert all(np.isfinite(part.motion).all() for part in result.trajectories)
    check_accelerations(result.trajectories)
    result.summary()


def test_pendulum_obeys_its_closed_form_whatever_the_shift() -> None:
    for shift in ({}, {"mass": 1.7}, {"length": 0.6}, {"gravity": 3.7}, {"damping": 0.5}):
        config = PendulumConfig(episodes=3, **shift)
        inertia = config.mass * config.length**2
        for part in simulate_pendulum(config):
            q, qd, qdd = part.position[:-1], part.velocity[:-1], part.acceleration[:-1]
            gravity = config.mass * config.gravity * config.length * np.sin(q)
            torque = inertia * qdd + config.damping * qd + gravity
            np.testing.assert_allclose(part.action[:-1], torque, atol=1e-9)
            assert np.abs(part.action).max() <= config.max_torque


def test_pendulum_without_torque_and_damping_keeps_its_energy() -> None:
    config = PendulumConfig(episodes=4, damping=0.0, max_torque=0.0, rate=2000.0, steps=4000)
    for part in simulate_pendulum(config):
        energy = part.velocity**2 / 2 - config.gravity * np.cos(part.position)
        assert np.ptp(energy) < 0.02 * config.gravity


def test_pendulum_triplets_have_two_states() -> None:
    assert [len(t) for t in simulate_pendulum(PendulumConfig(episodes=5, steps=1))] == [2] * 5
    with pytest.raises(ValueError, match="steps is 0"):
        PendulumConfig(steps=0)
