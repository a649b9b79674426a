"""Environments side by side, one process each: a name and a number enter, a vector env leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from invdyn_ros.grasp.envs.registration import register_all

START_METHOD = "spawn"  # a fork of a process with torch's threads may hang
TOLD = ("is_success", "lifted", "placed")  # what a monitor keeps of each episode


def make_vec_env(name: str, processes: int, seed: int, **changes: Any) -> VecEnv:
    """Return as many environments as processes, each with a run of its own and one torch thread.

    Args:
        name: of the environment, such as "invdyn_ros/GraspUR5-v0".
        processes: how many; 1: none but this one.
        seed: the environments have the seeds from this one on.
        **changes: fields of the environment's configuration.

    Raises:
        ValueError: fewer than one process.
    """
    if processes < 1:
        raise ValueError(f"processes is {processes}; it must be at least 1")
    makers: list[Callable[[], gymnasium.Env[Any, Any]]] = [
        partial(_make, name, processes > 1, **changes) for _ in range(processes)
    ]
    alone = processes == 1
    made: VecEnv = (
        DummyVecEnv(makers) if alone else SubprocVecEnv(makers, start_method=START_METHOD)
    )
    made.seed(seed)
    return made


def _make(name: str, alone: bool, **changes: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment, in a process of its own or in this one."""
    if alone:
        torch.set_num_threads(1)
    register_all()
    return Monitor(gymnasium.make(name, **changes), info_keywords=TOLD)
