"""Small valid files of every kind that a command or launch argument reads."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.grasp.estimation.block_pose_network import (
    BlockPoseMetadata,
    BlockPoseNet,
    BlockPoseNetConfig,
    save_block_pose_net,
)
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata, save_policy
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.checkpoint_files import CHECKSUM_KEY, metadata_checksum
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.onnx_export import export
from invdyn_ros.models.planner.flow_matching import FlowMatchingConfig
from invdyn_ros.models.planner.planner import FlowPlanner, PlannerMetadata, save_planner
from invdyn_ros.models.registry import build
from invdyn_ros.models.timeseries.registry import build_time_series_model, save_time_series_model
from invdyn_ros.models.timeseries.time_series_model import TimeSeriesMetadata
from invdyn_ros.robots.robot import load_robot, package_file
from invdyn_ros.training.training_state import Progress, RunState

JOINTS = ("a", "b")
ROWS, RATE, PIXELS = 40, 50.0, 32
BOX = "0.1 0.1 0.2"
CAMERA_POSE = (
    "arm: ur5\nmounting: eye_to_hand\nposition: [0.9, 0.1, 0.6]\nquaternion: [0, 1, 0, 0]\n"
)
OBSTACLES = "table: true\nboxes:\n  - {name: wall, size: [1, 1, 1], position: [2.0, 0.0, 0.5]}\n"
ANNOTATIONS = (
    "participant_id,video_id,start_frame,stop_frame,stop_timestamp,verb_class\n"
    "P01,P01_01,1,9,00:00:00.30,3\n"
)


def write_urdf(folder: Path) -> None:
    """Write an arm of three joints, arm.urdf, with a mesh."""
    links = ["<link name='base'/>"]
    for k, axis in enumerate(("0 0 1", "0 1 0", "1 0 0")):
        parent = f"link_{k - 1}" if k else "base"
        links.append(
            f'<link name="link_{k}"><inertial><origin xyz="0 0 0.1" rpy="0 0 0"/>'
            '<mass value="2.0"/><inertia ixx="0.02" ixy="0" ixz="0" iyy="0.02" iyz="0" '
            'izz="0.01"/>'
            f'</inertial><visual><geometry><mesh filename="meshes/box.stl" scale="1 1 1"/>'
            '</geometry></visual><collision><geometry><mesh filename="meshes/box.stl"/></geometry>'
            f'</collision><collision><geometry><box size="{BOX}"/></geometry></collision>'
            "</link>\n"
            f'<joint name="joint_{k}" type="revolute"><parent link="{parent}"/>'
            f'<child link="link_{k}"/><origin xyz="0 0 0.25" rpy="0 0 0"/><axis xyz="{axis}"/>'
            '<limit lower="-3.0" upper="3.0" velocity="2.0" effort="50.0"/></joint>\n'
        )
    (folder / "arm.urdf").write_text(
        '<?xml version="1.0"?>\n<robot name="arm">\n' + "".join(links) + "</robot>\n"
    )
    (folder / "meshes").mkdir()
    (folder / "meshes" / "box.stl").write_bytes(_stl())


def write_configs(folder: Path) -> None:
    """Write the YAML files of training, obstacles, blocks and cameras."""
    for group, name in (("train", "mlp"), ("timeseries", "gru_dt"), ("grasp", "sac")):
        shutil.copy(package_file(f"config/{group}/{name}.yaml"), folder / f"{group}.yaml")
    shutil.copy(package_file("config/grasp/block_pose.yaml"), folder)
    (folder / "camera_pose.yaml").write_text(CAMERA_POSE)
    (folder / "obstacles.yaml").write_text(OBSTACLES)
    shutil.copy(package_file("config/blocks/ur5.yaml"), folder / "blocks.yaml")


def write_checkpoint(folder: Path) -> None:
    """Write the shipped rigid body of the UR5."""
    _copy(package_file("config/checkpoints/ur5"), folder)


def write_network(folder: Path) -> None:
    """Write a small network for the UR5, as a folder and exported."""
    robot = load_robot("ur5")
    config = {"width": 8, "depth": 1}
    meta = ModelMetadata("mlp", "ur5", robot.joint_names, "N m", 125.0, 0.0, "", config)
    model = build(meta).eval()
    save(model, meta, folder / "network")
    export(model, folder / "model.onnx")


def write_policies(folder: Path) -> None:
    """Write a policy, a planner, a block pose network and a time-series model."""
    joints = load_robot("ur5").joint_names
    policy = PolicyMetadata("ur5", 12, 7, (8,), "tanh", "sac")
    save_policy(MLPPolicy(policy), folder / "policy")
    shape = FlowMatchingConfig(horizon=4, num_components=2, down_dims=(8, 8), width=8, step_dim=4)
    save_planner(FlowPlanner(PlannerMetadata("ur5", joints, 3, 10.0, shape)), folder / "planner")
    small = BlockPoseNetConfig(PIXELS, (4, 4, 4), 5, 8)
    points = ((0.1, 0.1), (0.2, 0.1), (0.1, 0.3), (0.2, 0.3))
    pose = BlockPoseMetadata("ur5", 0.04, (0.5, 0.0), points, small)
    save_block_pose_net(BlockPoseNet(pose), folder / "block_pose")
    series = TimeSeriesMetadata("gru_dt", "ur5", joints, 125.0, {"width": 4})
    save_time_series_model(build_time_series_model(series), folder / "time_series")


def write_datasets(folder: Path) -> None:
    """Write a dataset of this package, and one of the lerobot library."""
    write_dataset(folder / "own", [_trajectory(k) for k in range(2)], "made_up", RATE)
    write_dataset(folder / "lerobot", [_trajectory(2)], "made_up", RATE)
    file = folder / "lerobot" / "meta" / "info.json"
    info = json.loads(file.read_text())
    del info["action_unit"]
    file.write_text(json.dumps(info, indent=2))


def write_recordings(folder: Path) -> None:
    """Write recordings of joint states and marker poses, as .db3 and as .mcap."""
    for storage in StoragePlugin:
        _write_bag(folder / storage.name.lower(), storage)


def write_arrays(folder: Path) -> None:
    """Write one episode as npz, HDF5, zarr, parquet and CSV."""
    import h5py
    import zarr

    motion = _trajectory(0)
    columns = {
        "observations": np.hstack([motion.position, motion.velocity]),
        "actions": motion.action,
        "terminals": np.arange(ROWS) == ROWS - 1,
    }
    np.savez(folder / "data.npz", **columns)
    with h5py.File(folder / "data.hdf5", "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values, chunks=True, compression="gzip")
    group = zarr.open_group(str(folder / "data.zarr"), mode="w")
    for name, values in columns.items():
        group[name] = values
    table = {n: list(v) if v.ndim > 1 else v for n, v in columns.items()}
    pq.write_table(pa.table(table), folder / "data.parquet")
    n = motion.n
    names = [f"{name}{k}" for name in ("q", "qd", "actions") for k in range(n)]
    rows = np.hstack([columns["observations"], motion.action])
    np.savetxt(folder / "data.csv", rows, delimiter=",", header=",".join(names), comments="")


def write_videos(folder: Path) -> None:
    """Write videos, an EPIC-KITCHENS frame folder with annotations, and labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (10, PIXELS, PIXELS, 3), np.uint8)
    for name, codec in (("video.mp4", "mp4v"), ("video.webm", "VP80"), ("video.avi", "MJPG")):
        fourcc = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(folder / name), fourcc, 30.0, (PIXELS, PIXELS))
        for image in images:
            writer.write(image)
        writer.release()
    frames = folder / "frames" / "P01" / "P01_01"
    frames.mkdir(parents=True)
    for k, image in enumerate(images[:9], 1):
        Image.fromarray(image).save(frames / f"frame_{k:010d}.jpg")
    (folder / "annotations.csv").write_text(ANNOTATIONS)
    rows = [f"video,{k},{0.01 * k},{-0.02}" for k in range(10)]
    (folder / "actions.csv").write_text("\n".join(["video,frame,x,y", *rows]) + "\n")


def write_runs(folder: Path) -> None:
    """Write the state of a training run and the learning curve of a policy."""
    state = RunState(folder, {"seed": 0}, None)
    state.write(Progress(1, 2, 0.5, 1, [(1.0, 0.5)]), {"model.x": torch.ones(3)})
    shutil.copy(package_file("config/policies/ur5/curve.json"), folder)


def sign(folder: Path) -> None:
    """Adapt the checksums of all checkpoints in a folder to their present content."""
    for file in folder.rglob("meta.json"):
        try:
            values = json.loads(file.read_text())
            weights = (file.parent / "model.safetensors").read_bytes()
            values["sha256"] = hashlib.sha256(weights).hexdigest()
            values[CHECKSUM_KEY] = metadata_checksum(values)
        except (OSError, ValueError, TypeError, RecursionError):
            return  # too damaged to be signed
        file.write_text(json.dumps(values))


def _trajectory(seed: int) -> Trajectory:
    phase = np.random.default_rng(seed).uniform(0, 6, len(JOINTS))
    time = np.arange(ROWS) / RATE
    angle = 3 * time[:, None] + phase
    q, qd, qdd = np.sin(angle), 3.0 * np.cos(angle), -9.0 * np.sin(angle)
    return Trajectory(time, q, qd, qdd, 2 * qdd + q, JOINTS, "N m")


def _write_bag(folder: Path, storage: StoragePlugin) -> None:
    types = get_typestore(Stores.ROS2_JAZZY)
    state, pose = "sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseWithCovarianceStamped"
    kinds, names = types.types, load_robot("ur5").joint_names
    time_type, header_type = (
        kinds[f"{p}/msg/{n}"] for p, n in (("builtin_interfaces", "Time"), ("std_msgs", "Header"))
    )
    geometry = {
        name: kinds[f"geometry_msgs/msg/{name}"]
        for name in ("Point", "Quaternion", "Pose", "PoseWithCovariance")
    }
    with Writer(folder, version=9, storage_plugin=storage) as bag:
        states = bag.add_connection("/joint_states", state, typestore=types)
        marker = bag.add_connection("/blocks/block_0", pose, typestore=types)
        for k in range(ROWS):
            stamp = 1_700_000_000_000_000_000 + k * 8_000_000
            header = header_type(time_type(*divmod(stamp, 10**9)), "base")
            q = 0.1 * np.sin(0.1 * k + np.arange(6.0))
            message = kinds[state](header, list(names), q, q, q)
            bag.write(states, stamp, types.serialize_cdr(message, state))
            point, turn = (
                geometry["Point"](0.1, 0.2, 0.7),
                geometry["Quaternion"](0.0, 0.0, 0.0, 1.0),
            )
            estimate = geometry["PoseWithCovariance"](
                geometry["Pose"](point, turn), np.eye(6).ravel() * 1e-6
            )
            bag.write(marker, stamp, types.serialize_cdr(kinds[pose](header, estimate), pose))


def _stl() -> bytes:
    """Return a tetrahedron as a binary STL file."""
    corners = 0.1 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    body = b"".join(
        np.zeros(3, np.float32).tobytes() + corners[list(face)].tobytes() + b"\0\0"
        for face in faces
    )
    return bytes(80) + len(faces).to_bytes(4, "little") + body


def _copy(source: Path, folder: Path) -> None:
    for name in ("meta.json", "model.safetensors"):
        shutil.copy(source / name, folder / name)
