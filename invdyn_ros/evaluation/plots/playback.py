"""Playback of a recording: states, images and rendered views at any time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from invdyn_ros.data.recording import Recording
from invdyn_ros.robots.pinhole_camera import FAR_PLANE, PinholeCamera
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene, quaternion_pose
from invdyn_ros.robots.visual_geometry import link_corners
from invdyn_ros.typing import Array

if TYPE_CHECKING:  # needs PyBullet, which only films do
    from invdyn_ros.arms.rendering import SceneRenderer

VIEW_DIRECTION = (0.74, -0.70, 0.44)  # from the arm to the camera
FILLED_FRACTION = 0.92  # of the image, by arm and block
NO_POINTS = np.empty((0, 3))
DISTANCE_FACTOR = 2.4  # distance of the camera, relative to the radius of the scene
EMPTY_SCENE = load_scene("kuka_iiwa")  # a table without blocks
NUM_POSTURES = 24  # of a recording, which the view must show


class Playback:
    """States and images of a recording, interpolated in time."""

    def __init__(self, recording: Recording, robot: Robot) -> None:
        """Sort the samples of a recording of an arm."""
        self.recording, self.robot = recording, robot
        self.image_stamps = [image.time for image in recording.images]
        every = recording.all_block_poses
        every = every or {time: [pose] for time, pose in recording.block_poses.items()}
        self.block_times = np.array(sorted(every))
        blocks = list(zip(*(every[time] for time in self.block_times), strict=True))
        self.all_centres = [np.array([p for p, _ in poses]) for poses in blocks]  # (B, 3) [m]
        self.all_rotations = [Rotation.from_quat([q for _, q in poses]) for poses in blocks]
        centres = [recording.block_poses[time][0] for time in self.block_times]
        self.block_centres = np.array(centres).reshape(-1, 3)  # of the block to grasp [m]

    @property
    def span(self) -> tuple[float, float]:
        """First and last stamp [s] of the joints, or of the images without any joints."""
        times = self.recording.joints.time
        if len(times):
            return float(times[0]), float(times[-1])
        return (self.image_stamps[0], self.image_stamps[-1]) if self.image_stamps else (0.0, 0.0)

    def joints(self, time: float) -> np.ndarray:
        """Return the joint positions (n,) [rad]; the home position if nothing was measured."""
        samples = self.recording.joints
        if not len(samples.time):
            return self.robot.home
        return np.array([np.interp(time, samples.time, joint) for joint in samples.q.T])

    def opening(self, time: float) -> float:
        """Return the distance between the finger pads [m]."""
        samples = self.recording.joints
        value = np.interp(time, samples.time, samples.opening) if len(samples.time) else 0.0
        return float(np.nan_to_num(value))

    def blocks(self, time: float) -> np.ndarray:
        """Return the interpolated poses of the blocks, (blocks, 4, 4)."""
        times, poses = self.block_times, []
        for centres, rotations in zip(self.all_centres, self.all_rotations, strict=True):
            centre = [np.interp(time, times, axis) for axis in centres.T]
            rotation = rotations[0]
            if len(times) > 1:
                rotation = Slerp(times, rotations)(np.clip(time, times[0], times[-1]))
            poses.append(quaternion_pose(np.array(centre), rotation.as_quat()))
        return np.array(poses).reshape(-1, 4, 4)

    def image(self, time: float) -> np.ndarray | None:
        """Return the newest overlay image (H, W, 3) at a time [s], if any was recorded."""
        index = bisect_right(self.image_stamps, time + 1e-6) - 1
        return self.recording.images[max(index, 0)].image if self.image_stamps else None

    def render(self, camera: SceneRenderer, time: float) -> np.ndarray:
        """Render the scene at a time [s], (H, W, 3) uint8 RGB."""
        blocks = self.blocks(time)[: len(camera.blocks)]
        return camera.render(self.joints(time), self.opening(time), blocks)

    def view_points(self) -> np.ndarray:
        """Return points (P, 3) [m] that a view of the whole recording must show."""
        points = [np.zeros((1, 3)), *self.all_centres]
        corners = link_corners(self.robot)
        for time in np.linspace(*self.span, NUM_POSTURES):
            q = self.joints(time)
            points.append(self.robot.forward_kinematics(q)[None, :3, 3])
            for link, local in corners.items():
                T = self.robot.forward_kinematics(q, link)
                points.append(local @ T[:3, :3].T + T[:3, 3])
        return np.vstack(points)


def overview_camera(
    playbacks: Sequence[Playback],
    scene: Scene,
    robot: Robot,
    width: int,
    height: int,
    right_margin: int = 0,
    others: Array = NO_POINTS,
) -> SceneRenderer:
    """Return a camera whose view contains whole recordings.

    Args:
        playbacks: the recordings, with the same obstacles.
        scene: table, block and light; the block is only rendered if it was recorded.
        robot: the arm.
        width: of the image [px].
        height: of the image [px].
        right_margin: free columns at the right [px].
        others: (P, 3) further points that the view must show [m].
    """
    recorded = any(playback.all_centres for playback in playbacks)
    blocks = scene.num_blocks if recorded else 0
    points = [others, *(playback.view_points() for playback in playbacks), np.zeros((1, 3))]
    if blocks:
        corners = [(x, y, 0.0) for x in scene.area_x for y in scene.area_y]
        goals = [block.goal for block in scene.all_blocks]
        points += [np.array(corners), np.array(goals)]
    camera = fit_camera(np.vstack(points), width, height, right_margin)
    sharp = replace(
        scene,
        camera=camera,
        camera_on_hand=False,
        num_blocks=blocks,
        blocks=scene.blocks[:blocks],
        blur=0.5,
        pixel_noise=0.0,
    )
    obstacles = playbacks[0].recording.obstacles if playbacks else None
    from invdyn_ros.arms.rendering import SceneRenderer

    return SceneRenderer(robot, sharp, obstacles=obstacles)


def fit_camera(
    points: np.ndarray, width: int, height: int, right_margin: int = 0
) -> PinholeCamera:
    """Return the camera along VIEW_DIRECTION whose image is filled by points.

    Args:
        points: (P, 3) [m].
        width: of the image [px].
        height: of the image [px].
        right_margin: free columns at the right [px].
    """
    direction = np.divide(VIEW_DIRECTION, np.linalg.norm(VIEW_DIRECTION))
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = max(float(np.linalg.norm(points - target, axis=1).max()), 0.05)
    distance = min(DISTANCE_FACTOR * radius, FAR_PLANE - radius - 0.3)
    for _ in range(3):  # the centre of the points in the image depends on the camera position
        position = target + distance * direction
        camera = PinholeCamera.look_at(tuple(position), tuple(target), 1.0, width, height)
        in_camera = (points - position) @ camera.T_base_camera[:3, :3]  # (P, 3), z forward
        tangents = in_camera[:, :2] / in_camera[:, 2:]
        low, high = tangents.min(axis=0), tangents.max(axis=0)
        target = target + distance * camera.T_base_camera[:3, :2] @ (low + high) / 2
    extent = np.maximum(np.abs([low, high]).max(axis=0), 1e-3)
    focal = float((FILLED_FRACTION * np.array([width - right_margin, height]) / 2 / extent).min())
    T = camera.T_base_camera.copy()
    T[:3, 3] += right_margin / 2 / focal * distance * T[:3, 0]
    return PinholeCamera(T, focal, width, height)
