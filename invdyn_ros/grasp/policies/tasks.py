"""Tasks with blocks: which block goes where, in which order."""

from __future__ import annotations

from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

Task = Literal["grasp", "sort", "stack"]
GRASP, SORT, STACK = TASKS = ("grasp", "sort", "stack")
SECONDS_PER_BLOCK = 20.0  # time limit of an episode of a task, for each block [s]
MIN_GOAL_DISTANCE = 1.5  # between two goals of a sort [block sides]


class Placement(NamedTuple):
    """A block and the goal (3,) of its centre [m]."""

    block: int
    goal: Array


def plan_placements(scene: Scene, task: str) -> tuple[Placement, ...]:
    """Return which block goes where, in the order in which a task places them.

    - grasp: one block to its goal;
    - sort: every block to its own goal;
    - stack: all blocks on top of each other, at the goal of the first one.

    Raises:
        ValueError: the scene does not have the blocks or the goals of the task.
    """
    blocks = scene.all_blocks
    if task == GRASP:
        return (Placement(scene.target, np.array(scene.goal)),)
    if task not in TASKS:
        raise ValueError(f"no task '{task}'; the tasks are {', '.join(TASKS)}")
    if len(blocks) < 2:
        raise ValueError(
            f"task:={task} needs two or more blocks; give blocks:=FILE.yaml, such as "
            "config/blocks/ur5_three.yaml"
        )
    goals = np.array([block.goal for block in blocks])
    if task == STACK:
        levels = np.arange(len(blocks)) * scene.block_size
        goals = goals[0] + levels[:, None] * [0.0, 0.0, 1.0]
    else:
        for a, b in combinations(range(len(blocks)), 2):
            if np.linalg.norm(goals[a] - goals[b]) < MIN_GOAL_DISTANCE * scene.block_size:
                raise ValueError(
                    f"the goals of blocks '{blocks[a].name}' and '{blocks[b].name}' are less than "
                    f"{MIN_GOAL_DISTANCE} block sides apart; give each a place of its own"
                )
    return tuple(Placement(block, goal) for block, goal in enumerate(goals))
