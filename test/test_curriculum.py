"""Curriculum of the block area and the noise."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from invdyn_ros.grasp.envs.vector_env import make_vec_env
from invdyn_ros.grasp.learning.curriculum import Curriculum, CurriculumConfig


def test_the_curriculum_level_rises_with_the_success_rate():
    config = CurriculumConfig(
        initial_area=0.2, initial_noise=0.0, promotion_threshold=0.5, window=4, increment=0.5
    )
    curriculum = Curriculum(config)
    assert curriculum.fractions == pytest.approx((0.2, 0.0))
    assert not any(curriculum.update(False) for _ in range(10))
    assert [curriculum.update(True) for _ in range(4)] == [False, True, False, False]
    assert curriculum.fractions == pytest.approx((0.6, 0.5))
    assert any(curriculum.update(True) for _ in range(4)) and curriculum.level == 1
    assert curriculum.fractions == pytest.approx((1.0, 1.0))
    assert Curriculum(CurriculumConfig()).level == 1


def test_difficulty_scales_the_area_of_the_blocks_and_the_noise():
    env = make_vec_env("invdyn_ros/GraspUR5-v0", 1, seed=0)
    with closing(env):
        simulation = env.get_attr("unwrapped")[0].simulation
        scene, extents = simulation.nominal_scene, {}
        for area, noise in ((0.1, 0.0), (0.5, 0.5), (1.0, 1.0)):
            env.env_method("set_difficulty", area, noise)
            positions = []
            for _ in range(25):
                env.reset()
                positions.append(simulation.physics.block_pose()[0][:2])
            extents[area] = np.ptp(positions, axis=0)
            assert simulation.noise.camera_position == pytest.approx(noise * 0.002)
        width = np.ptp([scene.area_x, scene.area_y], axis=1)
        for area, extent in extents.items():
            assert (extent <= area * width + 1e-3).all() and (extent > 0.6 * area * width).all()
