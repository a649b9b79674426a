"""Rendered training images of the block pose network, with labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import PositiveInt

from invdyn_ros.arms.domain_randomization import (
    DomainRandomization,
    randomize_camera,
    randomize_scene,
)
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.config import Fraction, Validated
from invdyn_ros.data.files import reading
from invdyn_ros.grasp.estimation.block_estimate import upright_yaw
from invdyn_ros.grasp.estimation.block_pose_estimator import landmarks, robot_state_features
from invdyn_ros.grasp.estimation.block_pose_network import ROBOT_STATE_DIM
from invdyn_ros.grasp.pose_training.sampled_states import StateSamples
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, block_pose
from invdyn_ros.typing import Array
from invdyn_ros.workers import JobExecutor, parallel_map

IMAGES_FILE, LABELS_FILE = "images.npy", "labels.npy"
IMAGES_PER_JOB = 1000  # at least one camera
ON_TABLE_TOLERANCE = 0.005  # [m] a block that is higher over the table does not lie on it
LOW_TOOL_HEIGHT = 0.12  # [m] below it, the block is not resampled close to the tool
MIN_TOOL_DISTANCE = 0.07  # [m] from a low tool to a resampled block
HIGH_TOOL_HEIGHT = 0.15  # [m] above it, the joints are perturbed
JOINT_PERTURBATION_STD = 0.1  # [rad]
BLOCK_AREA_MARGIN = 0.03  # [m] by which sampled blocks may lie outside the block area
SAMPLING_STREAM = 12  # stream of random numbers for sampled states and block poses


LabelledImage = tuple[NDArray[np.uint8], tuple[Any, ...]]  # (H, H, 3), and its labels


@dataclass(frozen=True)
class DatasetRenderingConfig(Validated):
    """Content of the rendered images.

    Attributes:
        images_per_camera: number of images with the same camera, light and colours.
        home_fraction: fraction of the images in which the arm is at its home position.
        resample_block_fraction: fraction of the other images in which the block is moved to a
            random pose.
        default_noise_fraction: fraction of the cameras with the domain randomization level
            `default`; the others have `hard`.
    """

    images_per_camera: PositiveInt = 8
    home_fraction: Fraction = 0.3
    resample_block_fraction: Fraction = 0.6
    default_noise_fraction: Fraction = 0.6


def labels_dtype(num_keypoints: int, robot_state_dim: int) -> np.dtype[Any]:
    """Return the structured type of the labels of one image.

    The keypoints are the centre of the block's bottom face and the landmarks, in image
    coordinates from -1 to 1.
    """
    return np.dtype(
        [
            ("robot_state", np.float32, robot_state_dim),
            ("position", np.float32, 2),  # [m]
            ("yaw", np.float32),  # [rad]
            ("on_table", np.float32),  # 1: the block lies on the table, else 0
            ("keypoints", np.float32, (num_keypoints, 2)),
            ("noise_level", np.uint8),  # 0: default, 1: hard
            ("at_home", np.uint8),  # 1: the arm is at its home position, else 0
        ]
    )


class RenderedImages(NamedTuple):
    """N labelled images on disk.

    Attributes:
        images: (N, H, H, 3) uint8 RGB, memory-mapped.
        labels: (N,) structured array of type `labels_dtype`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[Any]


def load_rendered_images(directory: Path) -> RenderedImages | None:
    """Read the images that were rendered into a folder; None if they are not complete."""
    if not (directory / LABELS_FILE).is_file():
        return None
    with reading(directory, "folder of rendered images", "delete it"):
        images = np.load(directory / IMAGES_FILE, mmap_mode="r")
        labels = np.load(directory / LABELS_FILE)
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images have {len(labels)} labels")
    return RenderedImages(images, labels)


class DatasetRenderer:
    """Render labelled images of sampled states with randomized cameras, lights and colours.

    Simulation is slow and rendering takes a millisecond, so there are only few episodes, and each
    of their states is rendered many times with other randomization and other block poses.
    """

    def __init__(
        self,
        robot: Robot,
        scene: Scene,
        states: StateSamples,
        pixels: int,
        config: DatasetRenderingConfig,
    ) -> None:
        """Create a renderer.

        Args:
            robot: the arm, with a gripper.
            scene: nominal scene of the arm.
            states: states to render.
            pixels: side of the square images [px].
            config: content of the images.
        """
        self.robot = replace(robot)  # a copy without MuJoCo model, which cannot be pickled
        self.scene, self.states = scene, states
        self.pixels, self.config = pixels, config
        self.renderer: SceneRenderer | None = None
        self.landmarks = np.insert(landmarks(scene), 2, 0.0, axis=1)  # (L, 3)

    def close(self) -> None:
        """Free the renderer."""
        if self.renderer is not None:
            self.renderer.close()
            self.renderer = None

    def render(
        self,
        directory: Path,
        count: int,
        seed: int,
        noise_levels: tuple[DomainRandomization, DomainRandomization],
        callback: Callable[[int], None] = lambda done: None,
        executor: JobExecutor | None = None,
    ) -> RenderedImages:
        """Render images into a folder; they do not depend on the executor.

        Args:
            directory: folder to write to.
            count: number of images.
            seed: seed of states, block poses and randomization.
            noise_levels: domain randomization of the cameras with noise default and with hard.
            callback: called with the number of images rendered so far.
            executor: runs the jobs; None: this process.
        """
        directory.mkdir(parents=True, exist_ok=True)
        shape = (count, self.pixels, self.pixels, 3)
        images = open_memmap(directory / IMAGES_FILE, "w+", np.uint8, shape)
        labels = np.zeros(count, labels_dtype(len(self.landmarks) + 1, ROBOT_STATE_DIM))
        step = max(IMAGES_PER_JOB // self.config.images_per_camera, 1)
        step *= self.config.images_per_camera
        parts = [range(count)[first : first + step] for first in range(0, count, step)]
        run = partial(_render_part, self, seed, noise_levels)
        for part, rendered in zip(parts, parallel_map(run, parts, executor), strict=True):
            for k, (image, label) in zip(part, rendered, strict=True):
                images[k], labels[k] = image, label
            callback(part.stop)
        images.flush()
        np.save(directory / f".{LABELS_FILE}", labels)
        # the labels are written last and atomically: they mark the images as complete
        (directory / f".{LABELS_FILE}").replace(directory / LABELS_FILE)
        return RenderedImages(images, labels)

    def render_camera(
        self,
        first: int,
        last: int,
        seed: int,
        noise_levels: tuple[DomainRandomization, DomainRandomization],
    ) -> Iterator[LabelledImage]:
        """Yield the images of one camera with their labels.

        Args:
            first: index of the first image, which also selects the camera's random numbers.
            last: index after the last image.
            seed: seed of the dataset.
            noise_levels: domain randomization of noise default and hard.
        """
        rng = np.random.default_rng([seed, first, SAMPLING_STREAM])
        noise_level = int(rng.random() >= self.config.default_noise_fraction)
        noise = noise_levels[noise_level]
        scene = randomize_camera(
            randomize_scene(self.scene, noise, seed, first), noise, seed, first, self.pixels
        )
        if self.renderer is None:
            self.renderer = SceneRenderer(self.robot, scene, first)
        self.renderer.set_scene(scene, first)
        for _ in range(first, last):
            q, measured_q, opening, T_base_block, at_home = self._sample(rng)
            image = self.renderer.render(q, opening, T_base_block[None])
            bottom = T_base_block[:3, 3] - [0, 0, self.scene.block_size / 2]
            points = np.vstack([bottom, self.landmarks])
            keypoints = (scene.camera.project(points) + 0.5) * 2 / self.pixels - 1
            robot_state = robot_state_features(self.robot, self.scene, measured_q, opening)
            yaw, on_table = upright_yaw(T_base_block[:3, :3]), self._is_on_table(T_base_block)
            position = T_base_block[:2, 3]
            yield image, (robot_state, position, yaw, on_table, keypoints, noise_level, at_home)

    def _is_on_table(self, T_base_block: Array) -> bool:
        return bool(T_base_block[2, 3] < self.scene.block_size / 2 + ON_TABLE_TOLERANCE)

    def _sample(self, rng: np.random.Generator) -> tuple[Array, Array, float, Array, bool]:
        """Return true and measured joints, opening, block pose, whether the arm is at home."""
        config, gripper = self.config, self.robot.gripper
        assert gripper is not None
        if rng.random() < config.home_fraction:
            T_base_block = self._sample_block_pose(rng)
            return self.robot.home, self.robot.home, gripper.max_opening, T_base_block, True
        k = int(rng.integers(len(self.states.q)))
        q, measured_q, opening, T_base_block = (part[k] for part in self.states)
        tool = self.robot.forward_kinematics(q)[:3, 3]
        on_table = self._is_on_table(T_base_block)
        if on_table and tool[2] > HIGH_TOOL_HEIGHT:
            perturbation = JOINT_PERTURBATION_STD * rng.standard_normal(self.robot.n)
            q, measured_q = q + perturbation, measured_q + perturbation
            tool = self.robot.forward_kinematics(q)[:3, 3]
        if on_table and rng.random() < config.resample_block_fraction:
            resampled = self._sample_block_pose(rng)
            distance = np.linalg.norm(resampled[:2, 3] - tool[:2])
            if tool[2] > LOW_TOOL_HEIGHT or distance > MIN_TOOL_DISTANCE:
                T_base_block = resampled
        return q, measured_q, float(opening), T_base_block, False

    def _sample_block_pose(self, rng: np.random.Generator) -> Array:
        """Return a random pose (4, 4) of a block on the table, in its area or just outside it."""
        spans = (self.scene.area_x, self.scene.area_y)
        x, y = (
            rng.uniform(low - BLOCK_AREA_MARGIN, high + BLOCK_AREA_MARGIN) for low, high in spans
        )
        return block_pose(x, y, self.scene.block_size / 2, rng.uniform(-np.pi, np.pi))


def _render_part(
    renderer: DatasetRenderer,
    seed: int,
    noise_levels: tuple[DomainRandomization, DomainRandomization],
    numbers: range,
) -> list[LabelledImage]:
    """Return the images of some whole cameras with their labels."""
    step = renderer.config.images_per_camera
    with closing(renderer):
        return [
            rendered
            for first in numbers[::step]
            for rendered in renderer.render_camera(
                first, min(first + step, numbers.stop), seed, noise_levels
            )
        ]
