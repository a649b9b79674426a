"""Where to grip after a miss: on errors of the camera that nobody knows."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from invdyn_ros.arms.domain_randomization import DomainRandomization
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.estimation.grasp_offset_search import INITIAL_STD, GraspOffsetFilter

BETWEEN, ALONG, STEP = 0.02, 0.02, 0.02
AXES = [np.array([np.cos(a), np.sin(a)]) for a in (0.0, 0.6, 2.0)]


def tries_until_found(error: np.ndarray, axis: np.ndarray, most: int = 12) -> int:
    """Number of grips until the block is between the fingers; `most` if it never is."""
    search = GraspOffsetFilter(BETWEEN, ALONG, STEP)
    across = np.array([-axis[1], axis[0]])
    for k in range(1, most):
        away = error - search.offset
        if abs(away @ axis) <= BETWEEN and abs(away @ across) <= ALONG:
            return k
        search.update_missed(search.offset.copy(), axis)
    return most


@pytest.mark.parametrize("axis", AXES)
def test_a_block_that_the_camera_misplaces_is_found_in_a_few_grips(axis: np.ndarray) -> None:
    errors = np.random.default_rng(0).normal(0, INITIAL_STD, (60, 2))
    tries = np.array([tries_until_found(error, axis) for error in errors])
    again = np.abs(errors @ np.stack([axis, [-axis[1], axis[0]]]).T).max(axis=1) > BETWEEN
    assert again.mean() > 0.1  # where gripping again in the same place never helps
    assert tries.max() <= 6 and tries.mean() < 1.6


def test_the_first_grip_is_where_the_camera_shows_the_block() -> None:
    assert np.array_equal(GraspOffsetFilter(BETWEEN, ALONG, STEP).offset, [0, 0])


def test_no_grip_is_next_to_the_one_before() -> None:
    search = GraspOffsetFilter(BETWEEN, ALONG, STEP)
    for _ in range(8):
        before = search.offset.copy()
        search.update_missed(before, AXES[1])
        assert np.linalg.norm(search.offset - before) >= STEP
        assert search.weight.sum() == pytest.approx(1) and (search.weight >= 0).all()


def test_a_grip_that_holds_leaves_the_weight_around_it() -> None:
    search = GraspOffsetFilter(BETWEEN, ALONG, STEP)
    search.update_grasped(np.array([0.02, 0.0]), AXES[0])
    mean = (search.weight[..., None] * search.grid).sum(axis=(0, 1))
    assert 0.003 < mean[0] < 0.02 and abs(mean[1]) < 1e-3
    search.reset()
    assert search.weight.argmax() == search.weight.size // 2


def test_whoever_believes_the_observer_finds_a_block_that_the_camera_misplaces() -> None:
    """In episodes whose camera errs by more than the play between open fingers and block."""
    with closing(
        GraspEnv(
            arm="ur5", control_mode="cartesian", noise=DomainRandomization(camera_position=0.02)
        )
    ) as env:
        for episode in (3, 5, 7, 9):
            env.reset(seed=3, options={"episode": episode})
            over = False
            while not over:
                _, _, placed, late, info = env.step(env.expert_action("detections"))
                over = placed or late
            assert info["is_success"] and np.any(env.observation_builder.offset_filter.offset)
