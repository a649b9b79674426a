"""Kinds of files: how each is made, which readers the commands use, what they must not accept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from invdyn_ros.arms.pybullet_arm import add_arm
from invdyn_ros.arms.pybullet_client import connect
from invdyn_ros.benchmarks import file_specimens as specimens
from invdyn_ros.benchmarks.learning_curves import read_curve
from invdyn_ros.config import from_mapping, load_yaml, to_mapping
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.grasp.estimation.block_pose_network import load_block_pose_net
from invdyn_ros.grasp.learning.config import GraspTrainConfig
from invdyn_ros.grasp.policies.network import load_policy
from invdyn_ros.grasp.pose_training.train import BlockPoseTrainConfig
from invdyn_ros.models.planner.planner import load_planner
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.runtime import load_runtime
from invdyn_ros.models.timeseries.registry import load_time_series_model
from invdyn_ros.perception.camera import CameraConfig, open_camera
from invdyn_ros.perception.hand_eye.camera_pose import read_camera_pose
from invdyn_ros.robots.blocks_file import read_blocks_file
from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.obstacles import Obstacles, load_obstacles
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.hand_eye_bag import read_hand_eye_bag
from invdyn_ros.sources.lerobot_dataset import LeRobotConfig, LeRobotSource
from invdyn_ros.sources.rosbag import BagConfig, BagSource
from invdyn_ros.sources.sequence_config import SequenceConfig
from invdyn_ros.sources.sequence_files import SequenceSource
from invdyn_ros.sources.video import VideoConfig, read_videos
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train_time_series import parse_time_series_config
from invdyn_ros.training.training_state import RunState

MAX_EFFORT_RATIO = 100.0  # of a torque at rest to the effort limit
MAX_TURNS = 100.0  # [rad] of a setpoint at rest beyond the joint limits
MAX_RATE, MAX_DELAY = 1e5, 10.0  # [Hz], [s]
MAX_VALUE = 1e9  # of a plausible position, velocity, acceleration or action, in SI units
MAX_FRAMES = 100  # of a damaged video that are decoded


class WrongAcceptance(Exception):
    """A damaged file whose content was accepted although it is implausible."""


class Kind(NamedTuple):
    """Kind of file.

    Attributes:
        name: name in the report.
        write: function that writes valid files of it into an empty folder.
        file: glob pattern of the files that are damaged.
        read: function that reads the folder as the commands do, and returns a description of the
            content if a checksum protects it.
        weight: number of mutations compared with other kinds.
    """

    name: str
    write: Callable[[Path], None]
    file: str
    read: Callable[[Path], str | None]
    weight: float = 1.0


def _urdf(folder: Path) -> None:
    robot = load_robot("arm", folder / "arm.urdf")
    _check_torque(robot, robot.inverse_dynamics(robot.home, *np.zeros((2, robot.n))))
    CollisionModel(robot, Obstacles())
    client = _pybullet()
    client.resetSimulation()
    add_arm(client, robot, PlantConfig())
    _finite("pose of the tip", robot.forward_kinematics(robot.home))


def _yaml(name: str) -> Callable[[Path], None]:
    readers: dict[str, Callable[[Path], Any]] = {
        "train": lambda f: parse_train_config(load_yaml(f), str(f)),
        "timeseries": lambda f: parse_time_series_config(load_yaml(f), str(f)),
        "grasp": lambda f: from_mapping(GraspTrainConfig, load_yaml(f), str(f)),
        "block_pose": lambda f: from_mapping(BlockPoseTrainConfig, load_yaml(f), str(f)),
        "camera_pose": lambda f: read_camera_pose(f, "ur5"),
        "obstacles": load_obstacles,
        "blocks": read_blocks_file,
    }

    def read(folder: Path) -> None:
        _check_plain(to_mapping(readers[name](folder / f"{name}.yaml")))

    return read


def _checkpoint(name: str) -> Callable[[Path], str]:
    def read(folder: Path) -> str:
        robot = load_robot("ur5")
        return _describe_runtime(load_runtime(folder / name, "cpu", robot), robot)

    return read


def _network(load: Callable[[Path], nn.Module], name: str) -> Callable[[Path], str]:
    def read(folder: Path) -> str:
        network: Any = load(folder / name)
        tensors = network.state_dict()
        for key, value in tensors.items():
            _finite(key, value.numpy())
        content = b"".join(value.numpy().tobytes() for value in tensors.values())
        text = json.dumps(to_mapping(network.meta), sort_keys=True)
        return text + hashlib.sha256(content).hexdigest()

    return read


def _dataset(folder: Path) -> None:
    trajectories, info = read_dataset(folder / "own")
    if not 0 < info.rate < MAX_RATE:
        raise WrongAcceptance(f"rate {info.rate} Hz")
    _check_trajectories(trajectories)


def _lerobot(folder: Path) -> None:
    source = LeRobotSource((folder / "lerobot",), LeRobotConfig("N m"))
    _check_trajectories(source.collect().result.trajectories)


def _bag(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        source = BagSource(folder / name, BagConfig("N m"), "ur5")
        _check_trajectories(source.collect().result.trajectories)
        joints = load_robot("ur5").joint_names
        streams = read_hand_eye_bag(folder / name, joints, "/joint_states", "/blocks/block_0")
        for part in streams:
            _finite("marker poses", np.asarray(part))

    return read


def _sequence(suffix: str) -> Callable[[Path], None]:
    config = SequenceConfig("0:2", "N m", "2:4", rate=50.0)
    if suffix == "csv":
        config = SequenceConfig("q*", "N m", "qd*", "actions*", rate=50.0)

    def read(folder: Path) -> None:
        collection = SequenceSource(
            folder / f"data.{suffix}", config, joints=specimens.JOINTS
        ).collect()
        _check_trajectories(collection.result.trajectories)

    return read


def _video(suffix: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        frames = open_camera(CameraConfig(video=str(folder / f"video.{suffix}")))
        time = [frame.time for frame, _ in zip(frames, range(MAX_FRAMES), strict=False)]
        _finite("stamps", np.array(time))

    return read


def _frames(folder: Path) -> None:
    config = VideoConfig(folder / "annotations.csv", (1,), labels="none", image_size=16)
    _check_trajectories(read_videos(folder / "frames", config)[0].trajectories)


def _labels(folder: Path) -> None:
    config = VideoConfig(None, (1,), image_size=16, labels="csv", actions=folder / "actions.csv")
    _check_trajectories(read_videos(folder / "video.avi", config)[0].trajectories)


def _run_state(folder: Path) -> None:
    state = RunState(folder, {"seed": 0}, None)
    progress, tensors = state.parse(state.read_bytes())
    for name, value in tensors.items():
        _finite(name, value.numpy())
    _finite("progress", np.array(progress.losses))


def _curve(folder: Path) -> None:
    for row in read_curve(folder):
        if not 0 <= row.successes <= row.episodes or not row.episodes > 0:
            raise WrongAcceptance(f"{row.successes} of {row.episodes} episodes")


def _describe_runtime(model: Runtime, robot: Robot) -> str:
    """Return the metadata and a prediction of a model, after checking both."""
    meta, n = model.meta, robot.n
    if not (0 < meta.rate < MAX_RATE and abs(meta.action_delay) < MAX_DELAY):
        raise WrongAcceptance(f"rate {meta.rate} Hz, delay {meta.action_delay} s")
    motion = np.zeros((1, model.n_obs_steps, 3 * n))
    motion[..., :n] = robot.home
    time = np.arange(model.n_obs_steps)[None] / meta.rate
    action = model.predict(motion, time).mean[0, -1]
    if meta.action_unit == "N m":
        _check_torque(robot, action)
    elif not (np.abs(action - robot.home) < MAX_TURNS).all():
        raise WrongAcceptance(f"setpoint {action} rad")
    return json.dumps(to_mapping(meta), sort_keys=True) + repr(action.round(9).tolist())


def _check_torque(robot: Robot, torque: np.ndarray) -> None:
    if not (np.abs(torque) <= MAX_EFFORT_RATIO * robot.effort).all():  # also for NaN
        raise WrongAcceptance(f"torque {torque} N m at rest")


def _check_trajectories(trajectories: Sequence[Trajectory]) -> None:
    for t in trajectories:
        columns = (t.time, t.position, t.velocity, t.acceleration, t.action, t.points)
        for values in columns:
            _finite("a column", values)
            if np.abs(values[:1]).max(initial=0) > MAX_VALUE * 1e3:
                raise WrongAcceptance(f"a value of {np.abs(values).max()}")
        if len(set(t.joint_names)) < len(t.joint_names) or not (np.diff(t.time) > 0).all():
            raise WrongAcceptance("repeated joint names or stamps")


def _check_plain(value: Any) -> None:
    """Check that all numbers of a configuration are finite."""
    values = value.values() if isinstance(value, dict) else value
    if isinstance(values, float):
        _finite("a field", np.array(values))
    elif not isinstance(values, (str, int, type(None))):
        for item in values:
            _check_plain(item)


def _finite(name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise WrongAcceptance(f"{name} is not finite")


@cache
def _pybullet() -> Any:
    return connect()


YAMLS = ("train", "timeseries", "grasp", "block_pose", "camera_pose", "obstacles", "blocks")
ARRAYS = ("npz", "hdf5", "zarr", "parquet", "csv")
VIDEOS = ("mp4", "webm", "avi")
NETWORKS: dict[str, Callable[[Path], nn.Module]] = {
    "policy": load_policy,
    "planner": load_planner,
    "block_pose": load_block_pose_net,
    "time_series": load_time_series_model,
}
KINDS = {
    kind.name: kind
    for kind in (
        Kind("urdf", specimens.write_urdf, "arm.urdf", _urdf, 2),
        Kind("mesh", specimens.write_urdf, "meshes/*", _urdf, 0.5),
        *(Kind(f"{n}.yaml", specimens.write_configs, f"{n}.yaml", _yaml(n)) for n in YAMLS),
        Kind("rigid body", specimens.write_checkpoint, "*", _checkpoint(""), 2),
        Kind("network", specimens.write_network, "network/*", _checkpoint("network"), 2),
        Kind("onnx", specimens.write_network, "model.onnx", _checkpoint("model.onnx")),
        *(
            Kind(n, specimens.write_policies, f"{n}/*", _network(load, n))
            for n, load in NETWORKS.items()
        ),
        Kind("dataset", specimens.write_datasets, "own/**/*.*", _dataset, 2),
        Kind("lerobot dataset", specimens.write_datasets, "lerobot/**/*.*", _lerobot),
        Kind("rosbag2 sqlite3", specimens.write_recordings, "sqlite3/*", _bag("sqlite3")),
        Kind("rosbag2 mcap", specimens.write_recordings, "mcap/*", _bag("mcap")),
        *(
            Kind(n, specimens.write_arrays, f"data.{n}{'/**/*' * (n == 'zarr')}", _sequence(n))
            for n in ARRAYS
        ),
        *(Kind(n, specimens.write_videos, f"video.{n}", _video(n), 0.5) for n in VIDEOS),
        Kind("annotations.csv", specimens.write_videos, "annotations.csv", _frames),
        Kind("jpg", specimens.write_videos, "frames/**/*.jpg", _frames, 0.5),
        Kind("actions.csv", specimens.write_videos, "actions.csv", _labels),
        Kind("run state", specimens.write_runs, "last.safetensors", _run_state),
        Kind("learning curve", specimens.write_runs, "curve.json", _curve),
    )
}
