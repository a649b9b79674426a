"""A network's answers become sightings: pictures and joints enter, sightings leave."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from invdyn_ros.grasp.estimation.block_estimate import QUARTER, BlockDetection
from invdyn_ros.grasp.estimation.block_pose_network import (
    POSITION_SCALE,
    BlockPoseNet,
    BlockPoseOutput,
)
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

SYMMETRY_ORDER = 4  # a cube looks the same after a quarter turn
MIN_ON_TABLE_PROBABILITY = 0.5  # chance from which a block counts as seen to lie on the table
MAX_POSITION_STD = 0.015  # [m] a place that is less sure than this is no sighting
HEIGHT_STD = 0.001  # [m] how well the height of a block on the table is known
MIN_YAW_NORM = 1e-3  # turns shorter than this tell no yaw


def robot_state_features(
    robot: Robot, scene: Scene, q: Array, opening: float
) -> NDArray[np.float32]:
    """Return what of the arm a picture may show, (POSTURE,): tool and opening.

    Args:
        robot: the arm.
        scene: as it is described.
        q: (n,) measured joints [rad].
        opening: measured distance of the finger pads [m].
    """
    T = robot.forward_kinematics(q)
    widest = robot.gripper.max_opening if robot.gripper else 1.0
    place = (T[:3, 3] - [*area_centre(scene), 0.0]) / (2 * POSITION_SCALE)
    return np.array([*place, *T[:3, 0], *T[:3, 2], opening / widest], np.float32)


def area_centre(scene: Scene) -> tuple[float, float]:
    """Return the middle of the area where blocks lie [m]."""
    return sum(scene.area_x) / 2, sum(scene.area_y) / 2


def landmarks(scene: Scene) -> tuple[tuple[float, float], ...]:
    """Return what is always on the table [m]: corners and sides of the area, the goal."""
    (left, right), (near, far) = scene.area_x, scene.area_y
    x, y = area_centre(scene)
    corners = [(a, b) for a in (left, right) for b in (near, far)]
    return (*corners, (left, y), (right, y), (x, near), (x, far), scene.goal[:2])


class BlockPosePrediction(NamedTuple):
    """What a network says of N pictures, in numbers with a unit.

    Attributes:
        position: (N, 2) [m].
        yaw: (N,) modulo a quarter turn [rad].
        std: (N, 3) of x, y [m] and yaw [rad].
        resting: (N,) chance that the block is seen to lie on the table.
    """

    position: Array
    yaw: Array
    std: Array
    on_table_probability: Array


def decode_prediction(
    output: BlockPoseOutput, std_scale: tuple[float, float]
) -> BlockPosePrediction:
    """Return what a network says, with calibrated standard deviations."""
    numbers = [x.detach().double().cpu().numpy() for x in output[:4]]
    position, turn, log_std, resting = numbers
    yaw = np.arctan2(turn[:, 1], turn[:, 0]) / SYMMETRY_ORDER % QUARTER
    place, angle = std_scale
    length = np.maximum(np.linalg.norm(turn, axis=1), MIN_YAW_NORM)
    unit = np.stack(
        [np.full_like(length, POSITION_SCALE * place)] * 2 + [angle / SYMMETRY_ORDER / length],
        axis=1,
    )
    return BlockPosePrediction(position, yaw, np.exp(log_std) * unit, 1 / (1 + np.exp(-resting)))


class BlockPoseEstimator:
    """Sees the block in pictures of one arm at its table.

    Attributes:
        keypoints: (K, 2) places in the last picture, -1 to 1, that of the block first.
    """

    def __init__(self, robot: Robot, scene: Scene, network: BlockPoseNet) -> None:
        """Make one.

        Raises:
            ValueError: the network is for another arm.
        """
        if network.meta.arm != robot.name:
            raise ValueError(
                f"a network that sees for '{network.meta.arm}', not for '{robot.name}'"
            )
        self.robot, self.scene, self.network = robot, scene, network.eval()
        self.pixels = network.meta.network.pixels

    @torch.inference_mode()
    def estimate(
        self, time: float, image: NDArray[np.uint8], q: Array, opening: float
    ) -> BlockDetection | None:
        """Return where the block lies, None if that cannot be seen.

        Args:
            time: of the picture [s].
            picture: (H, H, 3) uint8, red, green, blue.
            q: (n,) joints measured then [rad].
            opening: distance of the finger pads measured then [m].

        Raises:
            ValueError: a picture that is not square, or too small.
        """
        pictures = torch.as_tensor(self._resize(image))[None]
        postures = torch.as_tensor(robot_state_features(self.robot, self.scene, q, opening))[None]
        seen = self.network(pictures, postures)
        self.keypoints = seen.keypoints[0].double().numpy()
        belief = decode_prediction(seen, self.network.meta.std_scale)
        std = belief.std[0]
        if (
            belief.on_table_probability[0] < MIN_ON_TABLE_PROBABILITY
            or std[:2].max() > MAX_POSITION_STD
        ):
            return None
        place = np.array([*belief.position[0], self.scene.block_size / 2])
        variance = np.square([*std[:2], HEIGHT_STD, std[2]])
        return BlockDetection(time, place, float(belief.yaw[0]), variance)

    def _resize(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture with as many pixels as the network takes."""
        side, shape = self.pixels, picture.shape
        if len(shape) != 3 or shape[2] != 3 or shape[0] != shape[1] or shape[0] < side:
            size = "x".join(str(length) for length in shape)
            raise ValueError(
                f"the picture is {size}; the network of '{self.robot.name}' takes square ones "
                f"in colour, {side}x{side}x3 or larger"
            )
        if shape[0] == side:
            return np.ascontiguousarray(picture)
        return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))
