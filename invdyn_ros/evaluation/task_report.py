"""Successes of a grasp_sim run whose task has several blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.grasp_report import success_statistics
from invdyn_ros.grasp.policies.failure_causes import FAILURE_CAUSES, NOT_DETECTED, TIMEOUT
from invdyn_ros.grasp.policies.task_success import TaskSuccess
from invdyn_ros.grasp.policies.tasks import plan_placements
from invdyn_ros.robots.scene import Scene


def detect_task_success(recording: Recording, scene: Scene, task: str) -> TaskSuccess | None:
    """Return the outcome of an episode at its end; None without any pose of the blocks.

    Args:
        recording: the episode.
        scene: nominal scene of the graph.
        task: sort or stack.
    """
    joints, outcome = recording.joints, None
    stamps = {round(t * 1e6): i for i, t in enumerate(joints.time)}
    for time, poses in sorted(recording.all_block_poses.items()):
        i = stamps.get(round(time * 1e6))
        if i is not None:
            outcome = outcome or TaskSuccess(scene, plan_placements(scene, task))
            positions = np.array([centre for centre, _ in poses])
            outcome.update(positions, joints.velocity(i), float(joints.opening[i]))
    return outcome


def unfinished_tasks(episodes: Sequence[Recording], scene: Scene, task: str) -> dict[int, str]:
    """Return how far each failed episode came, in words, by its index.

    Args:
        episodes: one recording of each episode.
        scene: nominal scene of the graph.
        task: sort or stack.
    """
    unfinished: dict[int, str] = {}
    for i, episode in enumerate(episodes):
        outcome = detect_task_success(episode, scene, task)
        if episode.result is not None:
            unfinished |= {} if episode.result.success else {i: episode.result.text}
        elif outcome is None:
            unfinished[i] = "no block recorded"
        elif not outcome.success:
            unfinished[i] = f"{sum(outcome.at_goal)} of {len(outcome.at_goal)} blocks at goal"
    return unfinished


def task_report(
    episodes: Sequence[Recording], scene: Scene, task: str, is_scripted: bool
) -> dict[str, Any]:
    """Return the keys of the report on successes and failures of a task.

    Those of a real arm are the results that the camera has judged, as for one block.

    Args:
        episodes: one recording of each complete episode.
        scene: nominal scene of the graph.
        task: sort or stack.
        is_scripted: whether the policy is the scripted one, and so its own baseline.
    """
    if any(episode.result is not None for episode in episodes):
        return {"task": task, "blocks_at_goal": None}
    outcomes = [detect_task_success(episode, scene, task) for episode in episodes]
    successes = [outcome is not None and outcome.success for outcome in outcomes]
    failed = [i for i, success in enumerate(successes) if not success]
    detected = [bool(episodes[i].camera_detections) for i in failed]
    count = {TIMEOUT: sum(detected), NOT_DETECTED: len(failed) - sum(detected)}
    return {
        "task": task,
        "successes": sum(successes),
        **success_statistics(successes),
        "blocks_at_goal": [sum(o.at_goal) if o is not None else 0 for o in outcomes],
        "failed_episodes": failed,
        "failures": {name: count.get(name, 0) for name in FAILURE_CAUSES},
        "baseline_scripted": success_statistics(successes) if is_scripted else None,
    }
