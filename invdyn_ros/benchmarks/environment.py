"""Benchmark of the speed of the grasp environments, beside panda-gym's."""

from __future__ import annotations

import importlib
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from pydantic import PositiveFloat

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.report import Row, ratios
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.grasp.envs.vector_env import make_vec_env
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.velocity_action_spaces import make_action_space
from invdyn_ros.native_output import STDOUT, suppress_native_output
from invdyn_ros.robots.registry import load_grasp_spec
from invdyn_ros.robots.robot import ROBOTS, load_robot

PEER, PEER_PACKAGE, PEER_VERSION = "PandaPickAndPlace-v3", "panda_gym", "3.0.7"
STEPS, SIMULATED, PERIOD = "steps/s", "simulated s/s", "control period ms"
PEER_PERIOD = 0.04  # [s]
TURN_SECONDS = 0.5  # [s] for one environment before the next has its turn
MAX_ACTION = 0.5  # of random actions, which keeps the arm off its joint limits


@dataclass(frozen=True)
class EnvironmentBenchmarkConfig(BenchmarkOptions):
    """Environment steps per second with random actions, beside panda-gym's in the same run."""

    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    periods: tuple[float, ...] = ()
    """Action periods [s]; by default 0.04, as panda-gym's, and the arm's control period."""
    noise: str = "default"
    """Domain randomization level: none, default or hard."""
    num_envs: tuple[int, ...] = (1, 2)
    """Numbers of vectorised environments to measure, at the first period."""
    seconds: PositiveFloat = 30.0
    """Duration of the measurement [s]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        load_grasp_spec(self.arm)  # refuses an arm without environments
        if min(self.num_envs, default=1) < 1:
            raise ValueError(f"num_envs is {self.num_envs}; each must be at least 1")


class TimedEnv:
    """Environment with random actions whose steps are counted and timed."""

    def __init__(self, env: gymnasium.Env[Any, Any], period: float) -> None:
        self.env, self.period = env, period
        self.steps, self.seconds = 0, 0.0
        self._random = np.random.default_rng(0)
        env.reset(seed=0)
        self._step()  # not timed, as the first step allocates memory

    def run(self, seconds: float) -> None:
        """Step for some seconds; resets count as time, not as steps."""
        start = now = time.perf_counter()
        while now - start < seconds:
            self._step()
            self.steps += 1
            now = time.perf_counter()
        self.seconds += now - start

    def _step(self) -> None:
        shape = self.env.action_space.shape or ()
        action = self._random.uniform(-MAX_ACTION, MAX_ACTION, shape).astype(np.float32)
        _, _, terminated, truncated, _ = self.env.step(action)
        if terminated or truncated:
            self.env.reset()

    def row(self) -> Row:
        """Return the measured rates."""
        return _row(self.steps / self.seconds, self.period)


def measure_environment(config: EnvironmentBenchmarkConfig) -> dict[str, Any]:
    """Return the report on one arm: each period, panda-gym, and vectorised environments."""
    torch.set_num_threads(1)
    measured = config.begin("environment", "1/s")
    rows = measured.rows
    name = f"invdyn_ros/Grasp{load_grasp_spec(config.arm).env_name}-v0"
    periods = config.periods or (PEER_PERIOD, 1 / ROBOTS[config.arm].rate)
    env_kwargs = {f"{name} at {1e3 * p:g} ms": _env_kwargs(config, p) for p in periods}
    first, peer = next(iter(env_kwargs)), _peer()
    with ExitStack() as stack:
        envs = {} if peer is None else {PEER: peer}
        for (key, kwargs), period in zip(env_kwargs.items(), periods, strict=True):
            envs[key] = TimedEnv(gymnasium.make(name, **kwargs), period)
        for env in envs.values():
            stack.callback(env.env.close)
        _take_turns(envs, config.seconds * 2 / 3)
        rows |= {key: env.row() for key, env in envs.items()}
    seconds = config.seconds / 3 / max(len(config.num_envs), 1)
    for num_envs in config.num_envs:
        rate = vector_env_rate(name, num_envs, seconds, env_kwargs[first])
        rows[f"{first}, {_processes(num_envs)}"] = _row(rate, periods[0])
    ratio = {}
    if peer is not None:
        keys = [key for key in envs if key != PEER]
        ratio = {key: ratios(rows[key], rows[PEER], (STEPS, SIMULATED)) for key in keys}
    return measured.report(
        settings={
            "arm": config.arm,
            "noise": config.noise,
            "seconds": config.seconds,
            "peer": PEER if peer is not None else _install_hint(),
        },
        ratio=ratio,
    )


def vector_env_rate(name: str, num_envs: int, seconds: float, env_kwargs: dict[str, Any]) -> float:
    """Return the steps per second of vectorised environments, all together.

    Args:
        name: of the environment.
        num_envs: environments, one process each.
        seconds: of the measurement [s].
        env_kwargs: of the environment.
    """
    envs = make_vec_env(name, num_envs, 0, **env_kwargs)
    try:
        envs.reset()
        random, shape = np.random.default_rng(0), (num_envs, *(envs.action_space.shape or ()))
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            envs.step(random.uniform(-MAX_ACTION, MAX_ACTION, shape).astype(np.float32))
            steps += num_envs
        return steps / (time.perf_counter() - start)
    finally:
        envs.close()


def _take_turns(envs: dict[str, TimedEnv], seconds: float) -> None:
    """Run the environments in turn, so that other load on the machine affects all alike."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for env in envs.values():
            env.run(min(TURN_SECONDS, seconds / len(envs)))


def _peer() -> TimedEnv | None:
    """Return panda-gym's environment; None if it is not installed."""
    try:
        importlib.import_module(PEER_PACKAGE)
    except ImportError:
        print(_install_hint())
        return None
    with suppress_native_output(STDOUT):
        env = gymnasium.make(PEER)
    simulation: Any = getattr(env.unwrapped, "sim")  # noqa: B009 (its type has no such field)
    return TimedEnv(env, float(simulation.dt))


def _install_hint() -> str:
    return f"no panda-gym to compare with; pip install panda-gym=={PEER_VERSION}"


def _env_kwargs(config: EnvironmentBenchmarkConfig, period: float) -> dict[str, Any]:
    """Return the settings of the environment, checked before anything is built."""
    action_space = ActionSpaceConfig(action_period=period)
    GraspEnvConfig(arm=config.arm, noise=config.noise, action_space=action_space)
    make_action_space("joint", load_robot(config.arm), action_space)
    return {"noise": config.noise, "action_space": action_space}


def _row(steps_per_second: float, period: float) -> Row:
    return {
        STEPS: round(steps_per_second, 1),
        PERIOD: round(1e3 * period, 3),
        SIMULATED: round(steps_per_second * period, 2),
    }


def _processes(count: int) -> str:
    return f"{count} process" + "es" * (count > 1)
