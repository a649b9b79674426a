"""Vectorized grasp environments for stable-baselines3."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from invdyn_ros.grasp.envs.registration import register_all

INFO_KEYWORDS = ("is_success", "lifted")  # recorded by the monitor at each episode's end


def make_vec_env(env_id: str, num_envs: int, seed: int, **kwargs: Any) -> VecEnv:
    """Create environments, each in a process and with a seed of its own.

    Args:
        env_id: id of the environment, such as "invdyn_ros/GraspUR5-v0".
        num_envs: number of environments; a single one runs in this process.
        seed: seed of the first environment; the others have the following ones.
        **kwargs: fields of `GraspEnvConfig`.

    Raises:
        ValueError: less than one environment.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs is {num_envs}; it must be at least 1")
    makers: list[Callable[[], gymnasium.Env[Any, Any]]] = [
        partial(_make_env, env_id, num_envs > 1, **kwargs) for _ in range(num_envs)
    ]
    # processes are forked from a server without threads, which imports this module once
    multiprocessing.set_forkserver_preload([__name__])
    envs: VecEnv = DummyVecEnv(makers) if num_envs == 1 else SubprocVecEnv(makers)
    envs.seed(seed)
    return envs


def _make_env(env_id: str, in_subprocess: bool, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    if in_subprocess:
        torch.set_num_threads(1)
    register_all()
    return Monitor(gymnasium.make(env_id, **kwargs), info_keywords=INFO_KEYWORDS)
