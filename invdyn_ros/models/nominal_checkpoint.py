"""Checkpoint for a simulated arm that no model was trained for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from invdyn_ros import __version__
from invdyn_ros.data.action_units import TORQUE
from invdyn_ros.data.cache import cache_folder
from invdyn_ros.models.checkpoint import save
from invdyn_ros.models.mujoco_rigid_body import FRICTION, urdf_model
from invdyn_ros.models.registry import build
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, package_file


def simulation_checkpoint(robot: Robot) -> Path:
    """Return the shipped checkpoint of an arm, or one of its URDF where none is shipped."""
    try:
        return package_file(f"config/checkpoints/{robot.name}")
    except FileNotFoundError:
        return write_nominal_checkpoint(robot, load_plant(robot.name))


def write_nominal_checkpoint(robot: Robot, plant: PlantConfig) -> Path:
    """Write a model of torques: the URDF of an arm with the friction and rotors of its plant.

    Args:
        robot: the arm.
        plant: parameters of the simulated arm.

    Returns:
        The checkpoint folder, in the cache.
    """
    # a command acts for one period, so on average half a period after it arrives
    delay = plant.delay + 0.5 / robot.rate
    model = build(replace(urdf_model(robot, TORQUE).meta, action_delay=delay))
    per_effort = [plant.viscous, plant.coulomb, 0.0, plant.rotor_inertia]
    values = np.outer(robot.effort, per_effort)  # (n, 4)
    friction = model.get_buffer(FRICTION)
    friction.copy_(friction.new_tensor(values))
    folder = cache_folder(f"{__version__} {model.meta} {values.tolist()}") / robot.name
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as temporary:
        whole = Path(temporary) / robot.name
        save(model, model.meta, whole)
        try:
            whole.rename(folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    return folder
