"""How well policies grasp: their folders enter; successes beside the script's leave.

All of them play the same episodes, so each is compared with the script pair by pair.
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
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info
from invdyn_ros.config import Validated
from invdyn_ros.evaluation.plots.success_map import plot_success_map
from invdyn_ros.graph.shipped_weights import find_policy
from invdyn_ros.grasp.envs.agents import SCRIPTED, PolicySpec, load_policy_spec
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.grasp.envs.rollouts import EpisodeResult, RolloutJob, rollout_all
from invdyn_ros.grasp.estimation.block_pose_network import load_block_pose_net
from invdyn_ros.grasp.policies.failure_causes import FAILURE_CAUSES
from invdyn_ros.grasp.policies.success_rate import paired_difference, success_interval
from invdyn_ros.robots.registry import load_scene

BY_NAME = ("learned", "planned")  # stand for what is shipped for an arm

Played = dict[
    tuple[str, str], list[EpisodeResult]
]  # by player and noise, in order of their numbers


@dataclass(frozen=True)
class GraspSuccessBenchmarkConfig(Validated):
    """Successes of grasp policies in the environment, beside the script's in the same episodes."""

    arm: str = "ur5"
    """Name of the arm."""
    policies: tuple[str, ...] = ()
    """Folders of `invdyn train_grasp` or `train_planner`; learned, planned: the shipped ones;
    servo: the teacher of both. The script plays as well."""
    block_pose_model: str = ""
    """Folder of `invdyn train_block_pose`: everybody knows the block by what this network sees;
    empty: by its markers."""
    noise: tuple[str, ...] = ("default", "hard")
    """Levels of noise: none, default, hard."""
    episodes: PositiveInt = 1000
    """Episodes of each policy at each level."""
    processes: PositiveInt = 2
    """That share the episodes; how many changes no result."""
    seed: NonNegativeInt = 7_000_000
    """Of the episodes, as `seed:=` of the live graph; training and validation have others."""
    report: Path | None = None
    """JSON file to write, with the picture beside it."""

    def __post_init__(self) -> None:
        """Refuse an arm without a block and unknown levels."""
        super().__post_init__()
        GraspEnvConfig(self.arm)
        for level in self.noise:
            load_randomization(level)
        if self.block_pose_model:
            load_block_pose_net(self.block_pose_model, self.arm)
        if not self.noise:
            raise ValueError("noise is empty; give one or more of none, default, hard")

    @property
    def picture(self) -> Path | None:
        """Where the picture goes."""
        return None if self.report is None else self.report.with_suffix(".png")


def measure_grasp_success(config: GraspSuccessBenchmarkConfig) -> dict[str, Any]:
    """Return the report; draw the picture beside it where one is wanted."""
    torch.set_num_threads(1)
    about, players = machine_info(1), load_policies(config)
    played = _play(config, players)
    if config.picture is not None:
        whose = config.arm + (", block without markers" if config.block_pose_model else "")
        plot_success_map(played, load_scene(config.arm), whose, config.picture)
    names = {where: ", ".join(where) for where in played}
    pairs = {w: (played[w], played[SCRIPTED, w[1]]) for w in played if w[0] != SCRIPTED}
    rows = {names[w]: _row(episodes) for w, episodes in played.items()}
    for where, pair in pairs.items():
        rows[names[where]] |= _ahead(*pair)
    return benchmark_report(
        "grasp_success",
        unit="% of episodes",
        machine=about,
        settings={
            "arm": config.arm,
            "policies": {player.name: path for path, player in players.items()},
            "block_pose_model": config.block_pose_model,
            "episodes": config.episodes,
            "seed": config.seed,
            "processes": config.processes,
        },
        rows=rows,
        pairs={names[where]: _pairs(*pair) for where, pair in pairs.items()},
        failed={names[w]: _failed(episodes) for w, episodes in played.items()},
    )


def load_policies(config: GraspSuccessBenchmarkConfig) -> dict[str, PolicySpec]:
    """Return the script and every policy, by what was asked for, each with a name of its own.

    Raises:
        ValueError: no policy there, or one of another arm, observation or action.
    """
    asked = dict.fromkeys((SCRIPTED, *config.policies))
    seen = {"block_pose_model": config.block_pose_model}
    players = {path: _player(path, config.arm, seen) for path in asked}
    count = Counter(player.name for player in players.values())
    return {
        path: player if count[player.name] == 1 else player._replace(name=path)
        for path, player in players.items()
    }


def _player(policy: str, arm: str, seen: dict[str, str]) -> PolicySpec:
    shipped = policy in BY_NAME
    player = load_policy_spec(find_policy(policy, "", arm) if shipped else policy, arm)
    name = policy if shipped else player.name
    return player._replace(name=name, env_kwargs=player.env_kwargs | seen)


def _play(config: GraspSuccessBenchmarkConfig, players: Mapping[str, PolicySpec]) -> Played:
    """Play all episodes of all players at all levels, with a progress bar."""
    levels, numbers = tuple(dict.fromkeys(config.noise)), tuple(range(config.episodes))
    jobs = [RolloutJob(p, n, config.seed, numbers) for n, p in product(levels, players.values())]
    played: list[list[EpisodeResult]] = [[] for _ in jobs]
    total = len(jobs) * config.episodes
    with tqdm(total=total, unit="episode", desc="grasping", file=sys.stderr) as bar:
        for index, episode in rollout_all(jobs, config.processes):
            played[index].append(episode)
            bar.update()
    return {
        (job.policy.name, job.noise): sorted(episodes)
        for job, episodes in zip(jobs, played, strict=True)
    }


def _row(episodes: Sequence[EpisodeResult]) -> Row:
    """Return the figures of one player at one level."""
    successes, n = sum(e.success for e in episodes), len(episodes)
    low, high = success_interval(successes, n)
    figures: dict[str, Any] = {
        "n": n,
        "success": 100 * successes / n,
        "from": 100 * low,
        "to": 100 * high,
        "lifted": 100 * np.mean([e.lifted for e in episodes]),
        "placed": 100 * np.mean([e.placed for e in episodes]),
    }
    count = Counter(e.failure_cause for e in episodes)
    figures |= {cause: count[cause] * 100 / n for cause in FAILURE_CAUSES}
    times = [e.success_time for e in episodes if e.success_time is not None]
    figures |= {"median s": np.median(times)} if times else {}
    figures["wall s"] = np.mean([e.wall_time for e in episodes])
    return {key: round(float(value), 3) for key, value in figures.items()}


def _ahead(ours: Sequence[EpisodeResult], script: Sequence[EpisodeResult]) -> Row:
    """Return by how many points a player is ahead of the script, with the 95% interval."""
    ahead = paired_difference([e.success for e in ours], [e.success for e in script])
    names = ("ahead", "ahead from", "ahead to")
    return {name: round(100 * share, 3) for name, share in zip(names, ahead, strict=True)}


def _pairs(ours: Sequence[EpisodeResult], script: Sequence[EpisodeResult]) -> dict[str, int]:
    """Count in how many episodes both, one or none of the two succeeded."""
    count = Counter((a.success, b.success) for a, b in zip(ours, script, strict=True))
    return {
        "both": count[True, True],
        "only it": count[True, False],
        "only the script": count[False, True],
        "none": count[False, False],
    }


def _failed(episodes: Sequence[EpisodeResult]) -> dict[str, list[int]]:
    """Return the numbers of the episodes that failed, by cause."""
    return {
        cause: [e.episode for e in episodes if e.failure_cause == cause]
        for cause in FAILURE_CAUSES
    }
