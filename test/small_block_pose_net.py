"""A small network that sees, and pictures for it."""

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
    StateSamples,
)
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import block_pose

SCENE, UR5 = load_scene("ur5"), load_robot("ur5")
SMALL = BlockPoseNetConfig(pixels=64, channels=(8, 16, 16), num_keypoints=12, hidden_size=32)
LEVELS = RANDOMIZATION_LEVELS["none"], RANDOMIZATION_LEVELS["default"]


def meta(arm: str = "ur5", network: BlockPoseNetConfig = SMALL) -> BlockPoseMetadata:
    scene = load_scene(arm)
    return BlockPoseMetadata(arm, scene.block_size, area_centre(scene), landmarks(scene), network)


def fresh(arm: str = "ur5", seed: int = 0) -> BlockPoseNet:
    torch.manual_seed(seed)
    return BlockPoseNet(meta(arm)).eval()


def sure(sight: BlockPoseNet) -> BlockPoseNet:
    """A network that takes every picture for one of a block, and is sure of where it is."""
    with torch.no_grad():
        sight.head[-1].bias[4:] = torch.tensor([-3.0, -3.0, -3.0, 9.0])
    return sight


def home() -> StateSamples:
    """Moments of an arm that stays at home."""
    q, widest = UR5.home[None], UR5.gripper.max_opening
    return StateSamples(q, q, np.array([widest]), block_pose(0.5, 0.0, 0.02, 0.3)[None])


def draw(directory: Path, count: int, seed: int = 0) -> RenderedImages:
    """Pictures of an arm at home and blocks anywhere."""
    config = DatasetRenderingConfig(home_fraction=1.0)
    with closing(DatasetRenderer(UR5, SCENE, home(), SMALL.pixels, config)) as draughts:
        return draughts.render(directory, count, seed, LEVELS)
