"""Benchmark of teleop with many persons: clips made from recordings, and all arms.

The landmarks of each clip are estimated once. Then each simulated arm follows them in lockstep,
driven through the motion guard with its shipped model, as in the graph of teleop.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field
from tqdm import tqdm

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.person_clips import CLIPS, PersonClip
from invdyn_ros.benchmarks.report import Row
from invdyn_ros.benchmarks.safety_rig import DrivenArm, Setup
from invdyn_ros.benchmarks.safety_runs import summarize
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.evaluation.person_errors import find_lag
from invdyn_ros.perception.camera import CameraConfig, open_camera, read_video_info
from invdyn_ros.teleop.arm_directions import ArmDirections
from invdyn_ros.teleop.person_check import TORSO_LANDMARKS
from invdyn_ros.teleop.pose import PoseEstimator
from invdyn_ros.teleop.retargeting import RetargetConfig, Retargeter, RetargetResult
from invdyn_ros.teleop.swivel import MAX_JOINTS, swivel_error, swivel_links
from invdyn_ros.typing import Array

ARMS = ("ur5", "ur5e", "dofbot", "kuka_iiwa")
DEFAULT_LAG = 0.09  # [s] of an arm that moved too little to measure it
SETTLING_TIME = 1.0  # [s] of following in which the arm comes to the hand slowly


@dataclass(frozen=True)
class PersonsBenchmarkConfig(BenchmarkOptions):
    """Violations, contacts, wrong persons and errors of arms that follow many persons."""

    video: Path
    """Video of one person, from which the clips are made."""
    clips: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(CLIPS)
    """Names of the clips."""
    arms: Annotated[tuple[str, ...], Field(min_length=1)] = ARMS
    """Arms with a shipped checkpoint."""

    def __post_init__(self) -> None:
        """Check the names of the clips."""
        super().__post_init__()
        if unknown := set(self.clips) - set(CLIPS):
            raise ValueError(f"clips are {sorted(unknown)}; known are {', '.join(CLIPS)}")


class ClipLandmarks(NamedTuple):
    """ClipLandmarks of a clip.

    Attributes:
        clip: what is known about it.
        points: (33, 6) of each image, None without a person.
        rate: of the images [Hz].
    """

    clip: PersonClip
    points: list[Array | None]
    rate: float


class FollowedClip(NamedTuple):
    """What one arm did in one clip.

    Attributes:
        row: figures.
        holds: why the arm held -> number of images.
    """

    row: Row
    holds: Counter[str]


def measure_persons(config: PersonsBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        FileNotFoundError: no such video.
        ValueError: the file is no video, or an arm is unknown.
    """
    measured = config.begin("persons", "ticks, images, mm")
    rate = read_video_info(config.video).frame_rate
    images = [frame.image for frame in open_camera(CameraConfig(video=str(config.video)))]
    holds: dict[str, dict[str, int]] = {}
    of_arms: dict[str, list[Row]] = {arm: [] for arm in config.arms}
    measured.so_far = lambda: measured.report(holds=holds)
    for name in tqdm(config.clips, unit="clip"):
        landmarks = estimate(CLIPS[name](images, rate), rate)
        runs = [follow(landmarks, arm) for arm in config.arms]
        holds[name] = dict(runs[0].holds)
        measured.rows[name] = _worst([run.row for run in runs])
        for rows, run in zip(of_arms.values(), runs, strict=True):
            rows.append(run.row)
    for arm, rows in of_arms.items():
        measured.rows[f"all clips, {arm}"] = _worst(rows)
    return measured.so_far()


def estimate(clip: PersonClip, rate: float) -> ClipLandmarks:
    """Estimate the landmarks in each image of a clip."""
    with PoseEstimator(clip.config) as estimator:
        detected = [estimator(image) for image in clip.images]
    points = [
        None if detection is None else detection.with_image_position(len(image))
        for detection, image in zip(detected, clip.images, strict=True)
    ]
    return ClipLandmarks(clip, points, rate)


def follow(landmarks: ClipLandmarks, arm_name: str) -> FollowedClip:
    """Let an arm follow the landmarks of a clip."""
    with DrivenArm(Setup(arm_name, arm_name)) as arm:
        retargeter, start = Retargeter(arm.robot, RetargetConfig()), arm.time
        retargeter.reset(arm.robot.home)
        results: list[RetargetResult] = []
        measured: list[Array] = []  # (n,) at each image [rad]
        while len(results) < len(landmarks.points):
            due, target = start + len(results) / landmarks.rate, None
            if arm.time >= due - 1e-9:
                measured.append(arm.simulation.state().q)
                moved = retargeter(landmarks.points[len(results)], due, measured=measured[-1])
                results.append(moved)
                state = State(moved.q, moved.qd, np.zeros(arm.robot.n))
                target = Target(due, state, moved.horizon)
            arm.step(target)
        driven = summarize(arm, arm.samples, len(results))
        time = np.array([sample.time for sample in arm.samples]) - start
        link = retargeter.links[-1]
        tool = np.array([arm.robot.forward_kinematics(s.q, link)[:3, 3] for s in arm.samples])
    followed = [result.hold_reason is None for result in results]
    places = [
        points[TORSO_LANDMARKS, 4].mean() if is_followed and points is not None else np.nan
        for is_followed, points in zip(followed, landmarks.points, strict=True)
    ]
    row: Row = {
        "violations": sum(driven.tally.violations.values()),
        "contacts": driven.contacts,
        "faults": sum(driven.faults.values()),
        "phantoms": landmarks.clip.phantoms(places),
        "followed %": round(100 * float(np.mean(followed)), 1),
        **_wrist_errors(landmarks, retargeter, results, time, tool),
        **_swivel_errors(landmarks, retargeter, results, measured),
    }
    return FollowedClip(row, Counter(str(r.hold_reason) for r in results if r.hold_reason))


def _wrist_errors(
    landmarks: ClipLandmarks,
    retargeter: Retargeter,
    results: list[RetargetResult],
    time: Array,
    tool: Array,
) -> Row:
    """Return the distance of the tool from the scaled hand, as the unfiltered landmarks have it.

    Images are compared in which the arm can reach the hand and is as fast as it.

    Args:
        landmarks: of the clip.
        retargeter: that of the arm.
        results: of each image.
        time: (T,) of the tool's positions [s].
        tool: (T, 3) positions of the tool [m].
    """
    config = retargeter.config
    directions = ArmDirections(config.side, config.yaw_cutoff, None)
    stamps, hands, last, since, count = [], [], -np.inf, np.inf, 0
    for k, (points, result) in enumerate(zip(landmarks.points, results, strict=True)):
        stamp = k / landmarks.rate
        if points is None or result.hold_reason is not None:
            since = np.inf
            continue
        since = min(since, stamp)
        if stamp - last > config.max_gap:
            directions.reset()
        person = directions.update(points, stamp - last, config.min_visibility)
        last = stamp
        if stamp - since < SETTLING_TIME:
            continue
        count += 1
        within = result.target_distance <= config.tolerance  # else faster than the arm
        if result.reachable and within:
            stamps.append(stamp)
            hands.append(retargeter.targets(person)[0])
    if not stamps:
        return {"compared %": 0.0} if count else {}
    at, hand = np.array(stamps), np.array(hands)
    measured = find_lag(at, hand, time, tool) if len(at) > 2 * landmarks.rate else None
    lag = DEFAULT_LAG if measured is None else measured.seconds
    row: Row = {"compared %": round(100 * len(at) / count, 1), "lag ms": round(1e3 * lag)}
    for name, delay in (("wrist p95 mm", 0.0), ("after lag p95 mm", lag)):
        there = np.column_stack([np.interp(at + delay, time, axis) for axis in tool.T])
        distance = 1e3 * np.linalg.norm(there - hand, axis=1)
        row[name] = round(float(np.percentile(distance, 95)), 1)
    return row


def _swivel_errors(
    landmarks: ClipLandmarks,
    retargeter: Retargeter,
    results: list[RetargetResult],
    measured: list[Array],
) -> Row:
    """Return the angle between the elbows of arm and person, where both are bent.

    Args:
        landmarks: of the clip.
        retargeter: that of the arm.
        results: of each image.
        measured: (n,) joint positions at each image [rad].
    """
    robot, config = retargeter.robot, retargeter.config
    if robot.n <= MAX_JOINTS:
        return {}
    links = swivel_links(robot, retargeter.links[-1], retargeter.human_like_arm)
    directions = ArmDirections(config.side, config.yaw_cutoff, None)
    angles, last = [], -np.inf
    for k, (points, result, q) in enumerate(zip(landmarks.points, results, measured, strict=True)):
        if points is None or result.hold_reason is not None:
            continue
        elapsed, last = k / landmarks.rate - last, k / landmarks.rate
        if elapsed > config.max_gap:
            directions.reset()
        person = directions.update(points, elapsed, config.min_visibility)
        angles.append(swivel_error(robot, links, retargeter.mapping, person, q))
    defined = np.degrees([angle for angle in angles if not np.isnan(angle)])
    if not defined.size:
        return {}
    middle, high = np.percentile(defined, [50, 95])
    return {"swivel p50 deg": round(float(middle), 1), "swivel p95 deg": round(float(high), 1)}


def _worst(rows: list[Row]) -> Row:
    """Return the largest figures, the smallest of how much was followed and compared."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return {
        column: (min if column.endswith("%") else max)(
            row[column] for row in rows if column in row
        )
        for column in columns
    }
