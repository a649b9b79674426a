"""What the live node runs: a checkpoint folder or an exported file enters, a fast model leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.export_parity import check_parity
from invdyn_ros.models.inverse_dynamics import InverseDynamics, ModelMetadata, Prediction
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.robots.robot import Robot

# families that have something faster for single frames than onnxruntime
RUNTIMES: dict[str, Callable[[Any], Runtime]] = {"rigid_body": MujocoRigidBody}


class Runtime(Protocol):
    """A model that is ready to drive an arm."""

    meta: ModelMetadata

    @property
    def n_obs_steps(self) -> int:
        """Frames of motion that a prediction looks at."""

    def predict(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions (B, T, n) of motion (B, T, 3n) at times (B, T) [s]."""


def load_runtime(path: str | Path, device: str = "auto", robot: Robot | None = None) -> Runtime:
    """Read a checkpoint folder, or a file of `invdyn export`.

    Args:
        path: folder or .onnx file.
        device: "auto" and "cpu" are the CPU, which has the next frame soonest; or "cuda".
        robot: refuse a model of any other arm than this.

    Raises:
        ValueError: no model, damaged, foreign, of another arm, or not for this device.
    """
    if Path(path).suffix == ".onnx":
        from invdyn_ros.models.onnx import load_onnx  # onnxruntime: only where it is used

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


def fastest_runtime(model: InverseDynamics) -> Runtime:
    """Return what gives the same actions soonest on the CPU, for one frame at a time.

    That is a runtime of the family's own, else onnxruntime, else the model itself if its family
    cannot be exported.

    Raises:
        ValueError: the family's own runtime gives other actions; the model has numbers out of all
            proportion.
    """
    if model.meta.family in RUNTIMES:
        runtime = RUNTIMES[model.meta.family](model)
        check_parity(model, runtime, "this checkpoint is unsound, train it again")
        return runtime
    from invdyn_ros.models.onnx import export_and_verify

    try:
        return export_and_verify(model)[0]
    except ValueError:
        return model
