"""From plans to actions after a shift of the dynamics: nothing enters, tables and pictures leave.

A planner of states learns from a light pendulum. When the pendulum gets heavier the plans stay
and the inverse model is exchanged; a planner that predicts actions has nothing to exchange.
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
    benchmark_report,
    machine_info,
    quantiles,
    ratios,
    settings_of,
)
from invdyn_ros.evaluation.plots.plans import PlanningEpisode, plot_plans, plot_smoothness
from invdyn_ros.models.planner.receding_horizon import PlannedActions, ProposeFn
from invdyn_ros.sources.pendulum import PendulumConfig

RESAMPLES = 1000
TIMED_STEPS = 200  # to time
WARMUP_STEPS = 10  # ticks before that


def measure_planning(config: PlanningBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and draw the pictures where a report is wanted."""
    torch.set_num_threads(1)
    about, light = machine_info(1), config.pendulum
    heavy = replace(light, mass=config.shifted_mass)
    tries: dict[str, list[list[Episode]]] = {}
    seeds = range(config.seed, config.seed + config.num_seeds)
    for seed in tqdm(seeds, unit="seed", desc="planning", file=sys.stderr):
        made = train_models(config, seed)
        for name, (pendulum, propose) in agents(config, made, light, heavy).items():
            tries.setdefault(name, []).append(_rollout_all(config, pendulum, propose, name, seed))
    rows = {name: _row(played, tries) for name, played in tries.items()}
    tick = PlannedActions(made.planner, made.heavy, config.receding_horizon)
    timed = {
        f"a tick, {threads} threads": _time_steps(config, heavy, tick, threads)
        for threads in config.threads
    }
    if config.report is not None:
        _draw_figures(config.report, tries)
    plain, swapped = f"{PLANNED}", f"shifted, {PLANNED}, exchanged"
    return benchmark_report(
        "planning",
        unit="return in % of random to unshifted; rad; N m; ms",
        machine=about,
        settings=settings_of(config),
        rows=rows | timed,
        ratio={
            "exchanged to unshifted": ratios(rows[swapped], rows[plain], ("return",)),
            f"{PLANNED} to {DIRECT}": ratios(rows[plain], rows[DIRECT], ("bend",)),
            f"{PLANNED} to {SMOOTHEST}": ratios(rows[plain], rows[SMOOTHEST], ("bend",)),
        },
    )


def _rollout_all(
    config: PlanningBenchmarkConfig,
    pendulum: PendulumConfig,
    propose: ProposeFn | None,
    name: str,
    seed: int,
) -> list[Episode]:
    """Play the episodes of a seed, the same ones for everybody."""
    played = []
    for number, (start, goal) in enumerate(start_goal_pairs(seed, config.episodes)):
        if propose is None:
            act = random_agent(pendulum.max_torque, number)
        else:
            weight = config.smoothness_weight if "direct" not in name else None
            act = receding_horizon_agent(propose, config.receding_horizon, weight, number)
        played.append(rollout(pendulum, act, start, goal))
    return played


def _row(played: Sequence[Sequence[Episode]], tries: Mapping[str, list[list[Episode]]]) -> Row:
    """Return the figures of one actor; the interval is over seeds and their episodes."""
    scores = np.array([[one.score for one in part] for part in played])
    zero, full = (_mean_score(tries[name]) for name in (RANDOM, PLANNED))
    random = np.random.default_rng(0)
    seeds, count = scores.shape
    who = random.integers(seeds, size=(RESAMPLES, seeds, 1))
    which = random.integers(count, size=(RESAMPLES, seeds, count))
    means = scores[who, which].mean((1, 2))
    low, high = np.percentile(means, [2.5, 97.5])
    share = [100 * (x - zero) / (full - zero) for x in (scores.mean(), low, high)]
    flat = [one for part in played for one in part]
    row = dict(zip(("return", "low", "high"), share, strict=True))
    row |= {
        "score": scores.mean(),
        "miss": np.mean([one.final_distance for one in flat]),
        "bend": np.sqrt(np.mean([one.action_smoothness for one in flat])),
    }
    return {name: round(float(value), 4) for name, value in row.items()}


def _mean_score(played: Sequence[Sequence[Episode]]) -> float:
    return float(np.mean([one.score for part in played for one in part]))


def _time_steps(
    config: PlanningBenchmarkConfig, pendulum: PendulumConfig, propose: ProposeFn, threads: int
) -> Row:
    """Return how long one tick takes in which a plan is made [ms]."""
    torch.set_num_threads(threads)
    every_tick = replace(config.receding_horizon, n_action_steps=1)
    taken: list[float] = []
    for number, (start, goal) in enumerate(start_goal_pairs(0, 1 + TIMED_STEPS // 100)):
        act = receding_horizon_agent(propose, every_tick, config.smoothness_weight, number)
        taken += (1e3 * rollout(pendulum, act, start, goal).seconds).tolist()
    torch.set_num_threads(1)
    return quantiles(taken[WARMUP_STEPS:], (50, 99))


def _draw_figures(report: Path, tries: Mapping[str, list[list[Episode]]]) -> None:
    """Draw plans against what was done, and the smoothness of everybody, beside the report."""
    report.parent.mkdir(parents=True, exist_ok=True)
    names = [name for name in tries if RANDOM not in name]
    shown = {
        name: PlanningEpisode(one.state, one.goal, one.action, one.plan)
        for name in names
        if DIRECT not in name and (name == PLANNED or "shifted" in name)
        for one in [max(tries[name][0], key=lambda one: abs(one.goal[0] - one.state[0, 0]))]
    }
    plot_plans(shown, report.with_name(f"{report.stem}_states.png"))
    bends = {
        name: [
            float(np.sqrt(np.mean([one.action_smoothness for one in part])))
            for part in tries[name]
        ]
        for name in names
        if "shifted" not in name
    }
    first = {name: tries[name][0][0].action for name in bends}
    plot_smoothness(bends, first, report.with_name(f"{report.stem}_smoothness.png"))
