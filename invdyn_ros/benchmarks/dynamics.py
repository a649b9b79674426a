"""Benchmark of rigid-body inverse dynamics in PyTorch, beside MuJoCo and PyBullet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import mujoco
import numpy as np
import pybullet
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from invdyn_ros.arms.pybullet_client import connect
from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import ratios
from invdyn_ros.benchmarks.simulation import rates_in_turn
from invdyn_ros.config import PositiveInts
from invdyn_ros.models.checkpoint import select_device
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.robots.robot import Robot, load_robot

MAX_PEER_BATCH = 4096  # the other engines take one motion at a time, so that the rate is constant
DTYPES = {"float64": torch.float64, "float32": torch.float32}
MUJOCO, PYBULLET = "mj_inverse", "PyBullet calculateInverseDynamics"


@dataclass(frozen=True)
class DynamicsBenchmarkConfig(BenchmarkOptions):
    """Rigid-body inverse dynamics per second in PyTorch, beside MuJoCo and PyBullet."""

    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    batches: PositiveInts = (1, 256, 4096, 1_000_000)
    """Batch sizes."""
    seconds: Annotated[float, Field(gt=0, lt=np.inf)] = 4.0
    """Measuring time for each batch size [s]."""
    threads: PositiveInt = 1
    """Threads of PyTorch; MuJoCo and PyBullet have one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto, cpu or cuda; the CPU is always measured."""


def measure_dynamics(config: DynamicsBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: unknown arm or device.
    """
    robot = load_robot(config.arm)
    devices = sorted({"cpu", select_device(config.device).type})
    measured = config.begin("dynamics", "evaluations/s", config.threads)
    rows = measured.rows
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    peers = Peers(robot)
    try:
        for batch in config.batches:
            calls = peers.calls(min(batch, MAX_PEER_BATCH))
            for device in devices:
                for name, dtype in DTYPES.items():
                    calls[f"torch {name} {device}"] = (
                        _torch_call(robot, batch, dtype, device),
                        batch,
                    )
            for name, rate in rates_in_turn(calls, config.seconds).items():
                rows.setdefault(name, {})[f"batch {batch}"] = rate
    finally:
        torch.set_num_threads(threads)
        peers.close()
    columns = [f"batch {batch}" for batch in config.batches]
    settings = {"arm": config.arm, "seconds": config.seconds, "peer_motions": MAX_PEER_BATCH}
    if "cuda" in devices:
        settings["gpu"] = torch.cuda.get_device_name()
    return measured.report(
        settings=settings,
        ratio={
            f"{name} to {MUJOCO}": ratios(row, rows[MUJOCO], columns)
            for name, row in rows.items()
            if name.startswith("torch")
        },
    )


def random_motion(n: int, batch: int) -> np.ndarray:
    """Return random q, qd, qdd (3, batch, n) [rad, rad/s, rad/s2]."""
    scale = np.array([1.5, 2.0, 5.0])[:, None, None]
    return scale * np.random.default_rng(0).uniform(-1, 1, (3, batch, n))


class Peers:
    """The same arm in MuJoCo and PyBullet, called from Python."""

    def __init__(self, robot: Robot) -> None:
        self.n, self.model = robot.n, robot.model()
        self.data = mujoco.MjData(self.model)
        self.client = connect()
        self.client.setGravity(0, 0, -9.81)
        with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
            file = Path(folder) / "arm.urdf"
            file.write_text(robot.rigid_body_urdf(), encoding="utf-8")
            self.body = self.client.loadURDF(
                str(file), useFixedBase=True, flags=pybullet.URDF_USE_INERTIA_FROM_FILE
            )
        for link in range(self.client.getNumJoints(self.body)):
            self.client.changeDynamics(
                self.body, link, linearDamping=0, angularDamping=0, jointDamping=0
            )

    def calls(self, batch: int) -> dict[str, tuple[Callable[[], object], int]]:
        """Return a call that evaluates a batch, and the batch size, for both engines."""
        motions = random_motion(self.n, batch).transpose(1, 0, 2)  # (batch, 3, n)
        lists = motions.tolist()

        def in_mujoco() -> np.ndarray:
            model, data = self.model, self.data
            q, qd, qdd = data.qpos, data.qvel, data.qacc
            for q[:], qd[:], qdd[:] in motions:
                mujoco.mj_inverse(model, data)
            return data.qfrc_inverse.copy()

        def in_pybullet() -> tuple[float, ...]:
            torque = self.client.calculateInverseDynamics
            return [torque(self.body, *motion) for motion in lists][-1]

        return {MUJOCO: (in_mujoco, batch), PYBULLET: (in_pybullet, batch)}

    def close(self) -> None:
        """Disconnect from PyBullet."""
        self.client.disconnect()


def _torch_call(robot: Robot, batch: int, dtype: torch.dtype, device: str) -> Callable[[], Tensor]:
    tree = RigidBodyTree.from_urdf(robot.rigid_body_urdf(), robot.joint_names, dtype=dtype).to(
        device
    )
    motion = torch.as_tensor(random_motion(robot.n, batch), dtype=dtype, device=device)

    def call() -> Tensor:
        with torch.inference_mode():
            torque = tree.torque(*motion)
        if device == "cuda":
            torch.cuda.synchronize()
        return torque

    return call
