"""Report of a run whose task has several blocks."""

from __future__ import annotations

import numpy as np

from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.evaluation.task_report import task_report, unfinished_tasks
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot, package_file

UR5 = load_robot("ur5")
SCENE = load_scene("ur5", package_file("config/blocks/ur5_three.yaml"))
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def recording(goals_reached: int, opening: float = 0.08) -> Recording:
    """Return a second in which the first blocks come to their goals."""
    time = np.arange(11) / 10
    still = np.zeros((11, 6))
    joints = JointSamples(time, still + UR5.home, still, still[:, :0], np.full(11, opening))
    goals = [np.array(block.goal) for block in SCENE.all_blocks]
    places = [
        g if b < goals_reached else g + np.array([0.0, 0.1, 0.0]) for b, g in enumerate(goals)
    ]
    poses = {float(t): [(place, UPRIGHT) for place in places] for t in time}
    first = {t: blocks[0] for t, blocks in poses.items()}
    return Recording(joints, joints, block_poses=first, all_block_poses=poses)


def test_a_sort_succeeds_when_all_blocks_are_released_at_their_goals() -> None:
    episodes = [recording(3), recording(2), recording(3, opening=0.04)]
    report = task_report(episodes, SCENE, "sort", is_scripted=True)
    assert report["successes"] == 1 and report["failed_episodes"] == [1, 2]
    assert report["blocks_at_goal"] == [3, 2, 3]
    assert unfinished_tasks(episodes, SCENE, "sort")[1] == "2 of 3 blocks at goal"
    shifted = episodes[0].shifted(5.0)
    assert task_report([shifted], SCENE, "sort", is_scripted=False)["successes"] == 1


def test_blocks_side_by_side_are_no_stack() -> None:
    assert task_report([recording(3)], SCENE, "stack", is_scripted=True)["successes"] == 0
