"""Visual-servoing expert and its actions in both action spaces."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.policies.success import PrivilegedState
from invdyn_ros.grasp.policies.visual_servo import VisualServoConfig, visual_servo

SIZE, GOAL, CONFIG = 0.04, np.array([0.4, -0.2, 0.02]), VisualServoConfig()


def tool_pose(x: float, y: float, z: float) -> np.ndarray:
    """Pose (4, 4) of a tool that points down."""
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    T[:3, 3] = x, y, z
    return T


def servo(tool, block, yaw_error=0.0, grasped=False, opening=0.08):
    return visual_servo(
        PrivilegedState(tool_pose(*tool), np.array(block), yaw_error, grasped, opening),
        GOAL,
        SIZE,
        CONFIG,
    )


def test_tool_moves_over_the_block_before_it_descends() -> None:
    beside = servo((0.5, 0.1, 0.02), (0.4, 0.1, 0.02))
    assert beside.linear[2] > 0 == beside.linear[0], "fingers that are low would push the block"
    higher = servo((0.5, 0.1, 0.08), (0.4, 0.1, 0.02))
    assert higher.linear[2] > 0 > higher.linear[0] and not higher.close_gripper
    above = servo((0.4, 0.1, 0.09), (0.4, 0.1, 0.02))
    assert above.linear[2] < 0 and np.allclose(above.linear[:2], 0)


def test_fingers_align_with_the_block_before_the_tool_descends() -> None:
    twist = servo((0.4, 0.1, 0.09), (0.4, 0.1, 0.02), yaw_error=0.6)
    assert twist.angular_z > 0 and twist.linear[2] >= 0


def test_tool_stops_and_grips_around_the_block() -> None:
    twist = servo((0.402, 0.1, 0.023), (0.4, 0.1, 0.02))
    assert twist.close_gripper and np.allclose(twist.linear, 0)


def test_grasped_block_is_lifted_before_it_moves_horizontally() -> None:
    low = servo((0.4, 0.1, 0.02), (0.4, 0.1, 0.02), grasped=True, opening=SIZE)
    assert low.close_gripper and low.linear[2] > 0 and np.allclose(low.linear[:2], 0)
    high = servo((0.4, 0.1, 0.095), (0.4, 0.1, 0.095), grasped=True, opening=SIZE)
    assert high.close_gripper and high.linear[1] < 0


def test_gripper_opens_at_the_goal_before_the_tool_rises() -> None:
    goal = tuple(GOAL)
    release = servo(goal, goal, grasped=True, opening=SIZE)
    assert not release.close_gripper and np.allclose(release.linear, 0)
    assert servo(goal, goal, opening=0.08).linear[2] > 0


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
@pytest.mark.parametrize("control_mode", ["joint", "cartesian"])
def test_expert_places_the_block(arm: str, control_mode: str) -> None:
    with closing(GraspEnv(arm=arm, control_mode=control_mode, noise="hard")) as env:
        env.reset(seed=7)
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(env.expert_action())
            over = terminated or truncated
        assert info["is_success"] and info["time"] < 12  # [s] of 16
