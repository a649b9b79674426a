"""Observations with other blocks and goals, which the expert labels, too."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.relabeling import random_situation
from invdyn_ros.grasp.policies.success import PrivilegedState
from invdyn_ros.robots.registry import load_scene

SIZE, OPENING = 0.04, 0.085


def test_relabeled_observations_differ_in_block_goal_and_opening_only() -> None:
    with closing(GraspEnv(arm="ur5", control_mode="cartesian")) as env:
        observation, _ = env.reset(seed=1)
        for _ in range(5):
            observation, *_ = env.step(env.expert_action("detections"))
        builder, n = env.observation_builder, env.robot.n
        state = builder.estimated_state()
        assert state is not None
        same = builder.replace_block(observation, state, builder.goal)
        np.testing.assert_allclose(same, observation, atol=1e-6)
        others, actions = env.relabel(200)
        opening = 3 * n + env.robot_action_space.size
        kept = [*range(opening), *range(opening + 1, opening + 7), -2, -1]
        np.testing.assert_array_equal(others[:, kept], np.tile(observation[kept], (200, 1)))
        varied = [opening, *range(opening + 7, opening + 9), *range(opening + 10, opening + 18)]
        assert (others[:, varied].std(0) > 1e-3).all()
        assert actions.shape == (200, 5) and (actions[:, :4].std(0) > 1e-2).all()


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_labels_are_the_actions_in_the_state_of_the_observation(arm: str) -> None:
    """As if the block had been detected there, and the goal were the other one."""
    with closing(GraspEnv(arm=arm, control_mode="cartesian", noise="none")) as env:
        env.reset(seed=3)
        for _ in range(6):
            env.step(env.expert_action("detections"))
        builder, tool = env.observation_builder, env.observation_builder.tool_pose[:3, 3]
        others, actions = env.relabel(50)
        opening = 3 * env.robot.n + env.robot_action_space.size
        for other, action in zip(others.astype(float), actions, strict=True):
            block, goal = (
                tool + 0.1 * other[-10:-7],
                tool + 0.1 * other[opening + 7 : opening + 10],
            )
            yaw = np.arctan2(other[-3], other[-4]) / 4
            width = other[opening] * builder.max_opening
            state = PrivilegedState(builder.tool_pose, block, yaw, False, width)
            again = env._expert.action(state, goal)
            np.testing.assert_allclose(again, action, atol=1e-3)


def test_a_grasped_block_stays_in_the_gripper_and_only_its_goal_moves() -> None:
    rng, goal = np.random.default_rng(0), np.array(load_scene("ur5").goal)
    pose = np.eye(4)
    pose[:3, 3] = 0.4, 0.1, 0.08
    held = PrivilegedState(pose, pose[:3, 3], 0.0, True, SIZE)
    others = [random_situation(held, goal, SIZE, OPENING, rng) for _ in range(50)]
    for state, _ in others:
        assert state.grasped and state.opening == SIZE
        np.testing.assert_array_equal(state.block_position, pose[:3, 3])
    goals = np.array([other for _, other in others])
    assert (goals.std(0)[:2] > 0.01).all() and np.ptp(goals[:, 2]) == 0


def test_observations_with_pixels_are_not_relabeled() -> None:
    with closing(GraspEnv(arm="ur5", obs_mode="pixels")) as env:
        env.reset(seed=0)
        with pytest.raises(ValueError, match="cannot be relabeled"):
            env.relabel(1)
