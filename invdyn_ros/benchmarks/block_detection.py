"""How well a block is found in rendered pictures: a seed enters; errors beside OpenCV's leave.

A block looks the same at half the distance and half the size. So errors of position are given as
those of a block at 0.3 m that looks the same.
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
from invdyn_ros.benchmarks.rendered_blocks import block_scene, render_block_images
from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios
from invdyn_ros.config import Validated
from invdyn_ros.evaluation.plots.block_pose_errors import plot_block_pose_errors
from invdyn_ros.perception.aruco_cube import (
    FACES,
    MARKER_FRACTION,
    detect_markers_opencv,
    face_normals,
    marker_corners,
)
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig, BlockPose
from invdyn_ros.perception.rigid_transforms import rigid_transform, rotation_angle

DISTANCE = 0.3  # at which errors of position are given [m]
BINS = {  # of a marker's side [px]
    "20 to 36 px": (20.0, 36.0),
    "36 to 60 px": (36.0, 60.0),
    "over 60 px": (60.0, np.inf),
    "all over 36 px": (36.0, np.inf),
    "all over 20 px": (20.0, np.inf),
}
LEAST_FLIP = np.radians(5.0)  # an error of less is none to speak of
OURS, TRACKED = "invdyn", "invdyn, tracked"
PLAIN, SUBPIXEL = "OpenCV", "OpenCV subpixel"  # solvePnP of the largest marker
Found = tuple[np.ndarray, np.ndarray | None]  # pose (4, 4) and covariance (6, 6)
Finder = Callable[[np.ndarray], Found | None]


@dataclass(frozen=True)
class BlockDetectionBenchmarkConfig(Validated):
    """Error of a marked block's pose in rendered pictures, beside OpenCV."""

    blocks: PositiveInt = 1000
    """Blocks, each at another place and angle, of another size in the picture, in other light."""
    samples: Annotated[int, Field(ge=1, le=4)] = 1
    """Of the picture per pixel and axis: 1 as the simulator draws, jagged; a lens has many."""
    frames: PositiveInt = 1
    """Pictures of each block, which moves a little between them; from 2 on, the last is also found
    with what the pictures before it say."""
    noise: str = "default"
    """Level of light and image noise: none, default or hard."""
    seed: int = 0
    """Of blocks, light and noise."""
    picture: Path | None = None
    """PNG file to draw the errors in."""
    report: Path | None = None
    """JSON file to write."""

    def __post_init__(self) -> None:
        """Refuse an unknown level and a picture that cannot be written."""
        super().__post_init__()
        load_randomization(self.noise)
        if self.picture is not None and self.picture.suffix != ".png":
            raise ValueError(f"--picture {self.picture} is not a .png file")


class Score(NamedTuple):
    """How one finder did in one picture; nan where it found no block."""

    side: float
    """Of a marker [px]."""
    xy: float
    """Error across the camera's axis, at DISTANCE [m]."""
    z: float
    """Error along it, at DISTANCE [m]."""
    angle: float
    """[rad]."""
    flipped: float
    """1 if a face tilts to the wrong side."""
    ellipsoid: float
    """Share of errors that its covariance expects to be smaller."""
    seconds: float
    """That it took."""


def measure_block_detection(config: BlockDetectionBenchmarkConfig) -> dict[str, Any]:
    """Return the report; draw the picture where one is wanted."""
    scene, about = block_scene(), machine_info(1)
    k = scene.camera.intrinsics()
    detector = BlockDetector(BlockDetectorConfig(scene.block_size), k)
    finders: dict[str, Finder] = {
        OURS: lambda image: _first(detector.detect(image)),
        PLAIN: lambda image: _opencv(image, scene.block_size, k, subpixel=False),
        SUBPIXEL: lambda image: _opencv(image, scene.block_size, k, subpixel=True),
    }
    scores: dict[str, list[Score]] = {name: [] for name in finders}
    past: list[BlockPose] = []

    def track(image: np.ndarray) -> Found | None:
        past[:] = detector.detect(image, past)
        return _first(past)

    draws = config.blocks, config.frames, config.seed, config.noise, config.samples
    for picture in render_block_images(*draws):
        if picture.frame == 0:
            past.clear()
        due: dict[str, Finder] = {TRACKED: track} if config.frames > 1 else {}
        last = picture.frame == config.frames - 1
        for name, find in (due | (finders if last else {})).items():
            begin = time.perf_counter()
            found = find(picture.image)
            seconds = time.perf_counter() - begin
            if last:
                score = _score(found, picture.T_camera_block, picture.side, seconds)
                scores.setdefault(name, []).append(score)
    tables = {name: np.array(of) for name, of in scores.items()}
    if config.picture is not None:
        errors = {n: (t[:, 0], np.degrees(t[:, 3]), 1e3 * t[:, 1]) for n, t in tables.items()}
        plot_block_pose_errors(errors, config.picture)
    return _report(config, about, tables)


def _report(
    config: BlockDetectionBenchmarkConfig, about: dict[str, Any], tables: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    rows = {
        f"{name}, {size}": _row(of[(of[:, 0] >= low) & (of[:, 0] < high)])
        for name, of in tables.items()
        for size, (low, high) in BINS.items()
    }
    rows = {name: row for name, row in rows.items() if row}
    return benchmark_report(
        "block_detection",
        unit=f"mm at {DISTANCE} m, deg, %, ms",
        machine=about,
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
            f"{OURS} to {peer}, {size}": ratios(
                rows[f"{OURS}, {size}"], rows[f"{peer}, {size}"], ("xy p95", "z p95", "deg p95")
            )
            for peer in (PLAIN, SUBPIXEL)
            for size in BINS
            if {f"{OURS}, {size}", f"{peer}, {size}"} <= set(rows)
        },
    )


def _row(scores: np.ndarray) -> Row:
    """Return the figures of one finder in pictures (n, 7); empty if it found no block."""
    found = scores[~np.isnan(scores[:, 1])]
    if not len(found):
        return {}
    _, xy, z, angle, flipped, ellipsoid, _ = found.T
    figures = {"n": len(scores), "found": 100 * len(found) / len(scores)}
    for name, values in (("xy", 1e3 * xy), ("z", 1e3 * z), ("deg", np.degrees(angle))):
        figures |= {f"{name} p{q}": np.percentile(values, q) for q in (50, 95)}
    interval = binomtest(int(flipped.sum()), len(found)).proportion_ci(method="wilson")
    figures |= {"flips": 100 * flipped.mean()}
    figures |= {"flips low": 100 * interval.low, "flips high": 100 * interval.high}
    if not np.isnan(ellipsoid).any():
        figures |= {f"in {q}%": 100 * np.mean(ellipsoid < q / 100) for q in (50, 95)}
    figures["ms"] = 1e3 * np.median(scores[:, 6])
    return {key: round(float(value), 4) for key, value in figures.items()}


def _score(found: Found | None, truth: np.ndarray, side: float, seconds: float) -> Score:
    if found is None:
        nan = np.nan
        return Score(side, nan, nan, nan, nan, nan, seconds)
    T, covariance = found
    rotation = Rotation.from_matrix(T[:3, :3] @ truth[:3, :3].T).as_rotvec()
    error = np.concatenate([T[:3, 3] - truth[:3, 3], rotation])
    scaled = error[:3] * DISTANCE / truth[2, 3]
    share = np.nan
    if covariance is not None:
        share = chi2.cdf(error @ np.linalg.solve(covariance, error), df=6)
    return Score(
        side,
        float(np.linalg.norm(scaled[:2])),
        float(abs(scaled[2])),
        float(np.linalg.norm(rotation)),
        float(flipped(T, truth)),
        float(share),
        seconds,
    )


def flipped(T: np.ndarray, truth: np.ndarray) -> bool:
    """Whether a pose (4, 4) is nearer to one with a face tilted to the wrong side than to truth.

    From afar a face looks the same when it is tilted as much to the other side of the line of
    sight, which is how one marker misleads.
    """
    error = rotation_angle(T, truth)
    if error < LEAST_FLIP:
        return False
    sight = -truth[:3, 3] / np.linalg.norm(truth[:3, 3])
    normals = face_normals() @ truth[:3, :3].T
    for normal in normals[normals @ sight > 0]:
        axis = np.cross(normal, sight)  # as long as the sine of the tilt
        sine = np.linalg.norm(axis)
        if sine < 1e-9:
            continue
        tilt = np.arctan2(sine, normal @ sight)
        mirrored = Rotation.from_rotvec(2 * tilt * axis / sine).as_matrix() @ truth[:3, :3]
        if rotation_angle(T, rigid_transform(mirrored, truth[:3, 3])) < error:
            return True
    return False


def _first(poses: Sequence[BlockPose]) -> Found | None:
    return (poses[0].T_camera_block, poses[0].covariance) if poses else None


def _opencv(image: np.ndarray, block_size: float, k: np.ndarray, subpixel: bool) -> Found | None:
    """Pose of block 0 from its largest marker, as most programs get it."""
    markers = detect_markers_opencv(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), subpixel)
    mine = np.flatnonzero(markers.ids < FACES)
    if not len(mine):
        return None
    areas = [cv2.contourArea(markers.corners[i].astype(np.float32)) for i in mine]
    largest = mine[int(np.argmax(areas))]
    half = block_size * MARKER_FRACTION / 2
    square = half * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], float)
    quad, flags = markers.corners[largest], cv2.SOLVEPNP_IPPE_SQUARE
    solved, r, t = cv2.solvePnP(square, quad, k, np.zeros(5), flags=flags)
    if not solved:
        return None
    corners = marker_corners(block_size)[markers.ids[largest]]
    x, y = (corners[1] - corners[0]) / (2 * half), (corners[1] - corners[2]) / (2 * half)
    T_block_face = rigid_transform(np.column_stack([x, y, np.cross(x, y)]), corners.mean(axis=0))
    return rigid_transform(cv2.Rodrigues(r)[0], t.ravel()) @ np.linalg.inv(T_block_face), None
