"""Demonstrations: recorded from the script, and mixed into each batch."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from toy_task import ACTIONS, SIZE, Toy, demonstrate

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.learning.replay_buffer import (
    DemonstrationReplayBuffer,
    record_demonstrations,
)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_demonstrations_have_their_share_of_each_batch(share):
    shown = demonstrate(5)._replace(rewards=np.full(1000, 9.0, np.float32))
    shown = shown._replace(rewards=shown.rewards[: len(shown.dones)])
    space = (Toy.observation_space, Toy.action_space)
    buffer = DemonstrationReplayBuffer(
        100, *space, "cpu", demonstrations=shown, demo_fraction=share
    )
    for _ in range(20):
        zero = np.zeros((1, SIZE), np.float32)
        buffer.add(zero, zero, np.zeros((1, 2)), np.zeros(1), np.zeros(1), [{}])
    batch = buffer.sample(80)
    assert (batch.rewards == 9).float().mean() == share
    assert batch.observations.shape == (80, SIZE) and batch.actions.shape == (80, ACTIONS)


def test_recorded_demonstrations_are_successes_seen_from_the_environment():
    with closing(GraspEnv(arm="ur5", noise="none")) as environment:
        shown = record_demonstrations(environment, 1, seed=0)
        assert shown.observations.shape[1:] == environment.observation_space.shape
        assert shown.actions.shape[1:] == environment.action_space.shape
    assert shown.dones.sum() == 1 and shown.dones[-1] == 1
    assert np.array_equal(shown.observations[1:], shown.next_observations[:-1])
    assert shown.rewards.sum() > 10  # all stages, and the placing
    assert np.abs(shown.actions).max() <= 1
