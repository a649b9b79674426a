"""Grasps of a person who teleoperates an arm at a simulated table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.data.recording import Recording
from invdyn_ros.evaluation.run_metrics import quantiles
from invdyn_ros.grasp.policies.success import SuccessDetector, is_relocated
from invdyn_ros.robots.scene import Scene


class TeleopGrasp(NamedTuple):
    """Outcome of one block: from when it lay on the table until it was laid elsewhere.

    Attributes:
        start: first image with it [s].
        end: last image with it [s].
        lifted: whether it was lifted while the arm was static.
        placed_time: when it was placed at its goal [s]; None if it was not.
    """

    start: float
    end: float
    lifted: bool
    placed_time: float | None


def teleop_grasps(recording: Recording, scene: Scene) -> list[TeleopGrasp]:
    """Return the outcomes of a run by block, judged as in grasp_sim."""
    grasps: list[TeleopGrasp] = []
    joints, last = recording.joints, None
    detector, placed, start, end = None, None, 0.0, 0.0
    for time, (position, _) in sorted(recording.block_poses.items()):
        index = int(np.searchsorted(joints.time, time - 1e-6))
        if index >= len(joints.time):
            break
        if detector is None or last is None or is_relocated(last, position, scene):
            if detector is not None:
                grasps.append(TeleopGrasp(start, end, detector.lifted, placed))
            detector, placed, start = SuccessDetector.from_scene(scene, position), None, time
        detector.update(position, joints.velocity(index), float(joints.opening[index]))
        if detector.placed and placed is None:
            placed = time
        last, end = position, time
    if detector is not None:
        grasps.append(TeleopGrasp(start, end, detector.lifted, placed))
    return grasps


def grasp_figures(recording: Recording, scene: Scene) -> dict[str, Any]:
    """Return the figures of a report; the last block counts as an episode if it was placed."""
    grasps = teleop_grasps(recording, scene)
    unfinished = bool(grasps) and grasps[-1].placed_time is None
    complete = grasps[:-1] if unfinished else grasps
    seconds = [g.placed_time - g.start for g in complete if g.placed_time is not None]
    return {
        "episodes": len(complete),
        "lifted": sum(grasp.lifted for grasp in complete),
        "placed": len(seconds),
        "unfinished_lifted": bool(unfinished and grasps[-1].lifted),
        "seconds_to_place": quantiles(np.array(seconds), (50, 95)),
    }
