"""Accuracy of block detection in rendered images, compared to OpenCV.

A block of half the size looks the same at half the distance. Position errors are therefore scaled
to a distance of 0.3 m.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import Field, PositiveInt

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions, Measurement
from invdyn_ros.benchmarks.block_pose_evaluation import (
    DISTANCE,
    INVDYN,
    OPENCV,
    OPENCV_SUBPIXEL,
    TRACKED,
    BlockPoseEvaluation,
    Estimate,
    Estimator,
    estimate_opencv,
    evaluate,
    first_pose,
    statistics,
)
from invdyn_ros.benchmarks.photographed_blocks import BLOCK_SIZE, CONDITIONS, photograph_blocks
from invdyn_ros.benchmarks.rendered_blocks import (
    BlockImageSample,
    block_scene,
    render_block_images,
)
from invdyn_ros.benchmarks.report import Row, ratios
from invdyn_ros.evaluation.plots.block_pose_errors import plot_block_pose_errors
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig, BlockPose

ALL = "all"
RATIO_COLUMNS = "xy p95", "z p95", "deg p95"
BINS = {  # of a marker's side [px]
    "20 to 36 px": (20.0, 36.0),
    "36 to 60 px": (36.0, 60.0),
    "over 60 px": (60.0, np.inf),
    "all over 36 px": (36.0, np.inf),
    "all over 20 px": (20.0, np.inf),
}


@dataclass(frozen=True)
class BlockDetectionBenchmarkConfig(BenchmarkOptions):
    """Error of block poses from rendered images, compared to OpenCV."""

    blocks: PositiveInt = 1000
    """Number of blocks (of each condition), each with random pose, size and lighting."""
    samples: Annotated[int, Field(ge=1, le=4)] = 1
    """Rendered samples per pixel and axis: 1 as in the simulator, with jagged edges."""
    frames: PositiveInt = 1
    """Images of each block, which moves a little in between; with several, the last one is also
    evaluated with tracking."""
    noise: str = "default"
    """Domain randomization level of lighting and image noise: none, default or hard."""
    conditions: Sequence[str] = ()
    """Photograph the blocks under these conditions instead, through real lenses, blurred, with
    little light or partly hidden; `all` are all of them."""
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
        if unknown := sorted({*self.conditions} - {ALL, *CONDITIONS}):
            names = ", ".join([ALL, *CONDITIONS])
            raise ValueError(f"--conditions '{unknown[0]}' is unknown; known are {names}")

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the conditions, keys of CONDITIONS."""
        return tuple(CONDITIONS) if ALL in self.conditions else tuple(self.conditions)


def measure_block_detection(config: BlockDetectionBenchmarkConfig) -> dict[str, Any]:
    """Run the benchmark and return the report."""
    measured = config.begin("block_detection", f"mm at {DISTANCE} m, deg, %, ms")
    measured.settings = {
        "blocks": config.blocks,
        "frames": config.frames,
        "samples": config.samples,
        "noise": config.noise,
        "conditions": list(config.condition_names),
        "seed": config.seed,
        "opencv": cv2.__version__,
    }
    if config.conditions:
        return _measure_conditions(config, measured)
    settings = config.blocks, config.frames, config.seed, config.noise, config.samples
    block_size = block_scene().block_size
    tables = compare_estimators(render_block_images(*settings), block_size, config.frames)
    _plot(config.plot, tables)
    rows = {
        f"{name}, {size}": statistics(table[(table[:, 0] >= low) & (table[:, 0] < high)])
        for name, table in tables.items()
        for size, (low, high) in BINS.items()
    }
    measured.rows = rows = {name: row for name, row in rows.items() if row}
    ratio = {
        f"{INVDYN} to {baseline}, {size}": ratios(
            rows[f"{INVDYN}, {size}"], rows[f"{baseline}, {size}"], RATIO_COLUMNS
        )
        for baseline in (OPENCV, OPENCV_SUBPIXEL)
        for size in BINS
        if {f"{INVDYN}, {size}", f"{baseline}, {size}"} <= set(rows)
    }
    return measured.report(ratio=ratio)


def _measure_conditions(
    config: BlockDetectionBenchmarkConfig, measured: Measurement
) -> dict[str, Any]:
    """Return the report of photographed blocks under each condition.

    Ratios are those of the images in which both methods detected the block.
    """
    ratio: dict[str, Row] = {}
    everything: dict[str, list[np.ndarray]] = {}
    for condition in config.condition_names:
        samples = photograph_blocks(condition, config.blocks, config.seed, config.frames)
        tables = compare_estimators(samples, BLOCK_SIZE, config.frames)
        for name, table in tables.items():
            measured.rows[f"{name}, {condition}"] = statistics(table)
            everything.setdefault(name, []).append(table)
        ours = tables[INVDYN]
        for baseline in (OPENCV, OPENCV_SUBPIXEL):
            peer = tables[baseline]
            both = ~np.isnan(ours[:, 1]) & ~np.isnan(peer[:, 1])
            if both.any():
                pair = statistics(ours[both]), statistics(peer[both])
                columns = ("xy p50", *RATIO_COLUMNS, "ms")
                ratio[f"{INVDYN} to {baseline}, {condition}"] = ratios(*pair, columns)
    _plot(config.plot, {name: np.concatenate(tables) for name, tables in everything.items()})
    return measured.report(ratio=ratio)


def compare_estimators(
    samples: Iterable[BlockImageSample], block_size: float, frames: int
) -> dict[str, np.ndarray]:
    """Estimate the pose in the last image of each block with every method.

    Args:
        samples: images of blocks.
        block_size: side of the blocks [m].
        frames: number of images of each block; with several, the detector also tracks it.

    Returns:
        Method -> one row for each block, see `BlockPoseEvaluation`.
    """
    results: dict[str, list[BlockPoseEvaluation]] = {}
    previous: list[BlockPose] = []
    for sample in samples:
        lens = sample.lens
        detector = BlockDetector(BlockDetectorConfig(block_size), lens)
        if sample.frame == 0:
            previous.clear()

        def track(image: np.ndarray, detector: BlockDetector = detector) -> Estimate | None:
            poses = detector.detect(image, previous)
            previous[:] = poses or previous
            return first_pose(poses)

        estimators: dict[str, Estimator] = {TRACKED: track} if frames > 1 else {}
        if last := sample.frame == frames - 1:
            estimators |= _single_image_estimators(detector, block_size)
        for name, estimate in estimators.items():
            start = time.perf_counter()
            pose = estimate(sample.image)
            seconds = time.perf_counter() - start
            if last:
                result = evaluate(pose, sample.T_camera_block, sample.side, seconds)
                results.setdefault(name, []).append(result)
    return {name: np.array(rows) for name, rows in results.items()}


def _single_image_estimators(detector: BlockDetector, block_size: float) -> dict[str, Estimator]:
    lens = detector.intrinsics
    return {
        INVDYN: lambda image: first_pose(detector.detect(image)),
        OPENCV: lambda image: estimate_opencv(image, block_size, lens, subpixel=False),
        OPENCV_SUBPIXEL: lambda image: estimate_opencv(image, block_size, lens, subpixel=True),
    }


def _plot(file: Path | None, tables: Mapping[str, np.ndarray]) -> None:
    if file is not None:
        errors = {n: (t[:, 0], np.degrees(t[:, 3]), 1e3 * t[:, 1]) for n, t in tables.items()}
        plot_block_pose_errors(errors, file)
