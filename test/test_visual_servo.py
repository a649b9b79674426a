"""The teacher that sees the true state, and what both steerings make of it."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.policies.success import PrivilegedState
from invdyn_ros.grasp.policies.visual_servo import VisualServoConfig, visual_servo

SIZE, GOAL, CONFIG = 0.04, np.array([0.4, -0.2, 0.02]), VisualServoConfig()


def down(x: float, y: float, z: float) -> np.ndarray:
    """A tool (4, 4) that points down."""
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    T[:3, 3] = x, y, z
    return T


def at(tool, block, yaw_error=0.0, grasped=False, opening=0.08):
    return visual_servo(
        PrivilegedState(down(*tool), np.array(block), yaw_error, grasped, opening),
        GOAL,
        SIZE,
        CONFIG,
    )


def test_the_tool_goes_over_a_block_before_it_goes_down() -> None:
    aside = at((0.5, 0.1, 0.02), (0.4, 0.1, 0.02))
    assert aside.linear[2] > 0 > aside.linear[0] and not aside.close_gripper
    above = at((0.4, 0.1, 0.09), (0.4, 0.1, 0.02))
    assert above.linear[2] < 0 and np.allclose(above.linear[:2], 0)


def test_fingers_turn_along_the_block_before_the_tool_goes_down() -> None:
    motion = at((0.4, 0.1, 0.09), (0.4, 0.1, 0.02), yaw_error=0.6)
    assert motion.angular_z > 0 and motion.linear[2] >= 0


def test_around_the_block_it_stops_and_grips() -> None:
    motion = at((0.402, 0.1, 0.023), (0.4, 0.1, 0.02))
    assert motion.close_gripper and np.allclose(motion.linear, 0)


def test_a_held_block_goes_up_before_it_goes_across() -> None:
    low = at((0.4, 0.1, 0.02), (0.4, 0.1, 0.02), grasped=True, opening=SIZE)
    assert low.close_gripper and low.linear[2] > 0 and np.allclose(low.linear[:2], 0)
    high = at((0.4, 0.1, 0.095), (0.4, 0.1, 0.095), grasped=True, opening=SIZE)
    assert high.close_gripper and high.linear[1] < 0


def test_at_the_goal_it_lets_go_and_rises() -> None:
    there = tuple(GOAL)
    letting = at(there, there, grasped=True, opening=SIZE)
    assert not letting.close_gripper and np.allclose(letting.linear, 0)
    assert at(there, there, opening=0.08).linear[2] > 0


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
@pytest.mark.parametrize("control", ["joint", "cartesian"])
def test_whoever_follows_the_teacher_places_the_block(arm: str, control: str) -> None:
    with closing(GraspEnv(arm=arm, control_mode=control, noise="hard")) as env:
        env.reset(seed=7)
        over = False
        while not over:
            _, _, placed, late, info = env.step(env.expert_action())
            over = placed or late
        assert info["placed"] and info["time"] < 8
