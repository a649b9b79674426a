"""Datasets in the layouts of others, with all columns that their documents define."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import zarr

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.lerobot_dataset import LeRobotConfig, read_lerobot_folder
from invdyn_ros.sources.sequence_config import SequenceConfig
from invdyn_ros.sources.sequence_files import read_sequence

RATE, LENGTHS = 10.0, (30, 25, 40)
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


def episodes() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return states (T + 1, 4) and actions (T, 2), each a third of the acceleration until next."""
    random, parts = np.random.default_rng(0), []
    for length in LENGTHS:
        state, action = random.normal(size=(length + 1, 4)), random.uniform(-1, 1, (length, 2))
        for k in range(length):
            state[k + 1, 2:] = state[k, 2:] + 3 * action[k] / RATE
            state[k + 1, :2] = state[k, :2] + state[k + 1, 2:] / RATE
        parts.append((state, action))
    return parts


def minari(path: Path) -> dict[str, str]:
    """T + 1 observations, T of the others."""
    (path / "data").mkdir()
    with h5py.File(path / "data/main_data.hdf5", "w") as file:
        for k, (state, action) in enumerate(episodes()):
            end = np.arange(len(action)) == len(action) - 1
            group = file.create_group(f"episode_{k}")
            group["observations/observation"], group["actions"] = state, action
            group["observations/image"] = IMAGES
            group["observations/instruction"] = [b"pick"] * len(state)
            group["rewards"], group["infos/nested/x"] = np.ones(len(action)), np.ones(len(state))
            group["terminations"], group["truncations"] = end & (k % 2 == 0), end & (k % 2 > 0)
    return {"position": "observations/observation:0:2", "velocity": "observations/observation:2:4"}


def minari_arrow(path: Path) -> dict[str, str]:
    """As Minari's other storage: a folder per episode, columns padded to T + 1 rows."""
    for k, (state, action) in enumerate(episodes()):
        rows, end = len(state), np.arange(len(state)) == len(action) - 1
        image = pa.FixedSizeListArray.from_arrays(np.zeros(rows * 48, np.uint8), 48)
        parts = [
            pa.FixedSizeListArray.from_arrays(state.ravel(), 4),
            image,
            pa.array(["a"] * rows),
        ]
        padded = np.pad(action, ((0, 1), (0, 0))).ravel()
        batch = {
            "episode_id": np.full(rows, k, np.int32),
            "observations": pa.StructArray.from_arrays(parts, ["observation", "image", "text"]),
            "actions": pa.FixedSizeListArray.from_arrays(padded, 2),
            "rewards": np.ones(rows),
            "terminations": end & (k % 2 == 0),
            "truncations": end & (k % 2 > 0),
            "infos": ["{}"] * rows,
        }
        pyarrow.dataset.write_dataset(
            pa.RecordBatch.from_pydict(batch),
            path / "data",
            format="arrow",
            partitioning=["episode_id"],
            existing_data_behavior="overwrite_or_ignore",
        )
        (path / "data" / str(k) / "metadata.json").write_text("{}")
    (path / "data" / "metadata.json").write_text('{"data_format": "arrow"}')
    return {"position": "observations/observation:0:2", "velocity": "observations/observation:2:4"}


def robomimic(path: Path) -> dict[str, str]:
    """`dones` are set from the first success on, and the next states are recomputed."""
    with h5py.File(path / "low_dim.hdf5", "w") as file:
        for k, (state, action) in enumerate(episodes()):
            group = file.create_group(f"data/demo_{k}")
            group["actions"], group["dones"] = action, np.arange(len(action)) > 20
            for name, values in (("obs", state[:-1]), ("next_obs", state[1:] + 1e-12)):
                group[f"{name}/robot0_joint_pos"] = values[:, :2]
                group[f"{name}/robot0_joint_vel"] = values[:, 2:]
                group[f"{name}/agentview_image"] = IMAGES
        file["mask/train"] = [b"demo_0"]
    return {"position": "obs/robot0_joint_pos", "velocity": "obs/robot0_joint_vel"}


def ogbench(path: Path) -> dict[str, str]:
    parts = episodes()
    state, action = (np.concatenate(p) for p in zip(*[(s[:-1], a) for s, a in parts], strict=True))
    columns = {"qpos": state[:, :2], "qvel": state[:, 2:], "actions": action.astype(np.float32)}
    columns["terminals"] = np.concatenate([np.arange(n) == n - 1 for n in LENGTHS])
    columns["observations"] = np.zeros((len(state), 4, 4, 3), np.uint8)
    np.savez(path / "visual-v0.npz", **columns)
    return {"position": "qpos", "velocity": "qvel"}


def umi(path: Path) -> dict[str, str]:
    """Images have a codec that is not installed."""
    parts = episodes()
    group = zarr.open_group(str(path / "umi.zarr"), mode="w", zarr_format=2)
    group["data/state"] = np.concatenate([state[:-1] for state, _ in parts])
    group["data/action"] = np.concatenate([action for _, action in parts])
    group["data/camera0_rgb"] = np.zeros((sum(LENGTHS), 8, 8, 3), np.uint8)
    group["meta/episode_ends"] = np.cumsum(LENGTHS)
    images = path / "umi.zarr/data/camera0_rgb/.zarray"
    values = json.loads(images.read_text())
    values["compressor"] = {"id": "imagecodecs_jpegxl", "level": 99}
    images.write_text(json.dumps(values))
    return {
        "position": "data/state:0:2",
        "velocity": "data/state:2:4",
        "action": "data/action",
    }


def check(parts: list[Trajectory], num_final: int, tolerance: float = 1e-9) -> None:
    """No transition crosses the end of an episode, and none is lost."""
    assert [len(part) for part in parts] == [length + num_final for length in LENGTHS]
    for part, (state, action) in zip(parts, episodes(), strict=True):
        np.testing.assert_allclose(part.position, state[: len(part), :2], atol=tolerance)
        count = len(part) - 1
        np.testing.assert_allclose(part.action[:count], action[:count], atol=1e-6)
        if len(part.acceleration):
            np.testing.assert_allclose(part.acceleration[:count], 3 * action[:count], atol=1e-6)


@pytest.mark.parametrize(
    ("write", "num_final"),
    [(minari, 1), (minari_arrow, 1), (robomimic, 1), (ogbench, 0), (umi, 0)],
)
def test_episodes_are_those_of_the_layout(tmp_path: Path, write: Any, num_final: int) -> None:
    columns = write(tmp_path)
    path = next(p for p in (*tmp_path.iterdir(), tmp_path) if p.name != "data")
    config: dict[str, Any] = {"unit": "1", "rate": RATE} | columns
    check(read_sequence(path, (), SequenceConfig(**config)).trajectories, num_final)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_lerobot_folders_hold_images_texts_and_flags_beside_the_motion(
    tmp_path: Path, version: str
) -> None:
    tables = []
    for k, (state, action) in enumerate(episodes()):
        count = len(action)
        columns = {
            "observation.state": list(state[:-1].astype(np.float32)),
            "action": list(action.astype(np.float32)),
            "timestamp": (np.arange(count) / RATE).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, k),
            "next.done": np.arange(count) == 20,
            "observation.images.top": [{"bytes": b"not a picture", "path": None}] * count,
            "language_instruction": ["pick"] * count,
            "observation.points": [[1.0] * (j % 3) for j in range(count)],
        }
        tables.append(pa.table(columns))
    names = [f"episode_{k:06d}" for k in range(3)] if version == "v2.1" else ["file-000"]
    tables = tables if version == "v2.1" else [pa.concat_tables(tables)]
    (tmp_path / "data/chunk-000").mkdir(parents=True)
    (tmp_path / "meta").mkdir()
    for name, table in zip(names, tables, strict=True):
        pq.write_table(table, tmp_path / f"data/chunk-000/{name}.parquet")
    state = {"names": {"motors": ["a", "b"]}}
    info = {"codebase_version": version, "fps": 10, "features": {"observation.state": state}}
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    result, _ = read_lerobot_folder(tmp_path, (), LeRobotConfig("rad"))
    check(result.trajectories, 0, tolerance=1e-6)
    assert {part.recording for part in result.trajectories} == {tmp_path.name}
    degrees, _ = read_lerobot_folder(tmp_path, (), LeRobotConfig("rad", position_unit="deg"))
    for one, two in zip(result.trajectories, degrees.trajectories, strict=True):
        np.testing.assert_allclose(np.radians(one.position), two.position)
        np.testing.assert_allclose(np.radians(one.action), two.action)


def test_jittered_stamps_are_resampled_and_episodes_end_at_gaps(tmp_path: Path) -> None:
    time = np.arange(200) / 50 + np.random.default_rng(0).uniform(0, 0.004, 200)
    time[100:] += 1.0
    rows = [f"{t},{np.sin(t)},{2 * np.sin(t)}" for t in time]
    (tmp_path / "log.csv").write_text("\n".join(["time,q,tau", *rows]))
    columns: dict[str, Any] = {"position": "q", "action": "tau", "unit": "N m"}
    result = read_sequence(tmp_path / "log.csv", (), SequenceConfig(**columns, resample=50.0))
    assert result.summary()
    assert len(result.trajectories) == 2
    for part in result.trajectories:
        np.testing.assert_allclose(np.diff(part.time), 0.02, atol=1e-9)
        np.testing.assert_allclose(part.position[:, 0], np.sin(part.time), atol=1e-5)
        np.testing.assert_allclose(part.acceleration[9:-9, 0], -np.sin(part.time[9:-9]), atol=0.05)
    kept = SequenceConfig(**columns, acceleration="none")
    (part,) = read_sequence(tmp_path / "log.csv", (), kept).trajectories
    np.testing.assert_array_equal(part.time, time)
