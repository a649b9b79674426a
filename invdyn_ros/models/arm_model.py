"""Predictions of a trained model for programs: arrays of any batch shape, units in the names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.data.action_units import CURRENT, SETPOINT, TORQUE, TORQUE_WITHOUT_GRAVITY
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.runtime import load_runtime, predict_motion
from invdyn_ros.robots.robot import Robot, package_file
from invdyn_ros.typing import Array


class Actions(NamedTuple):
    """Actions that cause a motion.

    Only the property of the model's own unit has a value; the others raise AttributeError.

    Attributes:
        values: (..., n) in `unit`.
        unit: unit of the actions.
        std: (..., n) standard deviation in `unit`; None if the family has none, or needs several
            frames.
    """

    values: Any
    unit: str
    std: Any | None

    @property
    def torque_nm(self) -> Any:
        """(..., n) torque of the joints [N m]."""
        return self._in(TORQUE)

    @property
    def torque_without_gravity_nm(self) -> Any:
        """(..., n) torque of the joints less that which holds them against gravity [N m]."""
        return self._in(TORQUE_WITHOUT_GRAVITY)

    @property
    def current_a(self) -> Any:
        """(..., n) motor current [A]."""
        return self._in(CURRENT)

    @property
    def setpoint_rad(self) -> Any:
        """(..., n) setpoint of the position servos [rad]."""
        return self._in(SETPOINT)

    def _in(self, unit: str) -> Any:
        if self.unit != unit:
            raise AttributeError(f"the actions of this model are in '{self.unit}', not '{unit}'")
        return self.values


class Model:
    """A trained model of inverse dynamics.

    Attributes:
        path: folder or file that it was loaded from.
        meta: arm, joints, unit and rate of the training data.
    """

    meta: ModelMetadata

    def __init__(self, path: Path, runtime: Runtime) -> None:
        """Wrap a loaded model; see `load`."""
        self.path, self.meta, self._runtime = path, runtime.meta, runtime

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the n joints, in the order of the columns."""
        return tuple(self.meta.joint_names)

    @property
    def action_unit(self) -> str:
        """Unit of the actions."""
        return self.meta.action_unit

    @property
    def n_obs_steps(self) -> int:
        """Number of successive frames that an action depends on, including its own."""
        return self._runtime.n_obs_steps

    def predict(
        self, q: Any, qd: Any, qdd: Any = None, *, q_next: Any = None, dt: float | None = None
    ) -> Actions:
        """Return the actions that cause a motion, as NumPy arrays, or as tensors if q is one.

        Tensors have no gradients.
        An arm needs an action `meta.action_delay` [s] before the motion that it causes.

        Args:
            q: (..., n) position [rad]. Where `n_obs_steps` is more than one, (..., T, n) of
                successive frames.
            qd: velocity [rad/s], of the shape of q.
            qdd: acceleration [rad/s2], of the shape of q.
            q_next: position [rad] after `dt` in place of qdd, which is then taken as constant.
            dt: time [s] to `q_next` and from frame to frame.

        Raises:
            ValueError: shapes that do not match, a value that is not finite, or neither or both
                of qdd and q_next.
        """
        if q_next is not None and qdd is not None:
            raise ValueError("qdd and q_next exclude each other; give one of them")
        shape = tuple(q.shape) if hasattr(q, "shape") else np.shape(q)
        position, velocity = self._checked("q", q, shape), self._checked("qd", qd, shape)
        if q_next is None:
            acceleration = self._checked("qdd", qdd, shape)
        elif dt is not None and dt > 0:
            step = self._checked("q_next", q_next, shape) - position - dt * velocity
            acceleration = 2 / dt**2 * step
        else:
            raise ValueError(f"q_next needs dt > 0 [s], got {dt}")
        motion = np.concatenate([position, velocity, acceleration], axis=-1)
        mean, std = self._predict(motion, dt)
        return Actions(_like(q, mean), self.action_unit, None if std is None else _like(q, std))

    def _checked(self, name: str, value: Any, shape: tuple[int, ...]) -> Array:
        """Return a (..., n) argument as an array."""
        if value is None:
            remedy = "give qdd, or q_next with dt" if name == "qdd" else f"give {name}, too"
            raise ValueError(f"{name} is missing; {remedy}")
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, float)
        n = len(self.joint_names)
        if not shape or shape[-1] != n:
            raise ValueError(f"q has shape {shape}; an arm of {n} joints needs (..., {n})")
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}; give that of q, {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
        return array

    def _predict(self, motion: Array, dt: float | None) -> tuple[Array, Array | None]:
        """Return actions and standard deviation (..., n) of motion (..., 3n)."""
        steps, shape = self.n_obs_steps, (*motion.shape[:-1], len(self.joint_names))
        if not motion.size:
            return np.empty(shape), None
        if steps == 1:
            frames = motion.reshape(-1, 1, motion.shape[-1])
            mean, std = self._runtime.predict(frames, np.zeros((len(frames), 1)))
            return mean.reshape(shape), None if std is None else std.reshape(shape)
        if len(shape) < 2 or dt is None or not dt > 0:
            raise ValueError(
                f"a prediction of family {self.meta.family} depends on {steps} frames; give q, qd "
                "and qdd as (..., T, n), and dt [s] from frame to frame"
            )
        time = dt * np.arange(shape[-2])
        sequences = motion.reshape(-1, *motion.shape[-2:])
        actions = [predict_motion(self._runtime, sequence, time) for sequence in sequences]
        return np.reshape(actions, shape), None


def load(path: str | Path, robot: Robot | None = None) -> Model:
    """Load a trained model.

    Args:
        path: folder of 'invdyn train', .onnx file of 'invdyn export', or the name of a shipped
            model, such as "ur5".
        robot: arm that the model must belong to; None: any.

    Raises:
        ValueError: no model, damaged, or of another arm.
    """
    path = Path(path)
    if not path.exists() and len(path.parts) == 1:
        try:
            path = package_file(f"config/checkpoints/{path}")
        except FileNotFoundError:
            names = sorted(p.name for p in package_file("config/checkpoints").iterdir())
            raise ValueError(
                f"{path} is neither a folder nor a shipped model: {', '.join(names)}"
            ) from None
    return Model(path, load_runtime(path, "cpu", robot))


def _like(example: Any, values: Array) -> Any:
    """Return an array, or a tensor of the type of an example that is one."""
    if not hasattr(example, "detach"):
        return values
    import torch

    return torch.as_tensor(values, dtype=example.dtype, device=example.device)
