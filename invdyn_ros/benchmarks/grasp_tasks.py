"""Benchmark of tasks with several blocks, and of grasps that somebody disturbs.

It runs the policies and the arm controller of the live graph in lockstep; images are not rendered.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from pydantic import NonNegativeInt
from tqdm import tqdm

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.grasp_success import success_row
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.graph.block_checks import find_blocks
from invdyn_ros.graph.shipped_weights import SHIPPED_POLICIES, find_policy
from invdyn_ros.grasp.envs.episode_jobs import run_jobs
from invdyn_ros.grasp.envs.task_rollouts import (
    SCRIPTED,
    TaskJob,
    TaskResult,
    make_policy,
    run_tasks,
)
from invdyn_ros.grasp.policies.tasks import GRASP
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.workers import WorkerOptions

TASK_BLOCKS = {"sort_3": ("sort", 3), "stack_2": ("stack", 2), "stack_3": ("stack", 3)}
Disturbances = Literal["taken", "moved", "dropped", "doubled", "hidden"]


@dataclass(frozen=True)
class GraspTasksBenchmarkConfig(BenchmarkOptions, WorkerOptions):
    """Success rates of tasks with several blocks, and of grasps with disturbances."""

    arm: str = "ur5"
    """Name of the arm."""
    blocks: str = ""
    """Blocks file of the tasks; empty: the shipped one of the arm."""
    tasks: tuple[Literal["sort_3", "stack_2", "stack_3"], ...] = ("sort_3", "stack_2", "stack_3")
    """Tasks, each with the first two or three blocks of the file; give none for disturbances
    only."""
    episodes: NonNegativeInt = 200
    """Episodes of each task."""
    disturbances: tuple[Disturbances, ...] = ("taken", "moved", "dropped", "doubled", "hidden")
    """What happens to the block of task grasp."""
    disturbed_episodes: NonNegativeInt = 50
    """Episodes of each policy with each disturbance; 0: none."""
    policies: tuple[str, ...] = (SCRIPTED,)
    """Policies that are disturbed: scripted, learned or planned (the shipped ones), or folders of
    `invdyn train_grasp` or `train_planner`."""
    noise: str = "default"
    """Domain randomization level: none, default or hard."""
    seed: NonNegativeInt = 9_000_000
    """Seed of the run."""

    def __post_init__(self) -> None:
        """Validate the settings."""
        super().__post_init__()
        load_randomization(self.noise)
        if not self.jobs():
            raise ValueError("nothing to measure; give --episodes or --disturbed-episodes")

    def jobs(self) -> dict[str, TaskJob]:
        """Return the episodes to run, by the name of their row."""
        jobs: dict[str, TaskJob] = {}
        if self.episodes:
            for name in dict.fromkeys(self.tasks):
                task, count = TASK_BLOCKS[name]
                blocks = find_blocks(task, self.blocks, self.arm)
                jobs[name] = self._job(task, blocks, count, SCRIPTED, self.episodes)
        if self.disturbed_episodes:
            for policy, kind in product(self.policies, self.disturbances):
                path = find_policy(policy, "", self.arm) if policy in SHIPPED_POLICIES else policy
                episodes = self.disturbed_episodes
                jobs[f"{policy}, {kind}"] = self._job(GRASP, "", 0, path, episodes, kind)
        return jobs

    def _job(
        self, task: str, blocks: str, count: int, policy: str, episodes: int, kind: str = ""
    ) -> TaskJob:
        numbers = tuple(range(episodes))
        return TaskJob(self.arm, task, blocks, count, policy, self.noise, self.seed, numbers, kind)


def measure_grasp_tasks(config: GraspTasksBenchmarkConfig) -> dict[str, Any]:
    """Run all episodes and return the report."""
    torch.set_num_threads(1)
    jobs = config.jobs()
    for job in jobs.values():  # raises before the first episode
        make_policy(load_robot(job.arm), job.scene(), job.task, job.policy)
    measurement = config.begin("grasp_tasks", "% of episodes")
    results: dict[str, list[TaskResult]] = {name: [] for name in jobs}
    measurement.so_far = lambda: measurement.report(reasons=_reasons(results))
    names, total = list(jobs), sum(len(job.episodes) for job in jobs.values())
    with (
        config.executor() as executor,
        tqdm(total=total, unit="episode", desc="tasks", file=sys.stderr) as bar,
    ):
        for index, result in run_jobs(list(jobs.values()), run_tasks, executor):
            results[names[index]].append(result)
            measurement.rows[names[index]] = _row(results[names[index]])
            bar.update()
    return measurement.so_far()


def _row(episodes: Sequence[TaskResult]) -> Row:
    """Return the statistics of one task or disturbance."""
    row = success_row(sum(e.success for e in episodes), len(episodes))
    row["disturbed"] = 100 * np.mean([e.was_disturbed for e in episodes])
    times = [e.seconds for e in episodes if e.success]
    row |= {"median_success_time_s": np.median(times)} if times else {}
    row["wall_time_s"] = np.mean([e.wall_time for e in episodes])
    return {key: round(float(value), 3) for key, value in row.items()}


def _reasons(results: dict[str, list[TaskResult]]) -> dict[str, dict[str, int]]:
    """Return how often which reason was reported at the end of a failed episode, by row."""
    return {
        name: dict(Counter(e.reason for e in episodes if not e.success))
        for name, episodes in results.items()
    }
