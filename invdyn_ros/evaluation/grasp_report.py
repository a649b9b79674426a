"""Report of a grasp_sim run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from invdyn_ros.control.motion_guard import BLOCKED
from invdyn_ros.data.recording import Recording, StatusInterval
from invdyn_ros.evaluation.run_metrics import (
    faults,
    held_share,
    limit_violations,
    model_drifts,
    quantiles,
    tracking,
)
from invdyn_ros.grasp.estimation.block_estimate import project_to_height
from invdyn_ros.grasp.policies.failure_causes import (
    FAILURE_CAUSES,
    NOT_DETECTED,
    EpisodeTrace,
    classify_failure,
)
from invdyn_ros.grasp.policies.observation import GRASP_RADIUS, GRASPED_OPENING_RATIOS
from invdyn_ros.grasp.policies.success import SuccessDetector
from invdyn_ros.grasp.policies.success_rate import success_interval
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

ON_TABLE_TOLERANCE = 0.005  # [m] detections assume a block on the table


def block_errors(recording: Recording, scene: Scene) -> Array:
    """Return the distance [mm] between detected and true block centres, one per detection."""
    errors = []
    T_base_camera, middle = scene.camera.T_base_camera, scene.block_size / 2
    centres = {stamp: T[:3, 3] for stamp, T in recording.base_detections.items()}
    in_camera = {} if scene.camera_on_hand else recording.camera_detections
    for stamp, T_camera_block in in_camera.items():
        centre = (T_base_camera @ T_camera_block)[:3, 3]
        centres[stamp] = project_to_height(centre, T_base_camera[:3, 3], middle)
    for stamp, centre in centres.items():
        if stamp in recording.block_poses:
            true_centre = recording.block_poses[stamp][0]
            if abs(true_centre[2] - middle) < ON_TABLE_TOLERANCE:
                errors.append(1e3 * np.linalg.norm(centre - true_centre))
    return np.array(errors)


def detect_success(recording: Recording, scene: Scene) -> SuccessDetector | None:
    """Return the outcome of an episode; None without any pose of the block.

    The poses are the true ones of a simulation. On a real arm the camera has judged: its result
    says only whether the block was placed.
    """
    if recording.result is not None:
        unknown = np.full(3, np.nan)
        placed = bool(recording.result.success)
        return replace(SuccessDetector.from_scene(scene, unknown), placed=placed)
    detector: SuccessDetector | None = None
    for i, (position, _) in _blocks_with_joints(recording):
        if detector is None:
            detector = SuccessDetector.from_scene(scene, position)
        if i is not None:
            detector.update(position, recording.joints.velocity(i), recording.joints.opening[i])
    return detector


def _blocks_with_joints(
    recording: Recording,
) -> list[tuple[int | None, tuple[Array, Array]]]:
    """Return the true block poses in time order, with the index of the joint sample of each."""
    stamps = {round(t * 1e6): i for i, t in enumerate(recording.joints.time)}
    return [
        (stamps.get(round(t * 1e6)), pose) for t, pose in sorted(recording.block_poses.items())
    ]


def failure_cause(recording: Recording, robot: Robot, scene: Scene) -> str:
    """Return why an episode failed; see `grasp.policies.failure_causes`, or a real arm's result.

    Contacts are not recorded. A block counts as held if it is at the tool and the opening of the
    gripper is about its size.

    Args:
        recording: the episode.
        robot: the arm.
        scene: nominal scene of the graph.
    """
    if recording.result is not None:
        return recording.result.text
    rows, start, joints = [], np.inf, recording.joints
    stops = [(s.start, s.end) for s in recording.statuses if _is_stop(s)]
    for i, (position, _) in _blocks_with_joints(recording):
        start = min(start, position[2])
        if i is not None:
            tool = robot.forward_kinematics(joints.q[i])[:3, 3]
            relative_opening = joints.opening[i] / scene.block_size
            held = (
                GRASPED_OPENING_RATIOS[0] < relative_opening < GRASPED_OPENING_RATIOS[1]
                and np.linalg.norm(position - tool) < GRASP_RADIUS
            )
            time = joints.time[i]
            stopped = any(first <= time <= last for first, last in stops)
            rows.append((time, held, position[2] - start, joints.opening[i], stopped))
    if not rows:
        return NOT_DETECTED
    detected = bool(recording.camera_detections or recording.base_detections)
    return classify_failure(EpisodeTrace.from_rows(rows, detected), scene.block_size)


def _is_stop(status: StatusInterval) -> bool:
    """Return whether a status is that of an arm stopped by a fault or by the motion guard."""
    return status.kind == "fault" or (status.kind == "hold" and status.text.startswith(BLOCKED))


def success_statistics(successes: list[bool]) -> dict[str, Any]:
    """Return the success rate of episodes with its 95% interval (None without episodes)."""
    rate = round(sum(successes) / max(len(successes), 1), 4)
    interval = success_interval(sum(successes), len(successes)) if successes else None
    return {"success_rate": rate, "ci95": interval}


def grasp_report(
    episodes: list[Recording],
    robot: Robot,
    scene: Scene,
    unit: str,
    settings: dict[str, Any],
    unfinished: Sequence[Recording] = (),
) -> dict[str, Any]:
    """Return the report of grasp_sim.

    Success rates count complete episodes; errors, violations and faults count all of them.

    Args:
        episodes: one recording of each complete episode.
        robot: the arm.
        scene: nominal scene of the graph, with its calibrated camera.
        unit: unit of the actions.
        settings: keys that are copied into the report: policy, noise, seed.
        unfinished: recordings of an episode that the end of the run cut off.
    """
    everything = [*episodes, *unfinished]
    is_scripted = settings.get("policy") == "scripted"
    errors = [block_errors(e, scene) for e in everything]
    seconds = [e.joints.time[-1] - e.joints.time[0] for e in episodes if len(e.joints.time)]
    return settings | {
        "arm": robot.name,
        "episodes": len(episodes),
        **_success_keys(episodes, robot, scene, is_scripted),
        "block_error_mm": quantiles(np.concatenate(errors) if errors else np.empty(0), (50, 95)),
        **_motion_keys(everything, robot, unit),
        "model_drift": [
            {"episode": i} | drift for i, e in enumerate(everything) for drift in model_drifts(e)
        ],
        "faults": [
            {"episode": i} | fault for i, e in enumerate(everything) for fault in faults(e)
        ],
        "held_share": _mean_held_share(everything),
        "seconds_per_episode": round(float(np.mean(seconds)), 2) if seconds else None,
        "unfinished_episodes": len(unfinished),
        "hold_counts": everything[0].hold_counts if everything else {},
        "contacts": everything[0].contact_counts if everything else {},
        "ignored_messages": everything[0].ignored_counts if everything else {},
    }


def _success_keys(
    episodes: list[Recording], robot: Robot, scene: Scene, is_scripted: bool
) -> dict[str, Any]:
    """Return the keys of the report on successes and failures.

    Args:
        episodes: one recording of each complete episode.
        robot: the arm.
        scene: nominal scene of the graph.
        is_scripted: whether the policy is the scripted one, and so its own baseline.
    """
    outcomes = [detect_success(episode, scene) for episode in episodes]
    successes = [outcome is not None and outcome.success for outcome in outcomes]
    failed = [i for i, success in enumerate(successes) if not success]
    count = Counter(failure_cause(episodes[i], robot, scene) for i in failed)
    is_real = any(episode.result is not None for episode in episodes)
    lifted = sum(int(outcome.lifted) for outcome in outcomes if outcome is not None)
    return {
        "judged_by": "the camera" if is_real else "its true pose",
        "successes": sum(successes),
        **success_statistics(successes),
        "lifted": None if is_real else lifted,
        "failed_episodes": failed,
        "failures": dict(count) if is_real else {name: count[name] for name in FAILURE_CAUSES},
        "baseline_scripted": success_statistics(successes) if is_scripted else None,
    }


def _motion_keys(episodes: Sequence[Recording], robot: Robot, unit: str) -> dict[str, Any]:
    """Return the keys of the report on tracking errors and limits."""
    plans = [tracking(robot, e.joints, e.desired) for e in episodes]
    squares = np.concatenate([plan.error.ravel() ** 2 for plan in plans]) if plans else np.empty(0)
    violations = Counter[str]()
    for episode in episodes:
        violations.update(limit_violations(robot, episode.joints, episode.desired, unit).by_kind)
    return {
        "tracking_rms_rad": {"inverse_dynamics": round(float(np.sqrt(squares.mean())), 5)}
        if len(squares)
        else None,
        "tracking_max_rad": round(float(np.sqrt(squares.max())), 5) if len(squares) else None,
        "plan_jumps": sum(len(plan.jumps) for plan in plans),
        "limit_violations": sum(violations.values()),
        "limit_violations_by_kind": dict(violations),
    }


def _mean_held_share(episodes: list[Recording]) -> float | None:
    fractions = [fraction for e in episodes if (fraction := held_share(e)) is not None]
    return round(float(np.mean(fractions)), 4) if fractions else None
