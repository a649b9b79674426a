"""How well a camera is found from noisy sightings: an arm enters; errors beside OpenCV's leave.

The arm takes random postures in which the camera sees the marker; the farthest from each other are
kept. OpenCV, where it has hand-eye calibration (4.5 to 4.x), gets the same poses and noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from invdyn_ros.benchmarks.hand_eye_scene import SimulatedHandEye
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios
from invdyn_ros.config import Validated
from invdyn_ros.perception.hand_eye.calibration import residual_norms
from invdyn_ros.perception.hand_eye.least_squares import fisher_information, solve_hand_eye
from invdyn_ros.perception.hand_eye.pose_diversity import MIN_POSES
from invdyn_ros.perception.hand_eye.pose_pairs import MOUNTINGS, Mounting, PosePairs
from invdyn_ros.perception.rigid_transforms import (
    invert_transform,
    pose_difference,
    transform_from_rotvec,
)
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.registry import grasping_arms, load_scene
from invdyn_ros.robots.robot import Robot, load_robot

BAR = (1.0, 0.1)  # what is wanted: position [mm], rotation [deg]
REACH = 1.2  # of the random postures around home, each joint [rad]
CANDIDATES = 150  # visible postures from which the spread ones are taken, per wanted pose
TURN = 0.5  # a turn by one radian counts as far as so many metres, in spreading poses
NEAR, FAR = 0.25, 1.2  # [m] from camera to marker
FOCAL = 600.0  # [px] of a usual webcam of 640x480
TRIES = 200  # postures for each that is visible
MARGIN = 40  # [px] between the marker and the edge of the picture
TRUTHS: dict[Mounting, tuple[np.ndarray, np.ndarray]] = {
    # the camera in the base or on the tool; the marker on the tool or in the base
    "eye_to_hand": (
        PinholeCamera.look_at((1.0, -0.35, 0.6), (0.45, 0.0, 0.3), FOCAL).T_base_camera,
        transform_from_rotvec(np.array([0.2, -0.3, 0.4]), np.array([0.0, 0.01, 0.02])),
    ),
    "eye_in_hand": (
        transform_from_rotvec(np.array([0.0, 0.1, 1.5]), np.array([0.06, 0.0, -0.08])),
        transform_from_rotvec(np.array([0.0, 0.0, 0.4]), np.array([0.5, 0.05, 0.0])),
    ),
}
PEERS = {
    f"OpenCV {name.title()}": f"CALIB_HAND_EYE_{name}"
    for name in ("TSAI", "PARK", "HORAUD", "ANDREFF", "DANIILIDIS")
}
OURS, BOUND = "invdyn", "Cramér-Rao bound"
Solver = Callable[[PosePairs, Mounting], np.ndarray]


@dataclass(frozen=True)
class HandEyeBenchmarkConfig(Validated):
    """Error of the camera's pose from noisy sightings of a marker, beside OpenCV."""

    arm: str = "ur5"
    """Arm by name."""
    poses: Annotated[int, Field(ge=MIN_POSES)] = 20
    """Poses of a calibration."""
    position_noise: PositiveFloat = 1.0
    """Of a sighting, standard deviation along each axis [mm]."""
    rotation_noise: PositiveFloat = 0.5
    """Of a sighting, standard deviation about each axis [deg]."""
    trials: PositiveInt = 500
    """Calibrations, each from other poses and noise."""
    pictures: NonNegativeInt = 0
    """Also so many calibrations from pictures of the arm's simulated scene, and of their noise."""
    seed: int = 0
    """Of poses and noise."""
    report: Path | None = None
    """JSON file to write."""


def measure_hand_eye(config: HandEyeBenchmarkConfig) -> dict[str, Any]:
    """Return the report.

    Raises:
        ValueError: unknown arm, or one that has no pictures.
    """
    robot, about, solvers = load_robot(config.arm), machine_info(1), _solvers()
    if config.pictures and not (robot.gripper and robot.name in grasping_arms()):
        able = ", ".join(grasping_arms())
        raise ValueError(f"{robot.name} holds no block in a scene; --pictures is for {able}")
    rows: dict[str, Row] = {}
    for mounting in MOUNTINGS:
        errors = _simulated(robot, mounting, config, solvers)
        rows |= {f"{name}, {mounting}": _row(np.array(e)) for name, e in errors.items()}
    if config.pictures:
        errors = _pictured(robot, config, solvers)
        rows |= {f"{name}, pictures": _row(np.array(e)) for name, e in errors.items()}
    return benchmark_report(
        "hand_eye",
        unit="mm, deg, %",
        machine=about,
        settings=_settings(config),
        rows=rows,
        ratio=_ratios(rows, (*(name for name in solvers if name != OURS), BOUND)),
    )


def _solvers() -> dict[str, Solver]:
    """Return ours and those of OpenCV's methods that are installed, by name."""
    solvers: dict[str, Solver] = {OURS: lambda pairs, mounting: solve_hand_eye(pairs, mounting).X}
    return solvers | {name: _peer(flag) for name, flag in PEERS.items() if hasattr(cv2, flag)}


def _settings(config: HandEyeBenchmarkConfig) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "arm": config.arm,
        "poses": config.poses,
        "position_noise_mm": config.position_noise,
        "rotation_noise_deg": config.rotation_noise,
        "trials": config.trials,
        "pictured": config.pictures,
        "bar_mm_deg": BAR,
        "opencv": cv2.__version__,
    }


def _ratios(rows: dict[str, Row], peers: tuple[str, ...]) -> dict[str, Row]:
    """Return our median errors over those of each peer."""
    return {
        f"{OURS} to {peer}, {mounting}": ratios(
            rows[f"{OURS}, {mounting}"], rows[f"{peer}, {mounting}"], ("mm p50", "deg p50")
        )
        for mounting in MOUNTINGS
        for peer in peers
    }


def _simulated(
    robot: Robot, mounting: Mounting, config: HandEyeBenchmarkConfig, solvers: dict[str, Solver]
) -> dict[str, list[np.ndarray]]:
    """Return errors of calibrations from noisy sightings, and those that the noise leaves."""
    X, Y = TRUTHS[mounting]
    deviation = 1e-3 * config.position_noise, np.radians(config.rotation_noise)
    errors: dict[str, list[np.ndarray]] = {name: [] for name in (*solvers, BOUND)}
    rng = np.random.default_rng([config.seed, MOUNTINGS.index(mounting)])
    visible = _visible(robot, mounting, X, Y, CANDIDATES * config.poses, rng)
    for _ in range(config.trials):
        arm = _spread(visible, config.poses, rng)
        pairs = _sighted(arm, X, Y, mounting, deviation, rng)
        for name, solve in solvers.items():
            errors[name].append(_error(solve(pairs, mounting), X))
        errors[BOUND].append(_bound(pairs, X, Y, mounting, rng))
    return errors


def _pictured(
    robot: Robot, config: HandEyeBenchmarkConfig, solvers: dict[str, Solver]
) -> dict[str, list[np.ndarray]]:
    """Return errors of calibrations from what the scene's camera and the detector give."""
    scene = load_scene(robot.name)
    X = scene.camera.T_base_camera
    errors: dict[str, list[np.ndarray]] = {name: [] for name in solvers}
    pictured = SimulatedHandEye(robot, scene, config.seed)
    try:
        for _ in range(config.pictures):
            pairs = pictured.pairs(config.poses)
            for name, solve in solvers.items():
                errors[name].append(_error(solve(pairs, "eye_to_hand"), X))
    finally:
        pictured.close()
    return errors


def _error(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the distance [m] and the angle [rad] between two poses (4, 4)."""
    return residual_norms(pose_difference(found[None], truth[None]))[0]


def _row(errors: np.ndarray) -> Row:
    """Return the distribution of errors (trials, 2) [m, rad]."""
    values = errors * [1e3, np.degrees(1)]
    middle, high = np.percentile(values, [50, 95], axis=0)
    figures = {"mm p50": middle[0], "mm p95": high[0], "deg p50": middle[1], "deg p95": high[1]}
    within = (values <= BAR).mean(axis=0)
    figures |= {"mm in bar": 100 * within[0], "deg in bar": 100 * within[1]}
    return {key: round(float(value), 4) for key, value in figures.items()}


def _visible(
    robot: Robot, mounting: Mounting, X: np.ndarray, Y: np.ndarray, count: int, rng: Any
) -> np.ndarray:
    """Return random arm poses (count, 4, 4) in which the camera sees the marker."""
    camera = PinholeCamera(np.eye(4), FOCAL)
    low = np.maximum(robot.home - REACH, robot.lower)
    high = np.minimum(robot.home + REACH, robot.upper)
    found: list[np.ndarray] = []
    for _ in range(TRIES * count):
        if len(found) == count:
            return np.array(found)
        T = robot.forward_kinematics(rng.uniform(low, high))
        motion = T if mounting == "eye_to_hand" else invert_transform(T)
        place = (invert_transform(X) @ motion @ Y)[:3, 3]
        above = T[2, 3] > 0.05  # the tool hits no table
        if above and NEAR < np.linalg.norm(place) < FAR and place[2] > 0:
            u, v = camera.project(place)
            if MARGIN < u < camera.width - MARGIN and MARGIN < v < camera.height - MARGIN:
                found.append(T)
    raise ValueError(f"a camera {mounting} {robot.name} sees the marker in hardly any posture")


def _spread(arm: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 4, 4) of a random half of the poses, each far from those before it."""
    some = arm[rng.permutation(len(arm))[: len(arm) // 2]]
    flat = np.concatenate([some[:, :3, 3], TURN / np.sqrt(2) * some[:, :3, :3].reshape(-1, 9)], 1)
    chosen, far = [0], np.full(len(some), np.inf)
    while len(chosen) < count:
        far = np.minimum(far, np.linalg.norm(flat - flat[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(far)))
    return some[chosen]


def _sighted(
    arm: np.ndarray,
    X: np.ndarray,
    Y: np.ndarray,
    mounting: Mounting,
    deviation: tuple[float, float],
    rng: np.random.Generator,
) -> PosePairs:
    """Return what a noisy camera would see."""
    exact = invert_transform(X) @ PosePairs.from_poses(arm, arm).motion(mounting) @ Y
    noise = rng.standard_normal((len(arm), 6)) * np.repeat(deviation, 3)
    marker = exact.copy()
    marker[:, :3, 3] += noise[:, :3]
    marker[:, :3, :3] = (
        transform_from_rotvec(noise[:, 3:], noise[:, :3])[:, :3, :3] @ exact[:, :3, :3]
    )
    covariance = np.diag(np.repeat(deviation, 3) ** 2)
    return PosePairs(arm, marker, np.broadcast_to(covariance, (len(arm), 6, 6)))


def _bound(
    pairs: PosePairs, X: np.ndarray, Y: np.ndarray, mounting: Mounting, rng: np.random.Generator
) -> np.ndarray:
    """Return the error of an unbiased estimate that wastes nothing, distance and angle (2,)."""
    factor = np.linalg.cholesky(pairs.covariance)
    bound = np.linalg.inv(fisher_information(X, pairs.motion(mounting), Y, factor))[:6, :6]
    return residual_norms(rng.multivariate_normal(np.zeros(6), bound)[None])[0]


def _peer(flag: str) -> Solver:
    """Return one of OpenCV's methods; of a camera beside the arm it wants the arm's inverse."""
    calibrate: Any = cv2.calibrateHandEye

    def solve(pairs: PosePairs, mounting: Mounting) -> np.ndarray:
        arm, marker = (
            pairs.motion("eye_in_hand" if mounting == "eye_to_hand" else "eye_to_hand"),
            pairs.T_camera_marker,
        )
        parts = [p for T in (arm, marker) for p in (list(T[:, :3, :3]), list(T[:, :3, 3]))]
        R, t = calibrate(*parts, method=getattr(cv2, flag))
        u, _, v = np.linalg.svd(np.asarray(R))  # flipped sightings have it return reflections
        T = np.eye(4)
        T[:3, :3] = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        T[:3, 3] = np.ravel(np.asarray(t))
        return T

    return solve
