"""Benchmark of planning with an inverse model under a change of the dynamics.

A planner of states is trained on a light pendulum. For a heavier pendulum only the
inverse model is exchanged; a planner that predicts actions has no such part.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from invdyn_ros.benchmarks.pendulum_agents import (
    DIRECT,
    PLANNED,
    RANDOM,
    SMOOTHEST,
    PlanningBenchmarkConfig,
    agents,
    random_agent,
    receding_horizon_agent,
    train_models,
)
from invdyn_ros.benchmarks.pendulum_task import Episode, rollout, start_goal_pairs
from invdyn_ros.benchmarks.report import (
    Row,
    quantiles,
    ratios,
)
from invdyn_ros.evaluation.plots.plans import PlanningEpisode, plot_plans, plot_smoothness
from invdyn_ros.models.planner.receding_horizon import PlannedActions, ProposeFn
from invdyn_ros.sources.pendulum import PendulumConfig

RESAMPLES = 1000  # of the bootstrap
TIMED_STEPS = 200  # control steps that are timed
WARMUP_STEPS = 10  # control steps before them


def measure_planning(config: PlanningBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and plot it if a report file is given."""
    torch.set_num_threads(1)
    measured = config.begin("planning", "return in % of random to unshifted; rad; N m; ms")
    light = config.pendulum
    heavy = replace(light, mass=config.shifted_mass)
    episodes: dict[str, list[list[Episode]]] = {}
    seeds = range(config.seed, config.seed + config.num_seeds)
    for seed in tqdm(seeds, unit="seed", desc="planning", file=sys.stderr):
        models = train_models(config, seed)
        for name, (pendulum, propose) in agents(config, models, light, heavy).items():
            episodes.setdefault(name, []).append(
                _rollout_all(config, pendulum, propose, name, seed)
            )
        rows = {name: _row(by_seed, episodes) for name, by_seed in episodes.items()}
        measured.rows |= rows
    propose = PlannedActions(models.planner, models.heavy, config.receding_horizon)
    timed = {
        f"one step, {threads} threads": _time_steps(config, heavy, propose, threads)
        for threads in config.threads
    }
    if config.report is not None:
        _draw_figures(config.report, episodes)
    unshifted, exchanged = f"{PLANNED}", f"shifted, {PLANNED}, exchanged"
    smoothness = ("action_smoothness",)
    measured.rows |= timed
    return measured.report(
        ratio={
            "exchanged to unshifted": ratios(rows[exchanged], rows[unshifted], ("return",)),
            f"{PLANNED} to {DIRECT}": ratios(rows[unshifted], rows[DIRECT], smoothness),
            f"{PLANNED} to {SMOOTHEST}": ratios(rows[unshifted], rows[SMOOTHEST], smoothness),
        },
    )


def _rollout_all(
    config: PlanningBenchmarkConfig,
    pendulum: PendulumConfig,
    propose: ProposeFn | None,
    name: str,
    seed: int,
) -> list[Episode]:
    """Return the episodes of a seed, with the same starts and goals for every agent."""
    episodes = []
    for number, (start, goal) in enumerate(start_goal_pairs(seed, config.episodes)):
        if propose is None:
            agent = random_agent(pendulum.max_torque, number)
        else:
            weight = config.smoothness_weight if "direct" not in name else None
            agent = receding_horizon_agent(propose, config.receding_horizon, weight, number)
        episodes.append(rollout(pendulum, agent, start, goal))
    return episodes


def _row(
    by_seed: Sequence[Sequence[Episode]], all_episodes: Mapping[str, list[list[Episode]]]
) -> Row:
    """Return the results of one agent; the interval is over seeds and their episodes."""
    scores = np.array([[episode.score for episode in episodes] for episodes in by_seed])
    zero, full = (_mean_score(all_episodes[name]) for name in (RANDOM, PLANNED))
    random = np.random.default_rng(0)
    seeds, count = scores.shape
    seed_index = random.integers(seeds, size=(RESAMPLES, seeds, 1))
    episode_index = random.integers(count, size=(RESAMPLES, seeds, count))
    means = scores[seed_index, episode_index].mean((1, 2))
    low, high = np.percentile(means, [2.5, 97.5])
    percent = [100 * (x - zero) / (full - zero) for x in (scores.mean(), low, high)]
    flat = [episode for episodes in by_seed for episode in episodes]
    row = dict(zip(("return", "low", "high"), percent, strict=True))
    row |= {
        "score": scores.mean(),
        "final_distance": np.mean([episode.final_distance for episode in flat]),
        "action_smoothness": np.sqrt(np.mean([episode.action_smoothness for episode in flat])),
    }
    return {name: round(float(value), 4) for name, value in row.items()}


def _mean_score(by_seed: Sequence[Sequence[Episode]]) -> float:
    return float(np.mean([episode.score for episodes in by_seed for episode in episodes]))


def _time_steps(
    config: PlanningBenchmarkConfig, pendulum: PendulumConfig, propose: ProposeFn, threads: int
) -> Row:
    """Return the duration of control steps that each include planning [ms]."""
    torch.set_num_threads(threads)
    plan_every_step = replace(config.receding_horizon, n_action_steps=1)
    durations: list[float] = []
    for number, (start, goal) in enumerate(start_goal_pairs(0, 1 + TIMED_STEPS // 100)):
        agent = receding_horizon_agent(propose, plan_every_step, config.smoothness_weight, number)
        durations += (1e3 * rollout(pendulum, agent, start, goal).seconds).tolist()
    torch.set_num_threads(1)
    return quantiles(durations[WARMUP_STEPS:], (50, 99))


def _draw_figures(report: Path, all_episodes: Mapping[str, list[list[Episode]]]) -> None:
    """Plot planned against executed states, and the smoothness of all agents."""
    report.parent.mkdir(parents=True, exist_ok=True)
    names = [name for name in all_episodes if RANDOM not in name]
    plotted = {
        name: PlanningEpisode(episode.state, episode.goal, episode.action, episode.plan)
        for name in names
        if DIRECT not in name and (name == PLANNED or "shifted" in name)
        for episode in [
            max(
                all_episodes[name][0],
                key=lambda episode: abs(episode.goal[0] - episode.state[0, 0]),
            )
        ]
    }
    plot_plans(plotted, report.with_name(f"{report.stem}_states.png"))
    smoothness = {
        name: [
            float(np.sqrt(np.mean([episode.action_smoothness for episode in episodes])))
            for episodes in all_episodes[name]
        ]
        for name in names
        if "shifted" not in name
    }
    first = {name: all_episodes[name][0][0].action for name in smoothness}
    plot_smoothness(smoothness, first, report.with_name(f"{report.stem}_smoothness.png"))
