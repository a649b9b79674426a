"""Accuracy of block detection in rendered images, compared to OpenCV.

A block of half the size looks the same at half the distance. Position errors are therefore scaled
to a distance of 0.3 m.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
from pydantic import Field, PositiveInt
from scipy.spatial.transform import Rotation
from scipy.stats import binomtest, chi2

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.rendered_blocks import block_scene, render_block_images
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios
from invdyn_ros.evaluation.plots.block_pose_errors import plot_block_pose_errors
from invdyn_ros.perception.aruco_cube import (
    MARKER_FRACTION,
    detect_markers_opencv,
    face_normals,
    marker_corners,
)
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig, BlockPose
from invdyn_ros.perception.rigid_transforms import rigid_transform, rotation_angle
from invdyn_ros.robots.block_markers import FACES

DISTANCE = 0.3  # to which position errors are scaled [m]
BINS = {  # of a marker's side [px]
    "20 to 36 px": (20.0, 36.0),
    "36 to 60 px": (36.0, 60.0),
    "over 60 px": (60.0, np.inf),
    "all over 36 px": (36.0, np.inf),
    "all over 20 px": (20.0, np.inf),
}
MIN_FLIP_ANGLE = np.radians(5.0)  # poses with a smaller error are not flipped
INVDYN, TRACKED = "invdyn", "invdyn, tracked"
OPENCV, OPENCV_SUBPIXEL = "OpenCV", "OpenCV subpixel"  # solvePnP of the largest marker
Estimate = tuple[np.ndarray, np.ndarray | None]  # pose (4, 4) and covariance (6, 6)
Estimator = Callable[[np.ndarray], Estimate | None]


@dataclass(frozen=True)
class BlockDetectionBenchmarkConfig(BenchmarkOptions):
    """Error of block poses from rendered images, compared to OpenCV."""

    blocks: PositiveInt = 1000
    """Number of blocks, each with random pose, size in the image, and lighting."""
    samples: Annotated[int, Field(ge=1, le=4)] = 1
    """Rendered samples per pixel and axis: 1 as in the simulator, with jagged edges."""
    frames: PositiveInt = 1
    """Images of each block, which moves a little in between; with several, the last one is also
    evaluated with tracking."""
    noise: str = "default"
    """Domain randomization level of lighting and image noise: none, default or hard."""
    seed: int = 0
    """Seed of blocks, lighting and noise."""
    plot: Path | None = None
    """PNG file for a plot of the errors."""

    def __post_init__(self) -> None:
        """Check the domain randomization level and the name of the plot."""
        super().__post_init__()
        load_randomization(self.noise)
        if self.plot is not None and self.plot.suffix != ".png":
            raise ValueError(f"--plot {self.plot} is not a .png file")


class BlockPoseEvaluation(NamedTuple):
    """Error of one estimator in one image; NaN without a detection."""

    side: float
    """Side of a marker in the image [px]."""
    xy: float
    """Lateral position error, scaled to DISTANCE [m]."""
    z: float
    """Depth error, scaled to DISTANCE [m]."""
    angle: float
    """Rotation error [rad]."""
    flipped: float
    """1 if a face is tilted to the wrong side, else 0."""
    ellipsoid: float
    """Probability of a smaller error according to the covariance."""
    seconds: float
    """Duration [s]."""


def measure_block_detection(config: BlockDetectionBenchmarkConfig) -> dict[str, Any]:
    """Run the benchmark and return the report."""
    scene, machine = block_scene(), machine_info(1)
    intrinsics = scene.camera.intrinsics()
    detector = BlockDetector(BlockDetectorConfig(scene.block_size), intrinsics)
    estimators: dict[str, Estimator] = {
        INVDYN: lambda image: _first(detector.detect(image)),
        OPENCV: lambda image: _opencv(image, scene.block_size, intrinsics, subpixel=False),
        OPENCV_SUBPIXEL: lambda image: _opencv(image, scene.block_size, intrinsics, subpixel=True),
    }
    results: dict[str, list[BlockPoseEvaluation]] = {name: [] for name in estimators}
    previous: list[BlockPose] = []

    def track(image: np.ndarray) -> Estimate | None:
        previous[:] = detector.detect(image, previous)
        return _first(previous)

    settings = config.blocks, config.frames, config.seed, config.noise, config.samples
    for sample in render_block_images(*settings):
        if sample.frame == 0:
            previous.clear()
        active: dict[str, Estimator] = {TRACKED: track} if config.frames > 1 else {}
        last = sample.frame == config.frames - 1
        for name, estimate in (active | (estimators if last else {})).items():
            start = time.perf_counter()
            pose = estimate(sample.image)
            seconds = time.perf_counter() - start
            if last:
                result = _evaluate(pose, sample.T_camera_block, sample.side, seconds)
                results.setdefault(name, []).append(result)
    tables = {name: np.array(rows) for name, rows in results.items()}
    if config.plot is not None:
        errors = {n: (t[:, 0], np.degrees(t[:, 3]), 1e3 * t[:, 1]) for n, t in tables.items()}
        plot_block_pose_errors(errors, config.plot)
    return _report(config, machine, tables)


def _report(
    config: BlockDetectionBenchmarkConfig,
    machine: dict[str, Any],
    tables: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    rows = {
        f"{name}, {size}": _row(table[(table[:, 0] >= low) & (table[:, 0] < high)])
        for name, table in tables.items()
        for size, (low, high) in BINS.items()
    }
    rows = {name: row for name, row in rows.items() if row}
    return benchmark_report(
        "block_detection",
        unit=f"mm at {DISTANCE} m, deg, %, ms",
        machine=machine,
        settings={
            "blocks": config.blocks,
            "frames": config.frames,
            "samples": config.samples,
            "noise": config.noise,
            "seed": config.seed,
            "opencv": cv2.__version__,
        },
        rows=rows,
        ratio={
            f"{INVDYN} to {baseline}, {size}": ratios(
                rows[f"{INVDYN}, {size}"],
                rows[f"{baseline}, {size}"],
                ("xy p95", "z p95", "deg p95"),
            )
            for baseline in (OPENCV, OPENCV_SUBPIXEL)
            for size in BINS
            if {f"{INVDYN}, {size}", f"{baseline}, {size}"} <= set(rows)
        },
    )


def _row(table: np.ndarray) -> Row:
    """Return the statistics of the results (n, 7) of one estimator, empty without detections."""
    detected = table[~np.isnan(table[:, 1])]
    if not len(detected):
        return {}
    _, xy, z, angle, flipped, ellipsoid, _ = detected.T
    row = {"n": len(table), "detected": 100 * len(detected) / len(table)}
    for name, values in (("xy", 1e3 * xy), ("z", 1e3 * z), ("deg", np.degrees(angle))):
        row |= {f"{name} p{q}": np.percentile(values, q) for q in (50, 95)}
    interval = binomtest(int(flipped.sum()), len(detected)).proportion_ci(method="wilson")
    row |= {"flips": 100 * flipped.mean()}
    row |= {"flips low": 100 * interval.low, "flips high": 100 * interval.high}
    if not np.isnan(ellipsoid).any():
        row |= {f"in {q}%": 100 * np.mean(ellipsoid < q / 100) for q in (50, 95)}
    row["ms"] = 1e3 * np.median(table[:, 6])
    return {key: round(float(value), 4) for key, value in row.items()}


def _evaluate(
    estimate: Estimate | None, T_true: np.ndarray, side: float, seconds: float
) -> BlockPoseEvaluation:
    if estimate is None:
        nan = np.nan
        return BlockPoseEvaluation(side, nan, nan, nan, nan, nan, seconds)
    T, covariance = estimate
    rotation = Rotation.from_matrix(T[:3, :3] @ T_true[:3, :3].T).as_rotvec()
    error = np.concatenate([T[:3, 3] - T_true[:3, 3], rotation])
    scaled = error[:3] * DISTANCE / T_true[2, 3]
    probability = np.nan
    if covariance is not None:
        probability = chi2.cdf(error @ np.linalg.solve(covariance, error), df=6)
    return BlockPoseEvaluation(
        side,
        float(np.linalg.norm(scaled[:2])),
        float(abs(scaled[2])),
        float(np.linalg.norm(rotation)),
        float(is_flipped(T, T_true)),
        float(probability),
        seconds,
    )


def is_flipped(T: np.ndarray, T_true: np.ndarray) -> bool:
    """Return whether a pose (4, 4) is nearer to one with a face tilted to the wrong side.

    A distant face looks the same when it is tilted to the other side of the line of sight, so the
    pose of a single marker is ambiguous.
    """
    error = rotation_angle(T, T_true)
    if error < MIN_FLIP_ANGLE:
        return False
    view_direction = -T_true[:3, 3] / np.linalg.norm(T_true[:3, 3])
    normals = face_normals() @ T_true[:3, :3].T
    for normal in normals[normals @ view_direction > 0]:
        axis = np.cross(normal, view_direction)  # as long as the sine of the tilt
        sine = np.linalg.norm(axis)
        if sine < 1e-9:
            continue
        tilt = np.arctan2(sine, normal @ view_direction)
        mirrored = Rotation.from_rotvec(2 * tilt * axis / sine).as_matrix() @ T_true[:3, :3]
        if rotation_angle(T, rigid_transform(mirrored, T_true[:3, 3])) < error:
            return True
    return False


def _first(poses: Sequence[BlockPose]) -> Estimate | None:
    return (poses[0].T_camera_block, poses[0].covariance) if poses else None


def _opencv(
    image: np.ndarray, block_size: float, intrinsics: np.ndarray, subpixel: bool
) -> Estimate | None:
    """Return the pose of block 0 from its largest marker with `solvePnP`."""
    markers = detect_markers_opencv(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), subpixel)
    indices = np.flatnonzero(markers.ids < FACES)
    if not len(indices):
        return None
    areas = [cv2.contourArea(markers.corners[i].astype(np.float32)) for i in indices]
    largest = indices[int(np.argmax(areas))]
    half = block_size * MARKER_FRACTION / 2
    square = half * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], float)
    quad, flags = markers.corners[largest], cv2.SOLVEPNP_IPPE_SQUARE
    success, rvec, tvec = cv2.solvePnP(square, quad, intrinsics, np.zeros(5), flags=flags)
    if not success:
        return None
    corners = marker_corners(block_size)[markers.ids[largest]]
    x, y = (corners[1] - corners[0]) / (2 * half), (corners[1] - corners[2]) / (2 * half)
    T_block_face = rigid_transform(np.column_stack([x, y, np.cross(x, y)]), corners.mean(axis=0))
    T_camera_face = rigid_transform(cv2.Rodrigues(rvec)[0], tvec.ravel())
    return T_camera_face @ np.linalg.inv(T_block_face), None
