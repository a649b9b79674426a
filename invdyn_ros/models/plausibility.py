"""Check of the action that a loaded model predicts for an arm at rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invdyn_ros.data.action_units import is_torque
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.robots.robot import ROBOTS, Robot, load_robot
from invdyn_ros.typing import Array

MAX_EFFORT_RATIO = 100.0  # of the effort at rest to the effort limit
MAX_SETPOINT_ERROR = 2 * np.pi  # [rad] of a setpoint at rest
MAX_ACTION = 1e6  # in any unit, of an arm without known limits


def check_plausible(model: Runtime, where: str | Path, robot: Robot | None = None) -> None:
    """Check the action of an arm at rest in its home configuration.

    Args:
        model: the model; one with image input is not checked.
        where: source of the model in the message.
        robot: the arm; None: that of the metadata, if it is known by name.

    Raises:
        ValueError: the action is not finite, or far beyond the limits of the arm.
    """
    meta = model.meta
    if meta.image_size:
        return
    if robot is None and meta.robot in ROBOTS:
        robot = load_robot(meta.robot)
    n, known = len(meta.joint_names), robot is not None and robot.joint_names == meta.joint_names
    home = robot.home if robot is not None and known else np.zeros(n)
    motion = np.zeros((1, model.n_obs_steps, 3 * n))
    motion[..., :n] = home
    time = np.arange(model.n_obs_steps)[None] / meta.rate
    action = model.predict(motion, time).mean[0, -1]
    limit = _limit(meta.action_unit, robot) if robot is not None and known else MAX_ACTION
    deviation = np.abs(action - home) if meta.action_unit == "rad" else np.abs(action)
    if not (deviation <= limit).all():  # also for NaN
        k = int(np.argmax(~(deviation <= limit)))
        raise ValueError(
            f"{where}: it predicts {action[k]:.4g} {meta.action_unit} for '{meta.joint_names[k]}' "
            "at rest, which is implausible; train it again"
        )


def _limit(unit: str, robot: Robot) -> Array:
    """Return the largest plausible action (n,), or its distance from the position [rad]."""
    if unit == "rad":
        return np.full(robot.n, MAX_SETPOINT_ERROR)
    return MAX_EFFORT_RATIO * robot.effort if is_torque(unit) else np.full(robot.n, MAX_ACTION)
