"""Block detection in RGB images without markers, by a trained network."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from invdyn_ros.grasp.estimation.block_estimate import QUARTER_TURN, BlockDetection
from invdyn_ros.grasp.estimation.block_pose_network import (
    POSITION_SCALE,
    BlockPoseNet,
    BlockPoseOutput,
)
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

SYMMETRY_ORDER = 4  # a cube looks the same after a quarter turn
MIN_ON_TABLE_PROBABILITY = 0.5  # below it, an image gives no detection
MAX_POSITION_STD = 0.015  # [m] above it, an image gives no detection
HEIGHT_STD = 0.001  # [m] standard deviation of the height of a block on the table
MIN_YAW_NORM = 1e-3  # lower bound on the norm of the predicted (cos, sin): the std is over it


def robot_state_features(
    robot: Robot, scene: Scene, q: Array, opening: float
) -> NDArray[np.float32]:
    """Return the network's robot state input (ROBOT_STATE_DIM,): tool pose and gripper opening.

    Args:
        robot: the arm.
        scene: nominal scene of the arm.
        q: (n,) measured joint positions [rad].
        opening: measured distance between the finger pads [m].
    """
    T = robot.forward_kinematics(q)
    max_opening = robot.gripper.max_opening if robot.gripper else 1.0
    position = (T[:3, 3] - [*area_centre(scene), 0.0]) / (2 * POSITION_SCALE)
    return np.array([*position, *T[:3, 0], *T[:3, 2], opening / max_opening], np.float32)


def area_centre(scene: Scene) -> tuple[float, float]:
    """Return x and y of the centre of the area in which blocks lie [m]."""
    return sum(scene.area_x) / 2, sum(scene.area_y) / 2


def landmarks(scene: Scene) -> tuple[tuple[float, float], ...]:
    """Return x and y of points on the table [m]: corners and side centres of the area, goal."""
    (left, right), (near, far) = scene.area_x, scene.area_y
    x, y = area_centre(scene)
    corners = [(a, b) for a in (left, right) for b in (near, far)]
    return (*corners, (left, y), (right, y), (x, near), (x, far), scene.goal[:2])


class BlockPosePrediction(NamedTuple):
    """Predictions for N images in SI units.

    Attributes:
        position: (N, 2) x and y of the block in the base frame [m].
        yaw: (N,) yaw of the block, modulo a quarter turn [rad].
        std: (N, 3) standard deviations of x, y [m] and yaw [rad].
        on_table_probability: (N,) probability that the block is visible and lies on the table.
    """

    position: Array
    yaw: Array
    std: Array
    on_table_probability: Array


def decode_prediction(
    output: BlockPoseOutput, std_scale: tuple[float, float]
) -> BlockPosePrediction:
    """Convert a network output to SI units, with calibrated standard deviations.

    Args:
        output: network output for N images.
        std_scale: calibration factors on the standard deviations of position and yaw.
    """
    numbers = [x.detach().double().cpu().numpy() for x in output[:4]]
    position, yaw_cos_sin, log_std, on_table_logit = numbers
    yaw = np.arctan2(yaw_cos_sin[:, 1], yaw_cos_sin[:, 0]) / SYMMETRY_ORDER % QUARTER_TURN
    position_scale, yaw_scale = std_scale
    norm = np.maximum(np.linalg.norm(yaw_cos_sin, axis=1), MIN_YAW_NORM)
    unit = np.stack(
        [np.full_like(norm, POSITION_SCALE * position_scale)] * 2
        + [yaw_scale / SYMMETRY_ORDER / norm],
        axis=1,
    )
    probability = 1 / (1 + np.exp(-on_table_logit))
    return BlockPosePrediction(position, yaw, np.exp(log_std) * unit, probability)


class BlockPoseEstimator:
    """Detect the block in images of one arm at its table.

    Attributes:
        pixels: side of the network's square images [px].
        keypoints: (K, 2) keypoints predicted in the last image, -1 to 1; the first is the centre
            of the block's bottom face.
    """

    def __init__(self, robot: Robot, scene: Scene, network: BlockPoseNet) -> None:
        """Create an estimator.

        Args:
            robot: the arm in the images.
            scene: nominal scene of the arm.
            network: network that was trained for this arm.

        Raises:
            ValueError: the network was trained for another arm.
        """
        if network.meta.arm != robot.name:
            raise ValueError(
                f"the block pose network was trained for '{network.meta.arm}', "
                f"not for '{robot.name}'"
            )
        self.robot, self.scene, self.network = robot, scene, network.eval()
        self.pixels = network.meta.network.pixels

    @torch.inference_mode()
    def estimate(
        self, time: float, image: NDArray[np.uint8], q: Array, opening: float
    ) -> BlockDetection | None:
        """Return the block's detection, None if it is not on the table or too uncertain.

        Args:
            time: stamp of the image [s].
            image: (H, H, 3) uint8 RGB.
            q: (n,) joint positions measured at that time [rad].
            opening: distance between the finger pads measured at that time [m].

        Raises:
            ValueError: the image is not square, not RGB or too small.
        """
        images = torch.as_tensor(self._resize(image))[None]
        features = robot_state_features(self.robot, self.scene, q, opening)
        output = self.network(images, torch.as_tensor(features)[None])
        self.keypoints = output.keypoints[0].double().numpy()
        prediction = decode_prediction(output, self.network.meta.std_scale)
        std = prediction.std[0]
        on_table = prediction.on_table_probability[0] >= MIN_ON_TABLE_PROBABILITY
        if not on_table or std[:2].max() > MAX_POSITION_STD:
            return None
        position = np.array([*prediction.position[0], self.scene.block_size / 2])
        variance = np.square([*std[:2], HEIGHT_STD, std[2]])
        return BlockDetection(time, position, float(prediction.yaw[0]), variance)

    def _resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scale the image to the input size of the network."""
        side, shape = self.pixels, image.shape
        if len(shape) != 3 or shape[2] != 3 or shape[0] != shape[1] or shape[0] < side:
            size = "x".join(str(length) for length in shape)
            raise ValueError(
                f"the image is {size}; the block pose network of '{self.robot.name}' takes "
                f"square RGB images, {side}x{side}x3 or larger"
            )
        if shape[0] == side:
            return np.ascontiguousarray(image)
        return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
