"""Other blocks, goals and gripper openings for the state of an arm.

The expert's action is defined in every state, so one state of the arm teaches a learner about
many blocks and goals without a simulation, as hindsight relabeling does with goals
(Andrychowicz et al. 2017, arXiv:1707.01495).
"""

from __future__ import annotations

import numpy as np

from invdyn_ros.grasp.policies.success import PrivilegedState
from invdyn_ros.typing import Array

OFFSETS = 0.002, 0.006, 0.02, 0.06  # [m] standard deviations, from the last millimetres on
HEIGHT_RATIO = 0.2  # standard deviation of height over that along the table
UNDER_TOOL = 0.3  # probability that the block is near the axis of the tool
ANY_YAW, SMALL_YAW = 0.25, 0.5  # probability of any yaw, and of a small one
SMALL_YAW_STD = 0.1  # [rad]
GOAL_KEPT, GOAL_ELSEWHERE = 0.3, 0.3  # probability; otherwise the goal is near the block
GOAL_STD = 0.1  # [m] of a goal elsewhere
OTHER_OPENING = 0.3  # probability
MIN_OPENING = 0.3  # least other opening over the block size


def random_situation(
    state: PrivilegedState,
    goal: Array,
    block_size: float,
    max_opening: float,
    rng: np.random.Generator,
) -> tuple[PrivilegedState, Array]:
    """Return a state of the same tool with another block and opening, and another goal.

    A grasped block stays in the gripper.

    Args:
        state: state of tool and block.
        goal: (3,) goal position of the block's centre [m].
        block_size: side of the block [m].
        max_opening: largest distance between the finger pads [m].
        rng: random number generator.
    """
    block, yaw, opening = state.block_position, state.yaw_error, state.opening
    if not state.grasped:
        if rng.random() < UNDER_TOOL:
            block = np.array([*state.tool_pose[:2, 3], block[2]])
        scale = rng.choice(OFFSETS) * np.array([1.0, 1.0, HEIGHT_RATIO])
        block = block + scale * rng.standard_normal(3)
        if rng.random() < OTHER_OPENING:
            opening = rng.uniform(MIN_OPENING * block_size, max_opening)
        kind = rng.random()
        if kind < ANY_YAW:
            yaw = rng.uniform(-np.pi / 4, np.pi / 4)
        elif kind < ANY_YAW + SMALL_YAW:
            yaw = SMALL_YAW_STD * rng.standard_normal()
    kind = rng.random()
    if kind > GOAL_KEPT:
        elsewhere = kind < GOAL_KEPT + GOAL_ELSEWHERE
        centre, std = (goal, GOAL_STD) if elsewhere else (block, rng.choice(OFFSETS))
        goal = np.array([*(centre[:2] + std * rng.standard_normal(2)), goal[2]])
    return PrivilegedState(state.tool_pose, block, float(yaw), state.grasped, float(opening)), goal
