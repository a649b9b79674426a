"""Nodes import only what they use, and drive without PyTorch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from node_probe import CHECKPOINTS

from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.onnx_export import export
from invdyn_ros.models.registry import build

ROOT = Path(__file__).parents[1]

HEAVY = {
    *("torch", "jax", "onnx", "onnxruntime", "scipy", "sympy", "gymnasium", "stable_baselines3"),
    *("mujoco", "pybullet", "cv2", "mediapipe", "matplotlib", "PIL", "aiohttp", "jinja2"),
    *("h5py", "zarr", "pyarrow", "rosbags", "tyro"),
}
NODE_IMPORTS = {
    "camera": ({"cv2"}, "CameraNode()", "-p", "video:=VIDEO"),
    "pose": ({"cv2", "mediapipe"}, "PoseNode()"),
    "retarget": ({"mujoco", "scipy"}, "RetargetNode()"),
    "report": (set(), "ReportNode()"),
    "dofbot": (set(), "DofbotNode(ServoBoard(time.monotonic))"),
    "simulator": ({"mujoco", "pybullet"}, "SimulatorNode()"),
    "inverse_dynamics": (
        {"mujoco"},
        "InverseDynamicsNode()",
        "-p",
        f"checkpoint:={CHECKPOINTS / 'ur5'}",
    ),
}
"""Node -> what it may import, and how it is created with which ROS arguments."""
CREATED_NODE = """
import sys, rclpy
from servo_board import ServoBoard
from invdyn_ros.nodes.{name} import *
rclpy.init(args=["node", "--ros-args", *{arguments}])
node = {call}
print(*sorted({heavy} & sys.modules.keys()), flush=True)
import os; os._exit(0)
"""


DRIVEN_ARMS = """
import sys
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.nodes.inverse_dynamics import *
from invdyn_ros.models.runtime import load_runtime
runtimes = set()
for path in sys.argv[1:]:
    robot = load_robot(load_runtime(path).meta.robot)
    config = SafetyLimitsConfig(), MeasurementMonitorConfig()
    controller, description = load_controller(robot, path, "auto", *config)
    controller.engage(True)
    command = controller.update(MeasuredState(0.0, robot.home, 0 * robot.home))
    assert command.action is not None, command.reason
    runtimes.add(description["runtime"])
print(*sorted(runtimes))
print(*sys.modules)
"""


def test_created_nodes_import_only_what_they_use(tmp_path):
    video = tmp_path / "grey.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 20, (64, 48))
    for _ in range(5):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    started = {}
    for name, (_, call, *words) in NODE_IMPORTS.items():
        arguments = [word.replace("VIDEO", str(video)) for word in words]
        script = CREATED_NODE.format(name=name, call=call, arguments=arguments, heavy=HEAVY)
        command = [sys.executable, "-c", script]
        started[name] = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT / "test"
        )
    imported = {name: set(process.communicate()[0].split()) for name, process in started.items()}
    assert imported == {name: allowed for name, (allowed, *_) in NODE_IMPORTS.items()}


def test_shipped_and_exported_models_drive_without_torch_and_training(tmp_path):
    folders = sorted(CHECKPOINTS.iterdir())
    network = build(replace(load(CHECKPOINTS / "ur5").meta, family="mlp", config={"width": 8}))
    export(network.eval(), tmp_path / "mlp.onnx")
    result = subprocess.run(
        [sys.executable, "-c", DRIVEN_ARMS, *folders, tmp_path / "mlp.onnx"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    driven, imported = result.stdout.splitlines()
    assert driven == "HybridPredictor MujocoRigidBody ONNXModel"
    heavy = {name for name in imported.split() if name in HEAVY or "training" in name}
    assert heavy == {"mujoco", "onnxruntime"}


def test_nodes_without_a_network_start_without_torch():
    nodes = [
        "blocks",
        "camera",
        "dofbot",
        "grasp",
        "pose",
        "report",
        "retarget",
        "scene_camera",
        "simulator",
        "view",
    ]
    modules = ", ".join(f"invdyn_ros.nodes.{node}" for node in nodes)
    slow = {"torch", "jax", "matplotlib", "mediapipe", "stable_baselines3"}
    source = f"import sys, {modules}; print(*{slow!r} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr
