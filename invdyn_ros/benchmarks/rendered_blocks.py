"""Blocks before the simulated camera, at any angle: random numbers enter, pictures leave."""

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
from invdyn_ros.perception.rigid_transforms import rigid_transform
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import Scene

ARM = "ur5"  # whose block, lens, light and image noise it is; it stands behind the camera
EYE, TARGET = (1.0, 0.0, 1.2), (2.0, 0.0, 0.0)  # [m], table and wall are behind the block
SIDES = 20.0, 120.0  # of a marker seen from the front [px]
MARGIN = 1.2  # sides of a marker from the block's centre to the edge of the picture
MOVE, TURN = 0.002, 0.035  # of the block from one picture to the next, each axis [m], [rad]


class BlockImageSample(NamedTuple):
    """A block as it is, and as the camera sees it."""

    image: np.ndarray
    """(480, 640, 3) uint8 RGB."""
    T_camera_block: np.ndarray
    """(4, 4) where the block is."""
    side: float
    """Side of a marker seen from the front, at the distance of the block's centre [px]."""
    frame: int
    """Which picture of this block it is, from 0."""


def block_scene() -> Scene:
    """Return the block, and a camera that looks away from the arm."""
    scene = load_scene(ARM)
    return replace(scene, camera=PinholeCamera.look_at(EYE, TARGET, scene.camera.focal))


def render_block_images(
    blocks: int, frames: int, seed: int, noise: str = "default", samples: int = 1
) -> Iterator[BlockImageSample]:
    """Draw blocks at random places and angles in the picture, their size in it log-uniform.

    Args:
        blocks: number of blocks, one after the other, each in light of its own.
        frames: pictures of each, between which it moves a little.
        seed: of places, angles, light and image noise.
        noise: level whose light and image noise apply.
        samples: of the picture per pixel and axis; a lens has many, the simulator draws one.
    """
    scene, robot, level = block_scene(), load_robot(ARM), load_randomization(noise)
    grain, lens = scene.pixel_noise * level.pixel, scene.camera
    fine = PinholeCamera(
        lens.T_base_camera, samples * lens.focal, samples * lens.width, samples * lens.height
    )
    sharp = replace(scene, camera=fine, blur=0.0, pixel_noise=0.0)
    rng, grains = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    with SceneRenderer(robot, sharp, seed) as camera:
        for block in range(blocks):
            camera.scene = replace(sharp, light=randomize_scene(scene, level, seed, block).light)
            T, side = sample_block_pose(scene, rng)
            for frame in range(frames):
                drawn = camera.render(robot.home, 0.0, (lens.T_base_camera @ T)[None])
                size = (lens.width, lens.height)
                sensed = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
                sensed = cv2.GaussianBlur(sensed, (0, 0), scene.blur)
                grained = sensed + grains.normal(0.0, grain, sensed.shape)
                image = np.clip(np.round(grained), 0, 255).astype(np.uint8)
                yield BlockImageSample(image, T, side, frame)
                T = T @ rigid_transform(
                    Rotation.from_rotvec(TURN * rng.standard_normal(3)).as_matrix(),
                    MOVE * rng.standard_normal(3),
                )


def sample_block_pose(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return a pose (4, 4) before the camera, and the side of a marker at that distance [px]."""
    camera = scene.camera
    side = float(np.exp(rng.uniform(*np.log(SIDES))))
    room = np.array([camera.width, camera.height]) - MARGIN * side
    pixel = rng.uniform(MARGIN * side, room)
    depth = camera.focal * scene.block_size * MARKER_FRACTION / side
    place = depth * np.linalg.inv(camera.intrinsics()) @ [*pixel, 1.0]
    return rigid_transform(Rotation.random(random_state=rng).as_matrix(), place), side
