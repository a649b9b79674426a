"""Recorded grasps that are adapted to other blocks and goals."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from invdyn_ros.cli import run_verb
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.adapted_grasp import SPACING, AdaptedGrasp, grasp_legs
from invdyn_ros.grasp.learning.demonstration_dataset import read_demonstration_episodes
from invdyn_ros.grasp.policies.observation import ObservedState


def collect(*arguments: str) -> int:
    return run_verb("collect", ["expert", "--workers", "1", "--push-fraction", "0", *arguments])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two grasps to the goal of the scene."""
    folder = tmp_path_factory.mktemp("recorded") / "data"
    same_goal = ["--episodes", "2", "--noise", "default", "--no-random-goal"]
    assert collect(*same_goal, "--out", str(folder)) == 0
    return folder


def first_legs(folder, change=lambda episode: episode):
    spec, episodes = read_demonstration_episodes(folder)
    return grasp_legs(change(episodes[0]), spec)


def rows(episode: Transitions, index) -> Transitions:
    return Transitions(*(column[index] for column in episode))


def test_paths_lead_to_the_block_up_to_the_goal_and_away(recorded):
    to_block, lift, to_goal, away = first_legs(recorded)
    assert [leg.anchor for leg in (to_block, lift, to_goal, away)] == [
        "block",
        "grip",
        "goal",
        "goal",
    ]
    assert np.abs(to_block.waypoints[-1, :3]).max() < 0.015  # the fingers are around the block
    assert lift.waypoints[-1, 2] > 0.04
    assert np.linalg.norm(to_goal.waypoints[-1, :2]) < 0.025  # above the goal
    np.testing.assert_array_equal(to_goal.waypoints[-1], away.waypoints[0])
    assert [leg.is_closed for leg in (to_block, lift, to_goal, away)] == [False, True, True, False]


def test_pauses_and_tremor_are_left_out(recorded):
    def paused(episode):
        """Wait for a second in every step, with a tremor of 2 mm."""
        longer = rows(episode, np.repeat(np.arange(len(episode.rewards)), 25))
        state = ObservedState.from_observations(longer.observations, 6, longer.actions.shape[1])
        tool = slice(3 * 6 + longer.actions.shape[1] + 1, None)
        tremor = 0.02 * np.random.default_rng(0).uniform(-1, 1, state.tool.shape)
        longer.observations[:, tool][:, :3] += tremor
        return longer

    for leg, same in zip(first_legs(recorded), first_legs(recorded, paused), strict=True):
        steps = np.linalg.norm(np.diff(leg.waypoints[:-1, :3], axis=0), axis=1)
        assert not steps.size or steps.min() >= SPACING
        assert abs(len(leg.waypoints) - len(same.waypoints)) <= 0.3 * len(leg.waypoints) + 2


def test_a_recorded_grasp_brings_other_blocks_to_other_goals(recorded):
    legs = first_legs(recorded)
    environment = GraspEnv(arm="ur5", control_mode="cartesian", noise="default", random_goal=True)
    with closing(environment) as env:
        goals = []
        for episode in range(4):
            env.reset(seed=77, options={"episode": episode})
            goals.append(env.observation_builder.goal)
            grasp, over = AdaptedGrasp(legs), False
            while not over:
                _, _, terminated, truncated, info = env.step(grasp.action(env))
                over = terminated or truncated
            assert info["is_success"]
    assert np.linalg.norm(np.diff(goals, axis=0), axis=1).min() > 0.025


def test_the_command_adapts_recordings_and_refuses_others(recorded, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--recordings", str(recorded), "--episodes", "2", "--noise", "default"]
    assert collect(*arguments, "--out", str(out)) == 0
    output = capsys.readouterr().out
    assert "2 recordings in, 2 out" in output and "2 episodes in, 2 out" in output
    assert collect(*arguments, "--arm", "ur5e", "--out", str(tmp_path / "ur5e")) == 2
    assert "holds grasps of 'ur5', not of 'ur5e'" in capsys.readouterr().err
    assert not (tmp_path / "ur5e").exists()


def test_a_recording_without_a_grasp_is_left_out(recorded):
    def without_grip(episode):
        episode.actions[:, -1] = 1
        return episode

    assert first_legs(recorded, without_grip) == []
