"""Demonstrations of the scripted policy, and the replay buffer that contains them."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from toy_task import ACTION_SIZE, OBSERVATION_SIZE, ReachEnv, demonstrations

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.learning.replay_buffer import (
    DemonstrationReplayBuffer,
    record_demonstrations,
)


@pytest.mark.parametrize("demo_fraction", [0.0, 0.25, 1.0])
def test_demonstrations_make_up_their_fraction_of_each_batch(demo_fraction):
    demos = demonstrations(5)
    # recognisable by a reward that the environment never gives
    demos = demos._replace(rewards=np.full(len(demos.dones), 9.0, np.float32))
    buffer = DemonstrationReplayBuffer(
        100,
        ReachEnv.observation_space,
        ReachEnv.action_space,
        "cpu",
        demonstrations=demos,
        demo_fraction=demo_fraction,
    )
    for _ in range(20):
        zero = np.zeros((1, OBSERVATION_SIZE), np.float32)
        buffer.add(zero, zero, np.zeros((1, ACTION_SIZE)), np.zeros(1), np.zeros(1), [{}])
    batch = buffer.sample(80)
    assert (batch.rewards == 9).float().mean() == demo_fraction
    assert batch.observations.shape == (80, OBSERVATION_SIZE)
    assert batch.actions.shape == (80, ACTION_SIZE)


def test_recorded_demonstrations_are_successful_episodes_of_the_environment():
    with closing(GraspEnv(arm="ur5", noise="none")) as environment:
        demos = record_demonstrations(environment, 1, seed=0)
        assert demos.observations.shape[1:] == environment.observation_space.shape
        assert demos.actions.shape[1:] == environment.action_space.shape
    assert demos.dones.sum() == 1 and demos.dones[-1] == 1
    assert np.array_equal(demos.observations[1:], demos.next_observations[:-1])
    assert demos.rewards.sum() > 10  # all stages, and the placing
    assert np.abs(demos.actions).max() <= 1
