"""Accuracy of hand-eye calibration from noisy detections, compared to OpenCV.

The poses are selected from random configurations with a visible marker, far from each other. The
methods of OpenCV, where it has hand-eye calibration (4.5 to 4.x), get the same poses and noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.hand_eye_scene import SimulatedHandEye
from invdyn_ros.benchmarks.report import Row, ratios
from invdyn_ros.perception.hand_eye.hand_eye_calibration import residual_norms
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

MAX_ERROR = (1.0, 0.1)  # targets of the errors: position [mm], rotation [deg]
JOINT_RANGE = 1.2  # of the random configurations around home, each joint [rad]
CANDIDATES_PER_POSE = 150  # configurations from which distant ones are selected
ROTATION_WEIGHT = 0.5  # of one radian in the distance between two poses [m]
MIN_DISTANCE, MAX_DISTANCE = 0.25, 1.2  # [m] from camera to marker
FOCAL_LENGTH = 600.0  # [px] of a typical webcam of 640x480
MAX_TRIES = 200  # configurations per visible one
MARGIN = 40  # [px] between the marker and the edge of the image
TRUE_POSES: dict[Mounting, tuple[np.ndarray, np.ndarray]] = {
    # the camera in the base or on the tool; the marker on the tool or in the base
    "eye_to_hand": (
        PinholeCamera.look_at((1.0, -0.35, 0.6), (0.45, 0.0, 0.3), FOCAL_LENGTH).T_base_camera,
        transform_from_rotvec(np.array([0.2, -0.3, 0.4]), np.array([0.0, 0.01, 0.02])),
    ),
    "eye_in_hand": (
        transform_from_rotvec(np.array([0.0, 0.1, 1.5]), np.array([0.06, 0.0, -0.08])),
        transform_from_rotvec(np.array([0.0, 0.0, 0.4]), np.array([0.5, 0.05, 0.0])),
    ),
}
OPENCV_METHODS = {
    f"OpenCV {name.title()}": f"CALIB_HAND_EYE_{name}"
    for name in ("TSAI", "PARK", "HORAUD", "ANDREFF", "DANIILIDIS")
}
INVDYN, BOUND = "invdyn", "Cramér-Rao bound"
Solver = Callable[[PosePairs, Mounting], np.ndarray]


@dataclass(frozen=True)
class HandEyeBenchmarkConfig(BenchmarkOptions):
    """Error of the camera pose from noisy detections of a marker, compared to OpenCV."""

    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    poses: Annotated[int, Field(ge=MIN_POSES)] = 20
    """Number of poses of a calibration."""
    position_noise: PositiveFloat = 1.0
    """Standard deviation of a detection along each axis [mm]."""
    rotation_noise: PositiveFloat = 0.5
    """Standard deviation of a detection about each axis [deg]."""
    trials: PositiveInt = 500
    """Number of calibrations, each with new poses and noise."""
    images: NonNegativeInt = 0
    """Number of additional calibrations from rendered images of the simulated scene."""
    seed: int = 0
    """Seed of poses and noise."""


def measure_hand_eye(config: HandEyeBenchmarkConfig) -> dict[str, Any]:
    """Run the benchmark and return the report.

    Raises:
        ValueError: unknown arm, or one without a scene.
    """
    robot, solvers = load_robot(config.arm), _solvers()
    measured = config.begin("hand_eye", "mm, deg, %")
    rows = measured.rows
    if config.images and not (robot.gripper and robot.name in grasping_arms()):
        arms = ", ".join(grasping_arms())
        raise ValueError(f"{robot.name} holds no block in a scene; --images is for {arms}")
    for mounting in MOUNTINGS:
        errors = _from_noise(robot, mounting, config, solvers)
        rows |= {f"{name}, {mounting}": _row(np.array(e)) for name, e in errors.items()}
    if config.images:
        errors = _from_images(robot, config, solvers)
        rows |= {f"{name}, images": _row(np.array(e)) for name, e in errors.items()}
    return measured.report(
        settings=_settings(config),
        ratio=_ratios(rows, (*(name for name in solvers if name != INVDYN), BOUND)),
    )


def _solvers() -> dict[str, Solver]:
    """Return this package's solver and the available ones of OpenCV, by name."""
    solvers: dict[str, Solver] = {
        INVDYN: lambda pairs, mounting: solve_hand_eye(pairs, mounting).X
    }
    return solvers | {
        name: _opencv_solver(flag) for name, flag in OPENCV_METHODS.items() if hasattr(cv2, flag)
    }


def _settings(config: HandEyeBenchmarkConfig) -> dict[str, Any]:
    """Return the settings that the results depend on."""
    return {
        "arm": config.arm,
        "poses": config.poses,
        "position_noise_mm": config.position_noise,
        "rotation_noise_deg": config.rotation_noise,
        "trials": config.trials,
        "images": config.images,
        "max_error_mm_deg": MAX_ERROR,
        "opencv": cv2.__version__,
    }


def _ratios(rows: dict[str, Row], methods: tuple[str, ...]) -> dict[str, Row]:
    """Return this package's median errors over those of each other method."""
    return {
        f"{INVDYN} to {method}, {mounting}": ratios(
            rows[f"{INVDYN}, {mounting}"], rows[f"{method}, {mounting}"], ("mm p50", "deg p50")
        )
        for mounting in MOUNTINGS
        for method in methods
    }


def _from_noise(
    robot: Robot, mounting: Mounting, config: HandEyeBenchmarkConfig, solvers: dict[str, Solver]
) -> dict[str, list[np.ndarray]]:
    """Return errors of calibrations from noisy detections, and their lower bound."""
    X, Y = TRUE_POSES[mounting]
    std = 1e-3 * config.position_noise, np.radians(config.rotation_noise)
    errors: dict[str, list[np.ndarray]] = {name: [] for name in (*solvers, BOUND)}
    rng = np.random.default_rng([config.seed, MOUNTINGS.index(mounting)])
    visible = _visible_poses(robot, mounting, X, Y, CANDIDATES_PER_POSE * config.poses, rng)
    for _ in range(config.trials):
        arm = _select_distant(visible, config.poses, rng)
        pairs = _add_noise(arm, X, Y, mounting, std, rng)
        for name, solve in solvers.items():
            errors[name].append(_error(solve(pairs, mounting), X))
        errors[BOUND].append(_bound(pairs, X, Y, mounting, rng))
    return errors


def _from_images(
    robot: Robot, config: HandEyeBenchmarkConfig, solvers: dict[str, Solver]
) -> dict[str, list[np.ndarray]]:
    """Return errors of calibrations from block detections in rendered images."""
    scene = load_scene(robot.name)
    X = scene.camera.T_base_camera
    errors: dict[str, list[np.ndarray]] = {name: [] for name in solvers}
    simulated = SimulatedHandEye(robot, scene, config.seed)
    try:
        for _ in range(config.images):
            pairs = simulated.pairs(config.poses)
            for name, solve in solvers.items():
                errors[name].append(_error(solve(pairs, "eye_to_hand"), X))
    finally:
        simulated.close()
    return errors


def _error(T: np.ndarray, T_true: np.ndarray) -> np.ndarray:
    """Return the distance [m] and the angle [rad] between two poses (4, 4)."""
    return residual_norms(pose_difference(T[None], T_true[None]))[0]


def _row(errors: np.ndarray) -> Row:
    """Return the distribution of errors (trials, 2) [m, rad]."""
    values = errors * [1e3, np.degrees(1)]
    middle, high = np.percentile(values, [50, 95], axis=0)
    row = {"mm p50": middle[0], "mm p95": high[0], "deg p50": middle[1], "deg p95": high[1]}
    within = (values <= MAX_ERROR).mean(axis=0)
    row |= {"mm within %": 100 * within[0], "deg within %": 100 * within[1]}
    return {key: round(float(value), 4) for key, value in row.items()}


def _visible_poses(
    robot: Robot, mounting: Mounting, X: np.ndarray, Y: np.ndarray, count: int, rng: Any
) -> np.ndarray:
    """Return random arm poses (count, 4, 4) in which the marker is visible."""
    camera = PinholeCamera(np.eye(4), FOCAL_LENGTH)
    low = np.maximum(robot.home - JOINT_RANGE, robot.lower)
    high = np.minimum(robot.home + JOINT_RANGE, robot.upper)
    poses: list[np.ndarray] = []
    for _ in range(MAX_TRIES * count):
        if len(poses) == count:
            return np.array(poses)
        T = robot.forward_kinematics(rng.uniform(low, high))
        motion = T if mounting == "eye_to_hand" else invert_transform(T)
        position = (invert_transform(X) @ motion @ Y)[:3, 3]
        above = T[2, 3] > 0.05  # no collision with the table
        if above and MIN_DISTANCE < np.linalg.norm(position) < MAX_DISTANCE and position[2] > 0:
            u, v = camera.project(position)
            if MARGIN < u < camera.width - MARGIN and MARGIN < v < camera.height - MARGIN:
                poses.append(T)
    raise ValueError(f"{robot.name}, {mounting}: the marker is visible in too few configurations")


def _select_distant(arm: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Select poses (count, 4, 4) of a random half, each far from the previous ones."""
    candidates = arm[rng.permutation(len(arm))[: len(arm) // 2]]
    rotations = ROTATION_WEIGHT / np.sqrt(2) * candidates[:, :3, :3].reshape(-1, 9)
    flat = np.concatenate([candidates[:, :3, 3], rotations], 1)
    chosen, distance = [0], np.full(len(candidates), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(flat - flat[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return candidates[chosen]


def _add_noise(
    arm: np.ndarray,
    X: np.ndarray,
    Y: np.ndarray,
    mounting: Mounting,
    std: tuple[float, float],
    rng: np.random.Generator,
) -> PosePairs:
    """Return pairs with noisy detections."""
    exact = invert_transform(X) @ PosePairs.from_poses(arm, arm).motion(mounting) @ Y
    noise = rng.standard_normal((len(arm), 6)) * np.repeat(std, 3)
    marker = exact.copy()
    marker[:, :3, 3] += noise[:, :3]
    rotation = transform_from_rotvec(noise[:, 3:], noise[:, :3])[:, :3, :3]
    marker[:, :3, :3] = rotation @ exact[:, :3, :3]
    covariance = np.diag(np.repeat(std, 3) ** 2)
    return PosePairs(arm, marker, np.broadcast_to(covariance, (len(arm), 6, 6)))


def _bound(
    pairs: PosePairs, X: np.ndarray, Y: np.ndarray, mounting: Mounting, rng: np.random.Generator
) -> np.ndarray:
    """Return a random error (2,) of an efficient unbiased estimator, distance and angle."""
    cholesky = np.linalg.cholesky(pairs.covariance)
    bound = np.linalg.inv(fisher_information(X, pairs.motion(mounting), Y, cholesky))[:6, :6]
    return residual_norms(rng.multivariate_normal(np.zeros(6), bound)[None])[0]


def _opencv_solver(flag: str) -> Solver:
    """Return a method of OpenCV, which needs the inverse arm poses with eye_to_hand."""
    calibrate: Any = cv2.calibrateHandEye

    def solve(pairs: PosePairs, mounting: Mounting) -> np.ndarray:
        other: Mounting = "eye_in_hand" if mounting == "eye_to_hand" else "eye_to_hand"
        transforms = pairs.motion(other), pairs.T_camera_marker
        parts = [p for T in transforms for p in (list(T[:, :3, :3]), list(T[:, :3, 3]))]
        R, t = calibrate(*parts, method=getattr(cv2, flag))
        u, _, v = np.linalg.svd(np.asarray(R))  # OpenCV returns reflections for flipped detections
        T = np.eye(4)
        T[:3, :3] = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        T[:3, 3] = np.ravel(np.asarray(t))
        return T

    return solve
