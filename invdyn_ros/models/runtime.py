"""Fastest runtime of a model for single frames, from a checkpoint folder or an exported file.

Nothing here imports PyTorch, except for a family without a runtime of its own, and for a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from invdyn_ros.data.files import reading
from invdyn_ros.models.checkpoint_files import (
    INVERSE_DYNAMICS,
    METADATA_FILE,
    check_robot,
    read_metadata,
    read_tensors,
)
from invdyn_ros.models.hybrid_predictor import HybridPredictor
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.mujoco_rigid_body import MujocoRigidBody
from invdyn_ros.models.plausibility import check_plausible
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.residual_predictor import ResidualPredictor
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    from invdyn_ros.models.inverse_dynamics import InverseDynamics

# families that run without PyTorch, and faster for single frames than in onnxruntime
OwnRuntime = MujocoRigidBody | HybridPredictor | ResidualPredictor
RUNTIMES: dict[str, type[OwnRuntime]] = {
    "rigid_body": MujocoRigidBody,
    "hybrid": HybridPredictor,
    "residual": ResidualPredictor,
}
MAX_ROUNDING_ERROR = 1e-5  # in standard deviations of the action
NUM_CHECKED_FRAMES = 64
AGAIN = "train it again or copy it again"


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
    if device in ("auto", "cpu"):
        meta, sha256 = read_metadata(ModelMetadata, path, INVERSE_DYNAMICS)
        if meta.family in RUNTIMES:
            if robot is not None:
                check_robot(meta, robot, path)
            return _load_without_torch(meta, Path(path), sha256, robot)
    from invdyn_ros.models.checkpoint import load
    from invdyn_ros.models.torch_predictor import TorchPredictor

    if device not in ("auto", "cpu"):
        return TorchPredictor(load(path, device, robot))
    return fastest_runtime(load(path, "cpu", robot))


def predict_motion(model: Runtime, motion: Array, time: Array) -> Array:
    """Return the actions (T, n) of a motion, in any runtime.

    Where a prediction depends on several frames, the motion is at rest in its first state before.

    Args:
        model: the model.
        motion: (T, 3n) = [q, qd, qdd] of successive frames.
        time: (T,) of the frames, not decreasing [s].
    """
    steps = model.n_obs_steps
    index = np.arange(len(motion))[:, None] + np.arange(1 - steps, 1)  # (T, steps)
    early, known = np.maximum(-index, 0), np.maximum(index, 0)
    return model.predict(motion[known], time[known] - early / model.meta.rate).mean[:, -1]


def fastest_runtime(model: InverseDynamics) -> Runtime:
    """Return the runtime with the lowest latency on the CPU, for one frame at a time.

    That is the family's own runtime, else onnxruntime, else the model itself if its family
    cannot be exported.

    Raises:
        ValueError: the parameters are numerically ill-conditioned.
    """
    if model.meta.family in RUNTIMES:
        arrays = {name: _to_float(tensor.cpu()) for name, tensor in model.state_dict().items()}
        runtime = RUNTIMES[model.meta.family].from_tensors(model.meta, arrays)
        _check_rounding(runtime, arrays, f"{model.meta.family} of '{model.meta.robot}'")
        return runtime
    from invdyn_ros.models.onnx_export import export_and_verify
    from invdyn_ros.models.torch_predictor import TorchPredictor

    try:
        return export_and_verify(model)[0]
    except ValueError:
        return TorchPredictor(model)


def _load_without_torch(
    meta: ModelMetadata, path: Path, sha256: str, robot: Robot | None
) -> Runtime:
    """Load a checkpoint of a family with its own runtime.

    Args:
        meta: metadata of the checkpoint.
        path: the folder.
        sha256: of the weights.
        robot: the arm; None: that of the metadata.
    """
    family, file, kind = RUNTIMES[meta.family], path / METADATA_FILE, "description of a checkpoint"
    with reading(file, kind, AGAIN):
        shapes = family.tensor_shapes(meta)
        expected = {name: np.broadcast_to(0.0, shape) for name, shape in shapes.items()}
    tensors = read_tensors(expected, path, sha256, INVERSE_DYNAMICS)
    arrays = {name: _to_float(values) for name, values in tensors.items()}
    with reading(file, kind, AGAIN):
        runtime = family.from_tensors(meta, arrays)
    _check_rounding(runtime, arrays, path)
    check_plausible(runtime, path, robot)
    return runtime


def _to_float(values: ArrayLike) -> Array:
    return np.array(values, float)


def _check_rounding(runtime: OwnRuntime, tensors: Mapping[str, Array], where: str | Path) -> None:
    """Check that rounding errors of the rigid body are small in motions like the training data.

    Args:
        runtime: the model.
        tensors: of its checkpoint.
        where: source of the model in the message.

    Raises:
        ValueError: they are not.
    """
    mean, std = tensors["motion_mean"], tensors["motion_std"]
    noise = np.random.default_rng(0).normal(size=(NUM_CHECKED_FRAMES, 1, len(mean)))
    motion, time = mean + std * noise, np.zeros((NUM_CHECKED_FRAMES, 1))
    scale = np.maximum(runtime.predict(motion, time).mean.std((0, 1)), tensors["target_std"])
    error = (runtime.rounding_error(motion, time) / scale).max()
    if not error <= MAX_ROUNDING_ERROR:  # also for NaN
        raise ValueError(
            f"{where}: this checkpoint is ill-conditioned, train it again: its actions have "
            f"rounding errors of {error:.1e} standard deviations; {MAX_ROUNDING_ERROR:.0e} are "
            "allowed"
        )
