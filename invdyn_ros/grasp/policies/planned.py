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

from invdyn_ros.grasp.policies.action_space import POSITION_GAIN
from invdyn_ros.grasp.policies.network import PolicyMetadata
from invdyn_ros.grasp.policies.observation import JOINT_ERROR_SCALE
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.models.planner.planner import Planner, load_planner
from invdyn_ros.models.planner.receding_horizon import RecedingHorizonConfig
from invdyn_ros.robots.robot import load_robot


class TargetExtractor:
    """Extract the target of the last action from an observation."""

    def __init__(self, spaces: SpaceSpec) -> None:
        """Create an extractor for the observations of an arm and action space.

        Raises:
            ValueError: actions that are not joint velocities, because they do not determine
                joint targets.
        """
        if spaces.control_mode != "joint":
            raise ValueError(
                f"plans consist of joint states; this data has control_mode "
                f"'{spaces.control_mode}', so collect data with --control-mode joint"
            )
        robot = load_robot(spaces.arm)
        self.n = robot.n
        # (n,) [rad/s] of an action of 1
        self.velocity_scale = spaces.action_space.joint_speed_fraction * robot.velocity

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return target states (..., 2 (n + 1)), positions before velocities.

        The last position is that of the gripper; its velocity is zero, because its target jumps.

        Args:
            observation: (..., o) observations.
        """
        n = self.n
        q = observation[..., :n] + JOINT_ERROR_SCALE * observation[..., 2 * n : 3 * n]
        action = observation[..., 3 * n : 4 * n + 1]
        qd = self.velocity_scale * action[..., :n]
        gripper_velocity = np.zeros_like(action[..., n:])
        return np.concatenate([q, action[..., n:], qd, gripper_velocity], -1).astype(np.float32)


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

        Raises:
            ValueError: actions that are not joint velocities.
        """
        self.planner, self.extract_target = planner, TargetExtractor(spaces)
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

    @torch.no_grad()
    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action (a,) for an observation (o,)."""
        now = self.extract_target(observation)
        if not len(self.remaining):
            state, condition = (torch.as_tensor(x) for x in (now, observation))
            plans = self.planner(state, condition, self.config.num_plans, self.generator)
            self.remaining = plans[medoid(plans), 1 : 1 + self.config.n_action_steps].numpy()
        desired, self.remaining = self.remaining[0], self.remaining[1:]
        n, dt = self.extract_target.n, self.meta.action_space.action_period
        qd = desired[n + 1 : -1]
        error = desired[:n] - now[:n] - (now[n + 1 : -1] + qd) * (dt / 2)
        velocity = qd + POSITION_GAIN * error / dt
        action = np.append(velocity / self.extract_target.velocity_scale, np.sign(desired[n]))
        return action.clip(-1, 1).astype(np.float32)


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
