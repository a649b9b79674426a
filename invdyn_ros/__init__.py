"""Learned inverse dynamics of robot arms: maps motion to actions.

The names below are the Python interface, which follows semantic versioning; every other module may
change. They are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_INTERFACE = {
    "load": "models.arm_model.load",
    "Model": "models.arm_model.Model",
    "Actions": "models.arm_model.Actions",
    "Trajectory": "data.trajectory.Trajectory",
    "collect": "sources.collect.collect",
    "train": "training.train_model.train_model",
    "evaluate": "evaluation.evaluate_model.evaluate_model",
    "load_robot": "robots.robot.load_robot",
    "Robot": "robots.robot.Robot",
    "Controller": "control.step_controller.Controller",
    "Command": "control.command.Command",
    "Simulation": "arms.pybullet_simulation.Simulation",
    "GraspEnv": "grasp.envs.grasp_env.GraspEnv",
}
"""Name -> where it is, below invdyn_ros."""

__all__ = ["__version__", *_INTERFACE]


def __getattr__(name: str) -> Any:
    """Import a name of the interface."""
    if name not in _INTERFACE:
        raise AttributeError(f"module 'invdyn_ros' has no attribute '{name}'")
    module, attribute = _INTERFACE[name].rsplit(".", 1)
    return getattr(importlib.import_module(f"invdyn_ros.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
