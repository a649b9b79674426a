"""How fast the grasp environments are: an arm enters, steps/s beside panda-gym's leave."""

from __future__ import annotations

import importlib
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from pydantic import PositiveFloat

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios
from invdyn_ros.config import Validated
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
TURN = 0.5  # [s] of one before the next has its turn
REACH = 0.5  # of random actions: they stay away from the joints' ends


@dataclass(frozen=True)
class EnvironmentBenchmarkConfig(Validated):
    """Environment steps per second with random actions, beside panda-gym's in the same run."""

    arm: str = "ur5"
    """Name of the arm."""
    periods: tuple[float, ...] = ()
    """Control periods of ours [s]; by default 0.04, as panda-gym's, and the arm's own."""
    noise: str = "default"
    """none, default or hard."""
    processes: tuple[int, ...] = (1, 2)
    """Numbers of processes for the rollouts, at the first period."""
    seconds: PositiveFloat = 30.0
    """Time to measure, all in all [s]."""
    report: Path | None = None
    """JSON file to write."""

    def __post_init__(self) -> None:
        super().__post_init__()
        load_grasp_spec(self.arm)  # refuses an arm without environments
        if min(self.processes, default=1) < 1:
            raise ValueError(f"processes is {self.processes}; each must be at least 1")


class TimedEnv:
    """One environment under random actions, and how long its steps took."""

    def __init__(self, env: gymnasium.Env[Any, Any], period: float) -> None:
        self.env, self.period = env, period
        self.steps, self.taken = 0, 0.0
        self._random = np.random.default_rng(0)
        env.reset(seed=0)
        self._step()  # the first allocates

    def turn(self, seconds: float) -> None:
        """Go on for some seconds; resets count as time, not as steps."""
        begun = now = time.perf_counter()
        while now - begun < seconds:
            self._step()
            self.steps += 1
            now = time.perf_counter()
        self.taken += now - begun

    def _step(self) -> None:
        shape = self.env.action_space.shape or ()
        action = self._random.uniform(-REACH, REACH, shape).astype(np.float32)
        _, _, terminated, truncated, _ = self.env.step(action)
        if terminated or truncated:
            self.env.reset()

    def row(self) -> Row:
        """Return what was measured."""
        return _row(self.steps / self.taken, self.period)


def measure_environment(config: EnvironmentBenchmarkConfig) -> dict[str, Any]:
    """Return the report on one arm: ours at each period, the peer, ours in several processes."""
    torch.set_num_threads(1)
    about = machine_info(1)
    name = f"invdyn_ros/Grasp{load_grasp_spec(config.arm).env_name}-v0"
    periods = config.periods or (PEER_PERIOD, 1 / ROBOTS[config.arm].rate)
    changes = {f"{name} at {1e3 * period:g} ms": _changes(config, period) for period in periods}
    first, peer = next(iter(changes)), _peer()
    with ExitStack() as stack:
        walks = {} if peer is None else {PEER: peer}
        for (key, change), period in zip(changes.items(), periods, strict=True):
            walks[key] = TimedEnv(gymnasium.make(name, **change), period)
        for walk in walks.values():
            stack.callback(walk.env.close)
        _take_turns(walks, config.seconds * 2 / 3)
        rows = {key: walk.row() for key, walk in walks.items()}
    share = config.seconds / 3 / max(len(config.processes), 1)
    for count in config.processes:
        rate = rollout(name, count, share, changes[first])
        rows[f"{first}, {_processes(count)}"] = _row(rate, periods[0])
    ratio = {}
    if peer is not None:
        ours = [key for key in walks if key != PEER]
        ratio = {key: ratios(rows[key], rows[PEER], (STEPS, SIMULATED)) for key in ours}
    return benchmark_report(
        "environment",
        unit="1/s",
        machine=about,
        settings={
            "arm": config.arm,
            "noise": config.noise,
            "seconds": config.seconds,
            "peer": PEER if peer is not None else _how_to_install(),
        },
        rows=rows,
        ratio=ratio,
    )


def rollout(name: str, processes: int, seconds: float, changes: dict[str, Any]) -> float:
    """Return how many steps processes do together, per second."""
    envs = make_vec_env(name, processes, 0, **changes)
    try:
        envs.reset()
        random, size = np.random.default_rng(0), envs.action_space.shape or ()
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            envs.step(random.uniform(-REACH, REACH, (processes, *size)).astype(np.float32))
            count += processes
        return count / (time.perf_counter() - begun)
    finally:
        envs.close()


def _take_turns(walks: dict[str, TimedEnv], seconds: float) -> None:
    """Let each walk go in turn, so that a busy machine is as busy for all."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for walk in walks.values():
            walk.turn(min(TURN, seconds / len(walks)))


def _peer() -> TimedEnv | None:
    """Return panda-gym's environment, None where it is not installed."""
    try:
        importlib.import_module(PEER_PACKAGE)
    except ImportError:
        print(_how_to_install())
        return None
    with suppress_native_output(STDOUT):
        env = gymnasium.make(PEER)
    simulation: Any = getattr(env.unwrapped, "sim")  # noqa: B009 (its type has no such field)
    return TimedEnv(env, float(simulation.dt))


def _how_to_install() -> str:
    return f"no panda-gym to compare with; pip install panda-gym=={PEER_VERSION}"


def _changes(config: EnvironmentBenchmarkConfig, period: float) -> dict[str, Any]:
    """Return the settings of our environment, checked before anything is built."""
    steering = ActionSpaceConfig(action_period=period)
    GraspEnvConfig(arm=config.arm, noise=config.noise, action_space=steering)
    make_action_space("joint", load_robot(config.arm), steering)
    return {"noise": config.noise, "action_space": steering}


def _row(steps: float, period: float) -> Row:
    return {
        STEPS: round(steps, 1),
        PERIOD: round(1e3 * period, 3),
        SIMULATED: round(steps * period, 2),
    }


def _processes(count: int) -> str:
    return f"{count} process" + "es" * (count > 1)
