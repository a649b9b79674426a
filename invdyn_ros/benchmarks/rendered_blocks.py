"""Rendered images of blocks at random poses in front of the simulated camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.domain_randomization import load_randomization, randomize_scene
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.perception.aruco_cube import MARKER_FRACTION
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.perception.rigid_transforms import rigid_transform
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import Scene

ARM = "ur5"  # arm whose block, lens, lighting and image noise are used
# table and wall are behind the block
CAMERA_POSITION, CAMERA_TARGET = (1.0, 0.0, 1.2), (2.0, 0.0, 0.0)  # [m]
SIDES = 20.0, 120.0  # of a marker seen from the front [px]
MARGIN = 1.2  # from the block's center to the edge of the image [sides of a marker]
TRANSLATION_STD, ROTATION_STD = 0.002, 0.035  # between two images, each axis [m], [rad]


class BlockImageSample(NamedTuple):
    """An image of a block and its true pose."""

    image: np.ndarray
    """(480, 640, 3) uint8 RGB."""
    T_camera_block: np.ndarray
    """(4, 4) true pose of the block."""
    side: float
    """Side of a marker seen from the front at the distance of the block's center [px]."""
    lens: CameraIntrinsics
    """Intrinsics of the camera."""
    frame: int
    """Index of the image of this block."""


def block_scene() -> Scene:
    """Return a scene with the camera pointing away from the arm."""
    scene = load_scene(ARM)
    camera = PinholeCamera.look_at(CAMERA_POSITION, CAMERA_TARGET, scene.camera.focal)
    return replace(scene, camera=camera)


def render_block_images(
    blocks: int, frames: int, seed: int, noise: str = "default", samples: int = 1
) -> Iterator[BlockImageSample]:
    """Render blocks at random positions and orientations, with log-uniform size in the image.

    Args:
        blocks: number of blocks, each with random lighting.
        frames: number of images of each block, which moves a little in between.
        seed: seed of poses, lighting and image noise.
        noise: domain randomization level of lighting and image noise.
        samples: rendered samples per pixel and axis; the simulator renders one.
    """
    scene, robot, level = block_scene(), load_robot(ARM), load_randomization(noise)
    pixel_std, lens = scene.pixel_noise * level.pixel, scene.camera
    fine = PinholeCamera(
        lens.T_base_camera, samples * lens.focal, samples * lens.width, samples * lens.height
    )
    fine_scene = replace(scene, camera=fine, blur=0.0, pixel_noise=0.0)
    rng, pixel_rng = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    intrinsics = CameraIntrinsics(lens.intrinsics(), width=lens.width, height=lens.height)
    with SceneRenderer(robot, fine_scene, seed) as camera:
        for block in range(blocks):
            light = randomize_scene(scene, level, seed, block).light
            camera.scene = replace(fine_scene, light=light)
            T, side = sample_block_pose(scene, rng)
            for frame in range(frames):
                rendered = camera.render(robot.home, 0.0, (lens.T_base_camera @ T)[None])
                size = (lens.width, lens.height)
                blurred = cv2.resize(rendered, size, interpolation=cv2.INTER_AREA)
                blurred = cv2.GaussianBlur(blurred, (0, 0), scene.blur)
                noisy = blurred + pixel_rng.normal(0.0, pixel_std, blurred.shape)
                image = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
                yield BlockImageSample(image, T, side, intrinsics, frame)
                T = move_block(T, rng)


def move_block(T: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the pose (4, 4) of a block that was at T (4, 4) in the previous image."""
    return T @ rigid_transform(
        Rotation.from_rotvec(ROTATION_STD * rng.standard_normal(3)).as_matrix(),
        TRANSLATION_STD * rng.standard_normal(3),
    )


def sample_block_pose(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return a pose (4, 4) in front of the camera, and the side of a marker there [px]."""
    camera = scene.camera
    side = float(np.exp(rng.uniform(*np.log(SIDES))))
    max_pixel = np.array([camera.width, camera.height]) - MARGIN * side
    pixel = rng.uniform(MARGIN * side, max_pixel)
    depth = camera.focal * scene.block_size * MARKER_FRACTION / side
    position = depth * np.linalg.inv(camera.intrinsics()) @ [*pixel, 1.0]
    return rigid_transform(Rotation.random(random_state=rng).as_matrix(), position), side
