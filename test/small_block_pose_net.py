"""A small block pose network, and images for it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from invdyn_ros.arms.domain_randomization import RANDOMIZATION_LEVELS
from invdyn_ros.grasp.estimation.block_pose_estimator import area_centre, landmarks
from invdyn_ros.grasp.estimation.block_pose_network import (
    BlockPoseMetadata,
    BlockPoseNet,
    BlockPoseNetConfig,
)
from invdyn_ros.grasp.pose_training.rendered_dataset import (
    DatasetRenderer,
    DatasetRenderingConfig,
    RenderedImages,
)
from invdyn_ros.grasp.pose_training.sampled_states import StateSamples
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import block_pose

SCENE, UR5 = load_scene("ur5"), load_robot("ur5")
SMALL = BlockPoseNetConfig(pixels=64, channels=(8, 16, 16), num_keypoints=12, hidden_size=32)
NOISE_LEVELS = RANDOMIZATION_LEVELS["none"], RANDOMIZATION_LEVELS["default"]


def metadata(arm: str = "ur5", network: BlockPoseNetConfig = SMALL) -> BlockPoseMetadata:
    scene = load_scene(arm)
    return BlockPoseMetadata(arm, scene.block_size, area_centre(scene), landmarks(scene), network)


def untrained(arm: str = "ur5", seed: int = 0) -> BlockPoseNet:
    torch.manual_seed(seed)
    return BlockPoseNet(metadata(arm)).eval()


def confident(network: BlockPoseNet) -> BlockPoseNet:
    """Make a network predict a small std and a block on the table for every image."""
    with torch.no_grad():
        network.head[-1].bias[4:] = torch.tensor([-3.0, -3.0, -3.0, 9.0])
    return network


def home_states() -> StateSamples:
    """Return one state, with the arm at home."""
    q, max_opening = UR5.home[None], UR5.gripper.max_opening
    return StateSamples(q, q, np.array([max_opening]), block_pose(0.5, 0.0, 0.02, 0.3)[None])


def render(directory: Path, count: int, seed: int = 0) -> RenderedImages:
    """Render images of the arm at home and a block at random poses."""
    config = DatasetRenderingConfig(home_fraction=1.0)
    with closing(DatasetRenderer(UR5, SCENE, home_states(), SMALL.pixels, config)) as renderer:
        return renderer.render(directory, count, seed, NOISE_LEVELS)
