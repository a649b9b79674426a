"""Benchmark of grasp policies: success rates beside the scripted policy's.

All policies run on the same episodes, so each is compared with the scripted one pair by pair.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt
from tqdm import tqdm

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions, Measurement
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.evaluation.plots.success_map import plot_success_map
from invdyn_ros.graph.shipped_weights import find_policy
from invdyn_ros.grasp.envs.agents import SCRIPTED, PolicySpec, load_policy_spec
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.grasp.envs.episode_jobs import run_jobs
from invdyn_ros.grasp.envs.rollouts import EpisodeResult, RolloutJob, rollout
from invdyn_ros.grasp.estimation.block_pose_network import load_block_pose_net
from invdyn_ros.grasp.policies.failure_causes import FAILURE_CAUSES
from invdyn_ros.grasp.policies.success_rate import paired_difference, success_interval
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.workers import WorkerOptions

SHIPPED_POLICIES = ("learned", "planned")  # names of the policies that are shipped for an arm

Results = dict[tuple[str, str], list[EpisodeResult]]  # by policy and noise, in order of episodes


@dataclass(frozen=True)
class GraspSuccessBenchmarkConfig(BenchmarkOptions, WorkerOptions):
    """Success rates of grasp policies in simulation, beside the scripted policy's."""

    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    policies: tuple[str, ...] = ()
    """Folders of `invdyn train_grasp` or `train_planner`; learned, planned: the shipped ones;
    expert: the visual-servoing expert. The scripted policy always runs too."""
    block_pose_model: str = ""
    """Folder of `invdyn train_block_pose`, for a block without markers; empty: with markers."""
    noise: tuple[str, ...] = ("default", "hard")
    """Domain randomization levels: none, default, hard."""
    episodes: PositiveInt = 1000
    """Episodes of each policy at each level."""
    seed: NonNegativeInt = 7_000_000
    """Seed of the run, as `seed:=` of the live graph; those of training and validation differ."""

    def __post_init__(self) -> None:
        """Validate the settings."""
        super().__post_init__()
        GraspEnvConfig(self.arm)
        for level in self.noise:
            load_randomization(level)
        if self.block_pose_model:
            load_block_pose_net(self.block_pose_model, self.arm)
        if not self.noise:
            raise ValueError("noise is empty; give one or more of none, default, hard")

    @property
    def plot(self) -> Path | None:
        """File of the plot."""
        return None if self.report is None else self.report.with_suffix(".png")


def measure_grasp_success(config: GraspSuccessBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and write the plot if the config has a report file."""
    torch.set_num_threads(1)
    measured, policies = config.begin("grasp_success", "% of episodes"), load_policies(config)
    measured.settings = {
        "arm": config.arm,
        "policies": {spec.name: path for path, spec in policies.items()},
        "block_pose_model": config.block_pose_model,
        "episodes": config.episodes,
        "seed": config.seed,
    }
    results = _run(config, policies, measured)
    if config.plot is not None:
        title = config.arm + (", block without markers" if config.block_pose_model else "")
        plot_success_map(results, load_scene(config.arm), title, config.plot)
    return _report(measured, results)


def _report(measured: Measurement, results: Results) -> dict[str, Any]:
    names = {key: ", ".join(key) for key in results}
    pairs = {
        (policy, noise): (episodes, results[SCRIPTED, noise][: len(episodes)])
        for (policy, noise), episodes in results.items()
        if policy != SCRIPTED
    }
    measured.rows = {names[key]: _row(episodes) for key, episodes in results.items()}
    for key, pair in pairs.items():
        measured.rows[names[key]] |= _difference(*pair)
    return measured.report(
        pairs={names[key]: _pair_counts(*pair) for key, pair in pairs.items()},
        failed_episodes={names[key]: _failed(episodes) for key, episodes in results.items()},
    )


def load_policies(config: GraspSuccessBenchmarkConfig) -> dict[str, PolicySpec]:
    """Return the scripted and all requested policies by their argument, with distinct names.

    Raises:
        ValueError: no such policy, or one for another arm, observation or action space.
    """
    arguments = dict.fromkeys((SCRIPTED, *config.policies))
    specs = {argument: _load_policy(argument, config) for argument in arguments}
    count = Counter(spec.name for spec in specs.values())
    return {
        argument: spec if count[spec.name] == 1 else spec._replace(name=argument)
        for argument, spec in specs.items()
    }


def _load_policy(policy: str, config: GraspSuccessBenchmarkConfig) -> PolicySpec:
    shipped = policy in SHIPPED_POLICIES
    path = find_policy(policy, "", config.arm) if shipped else policy
    spec = load_policy_spec(path, config.arm)
    return spec._replace(
        name=policy if shipped else spec.name,
        env_kwargs=spec.env_kwargs | {"block_pose_model": config.block_pose_model},
    )


def _run(
    config: GraspSuccessBenchmarkConfig, policies: Mapping[str, PolicySpec], measured: Measurement
) -> Results:
    """Run all episodes of all policies at all levels, with a progress bar."""
    levels, episodes = tuple(dict.fromkeys(config.noise)), tuple(range(config.episodes))
    jobs = [
        RolloutJob(policy, noise, config.seed, episodes)
        for noise, policy in product(levels, policies.values())
    ]
    results: list[list[EpisodeResult]] = [[] for _ in jobs]

    def named() -> Results:
        return {
            (job.policy.name, job.noise): sorted(episodes)
            for job, episodes in zip(jobs, results, strict=True)
            if episodes
        }

    measured.so_far = lambda: _report(measured, named())
    with (
        config.executor() as executor,
        tqdm(
            total=len(jobs) * config.episodes, unit="episode", desc="grasping", file=sys.stderr
        ) as bar,
    ):
        for index, result in run_jobs(jobs, rollout, executor):
            results[index].append(result)
            bar.update()
    return named()


def success_row(successes: int, n: int) -> dict[str, Any]:
    """Return the success rate of n episodes and its 95% interval [%]."""
    low, high = success_interval(successes, n)
    rate = 100 * successes / n
    return {"n": n, "success": rate, "ci_low": 100 * low, "ci_high": 100 * high}


def _row(episodes: Sequence[EpisodeResult]) -> Row:
    """Return the statistics of one policy at one level."""
    n, count = len(episodes), Counter(e.failure_cause for e in episodes)
    row = success_row(sum(e.success for e in episodes), n)
    row["lifted"] = 100 * np.mean([e.lifted for e in episodes])
    row |= {cause: count[cause] * 100 / n for cause in FAILURE_CAUSES}
    times = [e.success_time for e in episodes if e.success_time is not None]
    row |= {"median_success_time_s": np.median(times)} if times else {}
    row["wall_time_s"] = np.mean([e.wall_time for e in episodes])
    return {key: round(float(value), 3) for key, value in row.items()}


def _difference(policy: Sequence[EpisodeResult], scripted: Sequence[EpisodeResult]) -> Row:
    """Return the difference of the success rates in percentage points with its 95% interval."""
    difference = paired_difference([e.success for e in policy], [e.success for e in scripted])
    keys = ("success_difference", "difference_ci_low", "difference_ci_high")
    return {key: round(100 * value, 3) for key, value in zip(keys, difference, strict=True)}


def _pair_counts(
    policy: Sequence[EpisodeResult], scripted: Sequence[EpisodeResult]
) -> dict[str, int]:
    """Count the episodes in which both, one or neither of the policies succeeded."""
    count = Counter((a.success, b.success) for a, b in zip(policy, scripted, strict=True))
    return {
        "both": count[True, True],
        "policy_only": count[True, False],
        "scripted_only": count[False, True],
        "neither": count[False, False],
    }


def _failed(episodes: Sequence[EpisodeResult]) -> dict[str, list[int]]:
    """Return the indices of the failed episodes by cause."""
    return {
        cause: [e.episode for e in episodes if e.failure_cause == cause]
        for cause in FAILURE_CAUSES
    }
