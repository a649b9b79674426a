"""Configuration of the grasp environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from invdyn_ros.arms.domain_randomization import (
    RANDOMIZATION_LEVELS,
    DomainRandomization,
    load_randomization,
)
from invdyn_ros.config import Validated
from invdyn_ros.grasp.envs.grasp_simulation import MAX_EPISODE_SECONDS
from invdyn_ros.grasp.envs.reward import RewardConfig
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.robots.registry import load_grasp_spec, register_arm


@dataclass(frozen=True)
class GraspEnvConfig(Validated):
    """Settings of the grasp environment.

    Attributes:
        arm: name of the arm, or FILE.yaml of one, which needs a gripper and a scene.
        obs_mode: state (with the block's position from markers or from `block_pose_model`), or
            pixels.
        control_mode: meaning of actions: joint or cartesian.
        noise: domain randomization: none, default or hard, or its terms.
        random_goal: whether each episode has a goal of its own, anywhere around the arm where
            blocks are grasped; otherwise that of the scene.
        action_space: time step and scale of actions.
        reward: weights of the reward.
        max_episode_seconds: time limit of an episode [s].
        physics_rate: integration steps per second [Hz]; None: the lowest rate with which the arm
            moves and grips as at the simulator node's 1000 Hz.
        checkpoint: folder or .onnx file of the inverse-dynamics model; empty: the shipped one.
        image_size: side of the images [px].
        block_pose_model: folder of a network that detects a block without markers; empty: the
            block has markers.
    """

    arm: str = "ur5"
    obs_mode: Literal["state", "pixels"] = "state"
    control_mode: Literal["joint", "cartesian"] = "joint"
    noise: str | DomainRandomization = "default"
    random_goal: bool = False
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    max_episode_seconds: PositiveFloat = MAX_EPISODE_SECONDS
    physics_rate: float | None = None
    checkpoint: str = ""
    image_size: Annotated[int, Field(ge=16)] = 64
    block_pose_model: str = ""

    def __post_init__(self) -> None:
        """Validate the settings."""
        super().__post_init__()
        if isinstance(self.noise, str):
            load_randomization(self.noise)
        object.__setattr__(self, "arm", register_arm(self.arm))
        load_grasp_spec(self.arm)  # raises for an arm without a block to grasp

    @property
    def randomization(self) -> DomainRandomization:
        """Terms of the domain randomization."""
        return RANDOMIZATION_LEVELS[self.noise] if isinstance(self.noise, str) else self.noise
