"""Grasp policy that follows sampled plans of desired arm and gripper states.

The planner predicts desired states; the inverse-dynamics model of the arm controller turns them
into commands, so the two are independent. Each plan is followed for several actions: replanning
after every action would postpone the closing of the gripper forever.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invdyn_ros.control.motion_profile import State
from invdyn_ros.grasp.policies.network import PolicyMetadata
from invdyn_ros.grasp.policies.observation import JOINT_ERROR_SCALE
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.grasp.policies.velocity_action_spaces import make_action_space
from invdyn_ros.models.planner.planner import Planner, load_planner
from invdyn_ros.models.planner.receding_horizon import RecedingHorizonConfig
from invdyn_ros.robots.robot import load_robot


class TargetExtractor:
    """Extract the targets of the last actions from observations."""

    def __init__(self, spaces: SpaceSpec) -> None:
        """Create an extractor for the observations of an arm and action space."""
        self.n, self.period = load_robot(spaces.arm).n, spaces.action_space.action_period
        self.opening = 3 * self.n + spaces.sizes[1]  # index of the measured opening

    def position(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return target positions (..., n + 1): those of the joints, then that of the gripper.

        The gripper is -1 (closed) or 1 (open). Before the first action it is to stay as it is.

        Args:
            observation: (..., o) observations.
        """
        n, k = self.n, self.opening
        q = observation[..., :n] + JOINT_ERROR_SCALE * observation[..., 2 * n : 3 * n]
        gripper, opening = observation[..., k - 1 : k], observation[..., k : k + 1]
        gripper = np.where(gripper == 0, np.where(opening > 0.5, 1.0, -1.0), gripper)
        return np.concatenate([q, gripper], -1).astype(np.float32)

    def states(self, positions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return states (L, 2 (n + 1)) of successive positions (L, n + 1), at first at rest.

        The velocities are those since the position before. That of the gripper is zero, because
        its target jumps.
        """
        velocities = np.zeros_like(positions)
        velocities[1:, :-1] = np.diff(positions[:, :-1], axis=0) / self.period
        return np.concatenate([positions, velocities], axis=1)


class PlannedPolicy:
    """A planner as a policy of the environment and of the live graph."""

    def __init__(
        self, planner: Planner, spaces: SpaceSpec, config: RecedingHorizonConfig | None = None
    ) -> None:
        """Create a policy.

        Args:
            planner: samples states of arm and gripper, given an observation.
            spaces: arm and action space of the planner's training data.
            config: number of sampled plans, and number of actions that a plan is followed.
        """
        self.planner, self.targets = planner, TargetExtractor(spaces)
        self.action_space = make_action_space(
            spaces.control_mode, load_robot(spaces.arm), spaces.action_space
        )
        self.config = config or RecedingHorizonConfig()
        observation_size, action_size = spaces.sizes
        self.meta = PolicyMetadata(
            spaces.arm,
            observation_size,
            action_size,
            (1,),
            "clip",
            "planner",
            spaces.control_mode,
            spaces.action_space,
        )
        self.reset()

    def reset(self) -> None:
        """Start an episode with a new plan."""
        self.generator = torch.Generator().manual_seed(0)
        self.remaining = np.empty((0, 0), np.float32)  # planned states yet to be followed
        self.position: NDArray[np.float32] | None = None  # of the last observation
        self.action_space.elapsed = 0.0

    @torch.no_grad()
    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action (a,) for an observation (o,)."""
        position = self.targets.position(observation)
        last = position if self.position is None else self.position
        now, self.position = self.targets.states(np.stack([last, position]))[1], position
        if not len(self.remaining):
            state, condition = (torch.as_tensor(x) for x in (now, observation))
            plans = self.planner(state, condition, self.config.num_plans, self.generator)
            self.remaining = plans[medoid(plans), 1 : 1 + self.config.n_action_steps].numpy()
        desired, self.remaining = self.remaining[0], self.remaining[1:]
        n, acceleration = self.targets.n, np.zeros(self.targets.n)
        self.action_space.target = State(now[:n], now[n + 1 : -1], acceleration)
        opening = self.action_space.max_opening * (desired[n] > 0)
        planned = State(desired[:n], desired[n + 1 : -1], acceleration)
        action = self.action_space.target_to_action(planned, opening)
        self.action_space.elapsed += self.targets.period
        return action.astype(np.float32)


def medoid(plans: Tensor) -> int:
    """Return the index of the plan with the least total distance to the others.

    Unlike the mean of plans (N, T, S) that pass an obstacle on both sides, the medoid is a plan.
    """
    flat = plans.flatten(1)
    return int(torch.cdist(flat, flat).sum(1).argmin())


def load_planned_policy(directory: str | Path, arm: str | None = None) -> PlannedPolicy:
    """Read a grasp planner as a policy.

    Args:
        directory: a folder that `invdyn train_planner` wrote from demonstrations.
        arm: name of the arm that the planner must have been trained for; None: any.

    Raises:
        ValueError: no planner, a damaged one, or one for another arm or task.
    """
    planner = load_planner(directory)
    if arm is not None and planner.meta.robot != arm:
        raise ValueError(f"{directory} is a planner for '{planner.meta.robot}', not for '{arm}'")
    spaces = SpaceSpec.from_dict(planner.meta.task)
    if spaces is None or spaces.arm != planner.meta.robot:
        raise ValueError(
            f"{directory} is not a grasp planner; train one with 'invdyn train_planner' on data "
            "of 'invdyn collect expert'"
        )
    if spaces.sizes[0] != planner.meta.condition_size:
        raise ValueError(
            f"{directory} takes {planner.meta.condition_size} numbers; an observation of "
            f"'{spaces.arm}' has {spaces.sizes[0]}; train it again"
        )
    return PlannedPolicy(planner, spaces)
