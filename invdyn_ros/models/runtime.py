"""Fastest runtime of a model for single frames, from a checkpoint folder or an exported file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.export_parity import check_parity
from invdyn_ros.models.inverse_dynamics import InverseDynamics, ModelMetadata, Prediction
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.robots.robot import Robot

# families with a runtime that is faster for single frames than onnxruntime
RUNTIMES: dict[str, Callable[[Any], Runtime]] = {"rigid_body": MujocoRigidBody}


class Runtime(Protocol):
    """A model that predicts actions for one frame at a time."""

    meta: ModelMetadata

    @property
    def n_obs_steps(self) -> int:
        """Number of frames that a prediction depends on."""

    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions (B, T, n) of motion (B, T, 3n) at times (B, T) [s]."""


def load_runtime(path: str | Path, device: str = "auto", robot: Robot | None = None) -> Runtime:
    """Load a checkpoint folder or a file of `invdyn export`.

    Args:
        path: folder or .onnx file.
        device: "auto" and "cpu" are the CPU, which has the lowest latency; or "cuda".
        robot: arm that the model must belong to; None: any.

    Raises:
        ValueError: no model, damaged, of another type or arm, or not for this device.
    """
    if Path(path).suffix == ".onnx":
        from invdyn_ros.models.onnx import load_onnx  # onnxruntime is only imported where needed

        if device == "cuda":
            raise ValueError(f"{path} runs on the CPU; use device auto or cpu, or a folder")
        return load_onnx(path, robot)
    if device not in ("auto", "cpu"):
        return load(path, device, robot)
    model = load(path, "cpu", robot)
    try:
        return fastest_runtime(model)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def predict_motion(model: Runtime, motion: Tensor, time: Tensor) -> Tensor:
    """Return the actions (T, n) of a motion, in any runtime.

    Where a prediction depends on several frames, the motion is at rest in its first state before.

    Args:
        model: the model.
        motion: (T, 3n) = [q, qd, qdd] of successive frames.
        time: (T,) of the frames, not decreasing [s].
    """
    steps = model.n_obs_steps
    index = torch.arange(len(motion))[:, None] + torch.arange(1 - steps, 1)  # (T, steps)
    early = (-index).clamp_min(0)
    return model.predict(
        motion[index.clamp_min(0)], time[index.clamp_min(0)] - early / model.meta.rate
    ).mean[:, -1]


def fastest_runtime(model: InverseDynamics) -> Runtime:
    """Return the runtime with the lowest latency on the CPU, for one frame at a time.

    That is the family's own runtime, else onnxruntime, else the model itself if its family
    cannot be exported.

    Raises:
        ValueError: the family's own runtime gives other actions, because the parameters are
            numerically ill-conditioned.
    """
    if model.meta.family in RUNTIMES:
        runtime = RUNTIMES[model.meta.family](model)
        check_parity(model, runtime, "this checkpoint is ill-conditioned, train it again")
        return runtime
    from invdyn_ros.models.onnx import export_and_verify

    try:
        return export_and_verify(model)[0]
    except ValueError:
        return model
