"""Rendering of camera images of an arm and blocks on a table.

PyBullet's software renderer takes 50 ms longer with a table that fills the image, so it renders
only the arm, the boxes and the blocks. The static table is rendered once, by ray casting.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from invdyn_ros.arms.pybullet_arm import bullet_urdf
from invdyn_ros.arms.pybullet_client import connect
from invdyn_ros.arms.pybullet_obstacles import add_box
from invdyn_ros.arms.pybullet_scene import add_block, place_block
from invdyn_ros.perception.aruco_cube import face_corners
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array, Image

GRID_COLOR = (92.0, 105.0, 120.0)  # RGB
GOAL_COLOR = (255.0, 184.0, 77.0)
WALL_GRADIENT = (30.0, 27.0, 24.0)  # how much darker it is far above the horizon
GRID_STEP, GRID_LINE_WIDTH = 0.05, 0.001  # [m]
TABLE_RADIUS = 1.1  # of the round table [m]
SUPERSAMPLING = 2  # rays per pixel and axis
MIN_LIGHT_ELEVATION = 0.4  # sine of the elevation; limits the length of shadows
SHADOW_OPACITY, SHADOW_BLUR = 0.45, 2.5  # fraction of light blocked; softness [px]
NOISE_MARGIN = 64  # maximum random shift of the noise image between frames [px]


class SceneRenderer(AbstractContextManager["SceneRenderer"]):
    """Renderer of a scene in its own PyBullet world, without physics."""

    def __init__(
        self, robot: Robot, scene: Scene, seed: int = 0, obstacles: Obstacles | None = None
    ) -> None:
        """Load arm, boxes and blocks and render the empty table.

        Args:
            robot: arm to load.
            scene: blocks, camera, light and noise.
            seed: seed of the image noise.
            obstacles: boxes to draw, and whether there is a table under an arm without blocks;
                None: those of the arm.
        """
        self.client, self.robot = connect(), robot
        with bullet_urdf(robot) as file:
            self.arm = self.client.loadURDF(
                str(file), useFixedBase=True, flags=self.client.URDF_USE_INERTIA_FROM_FILE
            )
        self.obstacles = obstacles or load_arm_obstacles(robot.name)
        for box in self.obstacles.boxes:
            add_box(self.client, box)
        self.blocks = [
            add_block(self.client, scene, np.eye(4), b) for b in range(scene.num_blocks)
        ]
        index = {
            self.client.getJointInfo(self.arm, i)[1].decode(): i
            for i in range(self.client.getNumJoints(self.arm))
        }
        self.joints = [index[name] for name in robot.joint_names]
        self.fingers = [index[name] for name in robot.gripper.joint_names] if robot.gripper else []
        self.set_scene(scene, seed)

    def set_scene(self, scene: Scene, seed: int) -> None:
        """Switch to another scene with the same number and size of blocks and the same markers."""
        self.scene, self.camera = scene, scene.camera
        has_table = self.obstacles.table or scene.num_blocks > 0
        self.table_radius = TABLE_RADIUS if has_table else 0.0
        self.background = render_table(scene, self.table_radius)
        shape = (self.camera.height + NOISE_MARGIN, self.camera.width + NOISE_MARGIN, 3)
        noise = np.random.default_rng(seed).normal(0.0, scene.pixel_noise, shape)
        self.noise = np.round(noise).astype(np.int16)
        if not scene.marked:
            rgba = [*np.divide(scene.block_color, 255.0).tolist(), 1.0]
            for body in self.blocks:
                self.client.changeVisualShape(body, -1, rgbaColor=rgba)
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Reset the random generator of the image noise."""
        self.rng = np.random.default_rng(seed)

    def render(self, q: Array, opening: float, block_poses: Array) -> Image:
        """Render the scene.

        Args:
            q: (n,) joint positions [rad].
            opening: distance between the finger pads [m].
            block_poses: (blocks, 4, 4) poses in the base frame.

        Returns:
            RGB image (H, W, 3).
        """
        if len(block_poses) != len(self.blocks):
            raise ValueError(f"{len(block_poses)} poses; the scene has {len(self.blocks)} blocks")
        if self.scene.camera_on_hand:
            moved = self.scene.seen_from(self.robot.forward_kinematics(q))
            self.camera, self.background = moved.camera, render_table(moved, self.table_radius)
        gripper = self.robot.gripper
        positions = [*q, *(gripper.positions(opening) if gripper else ())]
        for joint, position in zip([*self.joints, *self.fingers], positions, strict=True):
            self.client.resetJointState(self.arm, joint, position)
        for body, pose in zip(self.blocks, block_poses, strict=True):
            place_block(self.client, body, pose)
        image = self.background.copy()
        for pose in block_poses:
            self._draw_shadow(image, pose)
        rgba, depth = self._render_bodies()
        cv2.copyTo(np.ascontiguousarray(rgba[..., :3]), (depth < 1.0).astype(np.uint8), image)
        return self._add_sensor_effects(image)

    def _render_bodies(self) -> tuple[Image, Array]:
        """Return RGBA (H, W, 4) of arm and blocks, and OpenGL depth (H, W), 1 where empty."""
        light = np.divide(self.scene.light, np.linalg.norm(self.scene.light))
        _, _, rgba, depth, _ = self.client.getCameraImage(
            self.camera.width,
            self.camera.height,
            self.camera.view_matrix(),
            self.camera.projection_matrix(),
            lightDirection=light.tolist(),
            lightColor=[1, 1, 1],
            lightAmbientCoeff=self.scene.ambient,
            lightDiffuseCoeff=1.0 - self.scene.ambient,
            lightSpecularCoeff=0.0,
            shadow=0,
            flags=self.client.ER_NO_SEGMENTATION_MASK,
            renderer=self.client.ER_TINY_RENDERER,
        )
        size = (self.camera.height, self.camera.width)
        return np.reshape(rgba, (*size, 4)).astype(np.uint8), np.reshape(depth, size)

    def _draw_shadow(self, image: Image, pose: Array) -> None:
        """Draw the shadow of a block on the table, in place."""
        corners = face_corners(self.scene.block_size).reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
        light = np.divide(self.scene.light, np.linalg.norm(self.scene.light))
        light[2] = max(light[2], MIN_LIGHT_ELEVATION)
        ground = corners - corners[:, 2:] / light[2] * light
        pixels = self.camera.project(ground)
        margin = int(4 * SHADOW_BLUR)
        size = (self.camera.width, self.camera.height)
        left, top = np.clip(np.floor(pixels.min(axis=0)).astype(int) - margin, 0, size)
        right, bottom = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + margin, 0, size)
        if right <= left or bottom <= top:
            return
        mask = np.zeros((bottom - top, right - left), np.float32)
        hull = cv2.convexHull(np.round(pixels - (left, top)).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, (SHADOW_OPACITY,))
        transmittance = 1.0 - cv2.GaussianBlur(mask, (0, 0), SHADOW_BLUR)
        patch = image[top:bottom, left:right]
        patch[:] = (patch * transmittance[..., None]).astype(np.uint8)

    def _add_sensor_effects(self, image: Image) -> Image:
        """Return the image (H, W, 3) with lens blur and sensor noise."""
        if self.scene.blur > 0:
            image = cv2.GaussianBlur(image, (0, 0), self.scene.blur).astype(np.uint8, copy=False)
        if self.scene.pixel_noise > 0:
            top, left = self.rng.integers(NOISE_MARGIN, size=2)
            noise = self.noise[top : top + len(image), left : left + image.shape[1]]
            noisy = cv2.add(image, np.ascontiguousarray(noise), dtype=cv2.CV_8U)
            image = noisy.astype(np.uint8, copy=False)
        return image

    def close(self) -> None:
        """Disconnect from the PyBullet world."""
        self.client.disconnect()

    def __exit__(self, *_: object) -> None:
        self.close()


def render_table(scene: Scene, radius: float = TABLE_RADIUS) -> Image:
    """Render the empty table of a radius [m] and the wall behind it, RGB (H, W, 3)."""
    camera = scene.camera
    rows, columns = (_ray_coordinates(n) for n in (camera.height, camera.width))
    rays = _rays(camera, rows, columns)  # (h, w, 3)
    eye = camera.T_base_camera[:3, 3].astype(np.float32)
    slope = rays[..., 2:]  # (h, w, 1), negative where the ray hits the table plane
    distance = np.where(slope < 0, -eye[2] / np.minimum(slope, -1e-9), np.inf)
    points: Any = eye[:2] + np.minimum(distance, 1e3) * rays[..., :2]
    colors = np.where(
        np.isfinite(distance) & (np.linalg.norm(points, axis=2, keepdims=True) < radius),
        _table_colors(scene, points),
        _wall_colors(scene, rays),
    )
    size = (camera.width, camera.height)
    image = cv2.resize(colors, size, interpolation=cv2.INTER_AREA)
    return np.round(image).astype(np.uint8)


def _ray_coordinates(pixels: int) -> Array:
    """Return the coordinates of the rays along one image axis, (SUPERSAMPLING * pixels,) [px]."""
    return (np.arange(pixels * SUPERSAMPLING) + 0.5) / SUPERSAMPLING - 0.5


def _rays(camera: PinholeCamera, rows: Array, columns: Array) -> NDArray[np.float32]:
    """Return the directions (h, w, 3) in the base frame of the rays through pixels."""
    u, v = np.meshgrid(columns, rows)
    pixels = np.dstack([u, v, np.ones_like(u)]).astype(np.float32)
    matrix = camera.T_base_camera[:3, :3] @ np.linalg.inv(camera.intrinsics())
    rays = pixels @ matrix.T.astype(np.float32)
    return np.asarray(rays / np.linalg.norm(rays, axis=2, keepdims=True))


def _table_colors(scene: Scene, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return colours (h, w, 3) of the table at points (h, w, 2) [m]: grid, area and goal."""
    low, high = np.transpose([scene.area_x, scene.area_y]).astype(np.float32)
    # signed distance to the border of the area [m], negative inside
    outside = np.max(np.maximum(low - points, points - high), axis=2)
    line_distance = np.abs((points / GRID_STEP + 0.5) % 1.0 - 0.5).min(axis=2) * GRID_STEP
    line = line_distance < GRID_LINE_WIDTH / 2
    goals = np.array([block.goal[:2] for block in scene.all_blocks] or [scene.goal[:2]])
    radius = 0.8 * scene.block_size
    rings = [np.abs(np.linalg.norm(points - g, axis=2) - radius) for g in np.unique(goals, axis=0)]
    ring = np.min(rings, axis=0)
    colors = np.full((*outside.shape, 3), scene.table_color, np.float32)
    if scene.num_blocks:
        colors[outside < 0] = scene.area_color
    colors[line] = GRID_COLOR
    if scene.num_blocks:
        colors[np.abs(outside) < GRID_LINE_WIDTH] = GRID_COLOR
        colors[ring < 1.5 * GRID_LINE_WIDTH] = GOAL_COLOR
    return colors


def _wall_colors(scene: Scene, rays: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return colours (h, w, 3) of the wall along rays (h, w, 3), darker towards the top."""
    horizon, gradient = np.array([scene.wall_color, WALL_GRADIENT], np.float32)
    return np.asarray(np.maximum(horizon - np.clip(rays[..., 2:], 0, 1) * gradient, 0))
