"""The reports of a run: a Recording enters, plain numbers leave."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from invdyn_ros.arms.scene import Scene
from invdyn_ros.grasp.estimate import onto_table
from invdyn_ros.grasp.task import Judge
from invdyn_ros.recording import Recording, Samples, align
from invdyn_ros.robot import Robot

Array = NDArray[np.float64]
QUANTILES = (50, 95, 99)
SLACK = 1.02  # noise of a measured velocity is no violation


def quantiles(values: Array, which: tuple[int, ...] = QUANTILES) -> dict[str, float | None]:
    """Return percentiles as {"p50": ...}; None where there is no value."""
    if not len(values):
        return {f"p{q}": None for q in which}
    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in which}


def limit_violations(robot: Robot, joints: Samples, wanted: Samples, unit: str) -> int:
    """Count samples in which the arm or what was wanted of it was outside a rated limit."""
    count = 0
    for samples in (joints, wanted):
        if not len(samples.time):
            continue
        bad = (samples.q < robot.lower).any(1) | (samples.q > robot.upper).any(1)
        if samples.qd.shape[1]:
            bad |= (np.abs(samples.qd) > SLACK * robot.velocity).any(1)
        if unit == "N m" and samples.effort.shape[1]:
            bad |= (np.abs(samples.effort) > robot.effort * (1 + 1e-9)).any(1)
        count += int(bad.sum())
    return count


def tracking_rms(joints: Samples, wanted: Samples) -> float | None:
    """Return the RMS distance between measured and wanted joints [rad]."""
    measured, planned = align(joints, wanted)
    if not len(measured.time):
        return None
    return float(np.sqrt(np.mean((measured.q - planned.q) ** 2)))


class Latencies(NamedTuple):
    """Time from an image's stamp to the first command that acts on it [ms], (F,) each.

    Attributes:
        whole: image to command.
        core: the same without the pose network.
        stages: its parts, by name: to the pose network, in it, and from it to the command.
    """

    whole: Array
    core: Array
    stages: dict[str, Array]


def latencies(recording: Recording) -> Latencies:
    """Return where the time of each image that led to a command went."""
    reached: dict[float, dict[str, float]] = {}
    for stage, stamp, time in recording.stages:
        reached.setdefault(stamp, {}).setdefault(stage, time - stamp)
    order = ("pose begin", "pose end", "command")
    rows = [[times[k] for k in order] for times in reached.values() if times.keys() >= set(order)]
    begin, end, command = 1e3 * np.array(rows).reshape(-1, 3).T
    stages = {"image_to_pose": begin, "pose": end - begin, "pose_to_command": command - end}
    return Latencies(command, command - stages["pose"], stages)


def block_errors(recording: Recording, scene: Scene) -> Array:
    """Return the distance [mm] between measured and true block centres, one per sighting."""
    errors = []
    T_base_camera, middle = scene.camera.T_base_camera, scene.block_size / 2
    centres = {stamp: T[:3, 3] for stamp, T in recording.places.items()}
    for stamp, T_camera_block in recording.sightings.items():
        centre = (T_base_camera @ T_camera_block)[:3, 3]
        centres[stamp] = onto_table(centre, T_base_camera[:3, 3], middle)
    for stamp, centre in centres.items():
        if stamp in recording.blocks:
            truth = recording.blocks[stamp][0]
            if abs(truth[2] - middle) < 0.005:  # once lifted, it is on no table
                errors.append(1e3 * np.linalg.norm(centre - truth))
    return np.array(errors)


def judge(recording: Recording, scene: Scene) -> Judge | None:
    """Return the outcome of an episode, None if the block was never reported."""
    found: Judge | None = None
    stamps = {round(t * 1e6): i for i, t in enumerate(recording.joints.time)}
    for time, (position, _) in sorted(recording.blocks.items()):
        if found is None:
            found = Judge.of(scene, position)
        i = stamps.get(round(time * 1e6))
        if i is not None:
            found.see(position, recording.joints.velocity(i), recording.joints.opening[i])
    return found


def success_interval(successes: int, episodes: int) -> list[float]:
    """Return the 95% Wilson interval of a success rate."""
    return [round(end, 4) for end in _wilson(successes, episodes)]


def _wilson(successes: int, episodes: int) -> tuple[float, float]:
    interval = binomtest(successes, episodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


class Difference(NamedTuple):
    """A difference of two success rates with its 95% interval, -1 to 1 each."""

    value: float
    low: float
    high: float


def paired_difference(ours: Sequence[bool], theirs: Sequence[bool]) -> Difference:
    """Return by how much our success rate is above theirs in the same episodes.

    Method 10 of Newcombe, Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17 (1998): the Wilson intervals of
    both rates, and how much the two have in common.

    Args:
        ours: (N,) which episodes were successes of ours.
        theirs: (N,) which of the same were theirs.

    Raises:
        ValueError: no episodes, or not as many of the one as of the other.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} and {len(theirs)} episodes are no pairs")
    a, b, n = np.asarray(ours, bool), np.asarray(theirs, bool), len(ours)
    p, q = float(a.mean()), float(b.mean())
    (p_low, p_high), (q_low, q_high) = _wilson(int(a.sum()), n), _wilson(int(b.sum()), n)
    common = _correlation(a, b)

    def reach(p_side: float, q_side: float) -> float:
        square = p_side**2 - 2 * common * p_side * q_side + q_side**2
        return float(np.sqrt(max(square, 0.0)))

    low, high = reach(p - p_low, q_high - q), reach(p_high - p, q - q_low)
    return Difference(p - q, p - q - low, p - q + high)


def _correlation(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the correlation of two outcomes (N,), a positive one corrected for continuity."""
    both, none = int((a & b).sum()), int((~a & ~b).sum())
    product = float(both * none - int((a & ~b).sum()) * int((~a & b).sum()))
    if product > 0:
        product = max(product - len(a) / 2, 0.0)
    margins = float(a.sum()) * float((~a).sum()) * float(b.sum()) * float((~b).sum())
    return product / np.sqrt(margins) if margins else 0.0


def grasp_report(
    episodes: list[Recording], robot: Robot, scene: Scene, unit: str, about: dict[str, Any]
) -> dict[str, Any]:
    """Return the report of grasp_sim.

    Args:
        episodes: one recording each.
        robot: the arm.
        scene: as the graph believes it to be (its calibrated camera).
        unit: of the actions.
        about: fields that say what was run: policy, noise, seed.
    """
    outcomes = [judge(episode, scene) for episode in episodes]
    successes = sum(int(o.success) for o in outcomes if o is not None)
    rate = successes / max(len(episodes), 1)
    interval = success_interval(successes, len(episodes)) if episodes else None
    errors = [block_errors(e, scene) for e in episodes]
    seconds = [e.joints.time[-1] - e.joints.time[0] for e in episodes if len(e.joints.time)]
    rms = [r for e in episodes if (r := tracking_rms(e.joints, e.wanted)) is not None]
    outcome = {"success_rate": round(rate, 4), "ci95": interval}
    return about | {
        "arm": robot.name,
        "episodes": len(episodes),
        "successes": successes,
        **outcome,
        "lifted": sum(int(o.lifted) for o in outcomes if o is not None),
        "placed": sum(int(o.placed) for o in outcomes if o is not None),
        "failed_episodes": [i for i, o in enumerate(outcomes) if o is None or not o.success],
        "baseline_scripted": outcome if about.get("policy") == "scripted" else None,
        "block_error_mm": quantiles(np.concatenate(errors) if errors else np.empty(0), (50, 95)),
        "tracking_rms_rad": {"idm": round(float(np.sqrt(np.mean(np.square(rms)))), 5)}
        if rms
        else None,
        "limit_violations": sum(
            limit_violations(robot, e.joints, e.wanted, unit) for e in episodes
        ),
        "seconds_per_episode": round(float(np.mean(seconds)), 2) if seconds else None,
        "holds": episodes[0].holds if episodes else {},
    }
