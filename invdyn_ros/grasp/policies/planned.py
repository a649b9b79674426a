"""The planned grasp: observations enter; the steps of the most usual plan leave, one by one.

A planner proposes what the arm and its gripper may be wanted to do next. Which commands do it is
for the inverse-dynamics model of the driver: neither knows anything of the other. A plan is
followed for a few actions: made anew at each, it would put off closing the gripper for ever.
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
from invdyn_ros.grasp.policies.spaces import SpaceSpec, space_spec_from_dict
from invdyn_ros.models.planner.planner import Planner, load_planner
from invdyn_ros.models.planner.receding_horizon import RecedingHorizonConfig
from invdyn_ros.robots.robot import load_robot


class TargetExtractor:
    """Finds in an observation what the last action wants of arm and gripper."""

    def __init__(self, of: SpaceSpec) -> None:
        """Take it from observations of such steps.

        Raises:
            ValueError: actions that are no joint velocities: they do not tell where joints go.
        """
        if of.control_mode != "joint":
            raise ValueError(
                f"plans are of joints; these steps have control '{of.control_mode}', so collect some "
                "with --control joint"
            )
        self.n = load_robot(of.arm).n
        self.fastest = (
            of.action_space.joint_speed_fraction * load_robot(of.arm).velocity
        )  # (n,) [rad/s] of action 1

    def __call__(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return states (..., 2 (n + 1)) of observations (..., o): positions, then velocities.

        The gripper has no velocity: it jumps.
        """
        n = self.n
        q = seen[..., :n] + JOINT_ERROR_SCALE * seen[..., 2 * n : 3 * n]
        action = seen[..., 3 * n : 4 * n + 1]
        qd = self.fastest * action[..., :n]
        jumps = np.zeros_like(action[..., n:])
        return np.concatenate([q, action[..., n:], qd, jumps], -1).astype(np.float32)


class PlannedPolicy:
    """A planner as a policy of the environment and of the live graph."""

    def __init__(
        self, planner: Planner, of: SpaceSpec, config: RecedingHorizonConfig | None = None
    ) -> None:
        """Make a policy.

        Args:
            planner: of states of the arm and its gripper, given an observation.
            of: what its observations are of.
            config: how many plans there are to choose from, and how long one is followed.

        Raises:
            ValueError: actions that are no joint velocities.
        """
        self.planner, self.wanted = planner, TargetExtractor(of)
        self.config = config or RecedingHorizonConfig()
        observation, action = of.sizes
        self.meta = PolicyMetadata(
            of.arm, observation, action, (1,), "clip", "planner", of.control_mode, of.action_space
        )
        self.reset()

    def reset(self) -> None:
        """Begin an episode: the next action is of a new plan."""
        self.generator = torch.Generator().manual_seed(0)
        self.ahead = np.empty((0, 0), np.float32)  # planned states that are still to be followed

    @torch.no_grad()
    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action (a,) for an observation (o,)."""
        now = self.wanted(observation)
        if not len(self.ahead):
            state, seen = (torch.as_tensor(x) for x in (now, observation))
            plans = self.planner(state, seen, self.config.num_plans, self.generator)
            self.ahead = plans[medoid(plans), 1 : 1 + self.config.n_action_steps].numpy()
        after, self.ahead = self.ahead[0], self.ahead[1:]
        n, period = self.wanted.n, self.meta.action_space.action_period
        qd = after[n + 1 : -1]
        short = after[:n] - now[:n] - (now[n + 1 : -1] + qd) * (period / 2)
        v = qd + POSITION_GAIN * short / period
        action = np.append(v / self.wanted.fastest, np.sign(after[n]))
        return action.clip(-1, 1).astype(np.float32)


def medoid(plans: Tensor) -> int:
    """Return which of the plans (N, T, S) is nearest to all others: their medoid.

    The mean of plans that go left and right of something goes neither way; the medoid goes one.
    """
    flat = plans.flatten(1)
    return int(torch.cdist(flat, flat).sum(1).argmin())


def load_planned_policy(directory: str | Path, arm: str | None = None) -> PlannedPolicy:
    """Read the planner of a grasp, ready to act.

    Args:
        directory: a folder that `invdyn train_planner` wrote from demonstrations.
        arm: refuse a planner of any other.

    Raises:
        ValueError: no planner, a damaged one, one of another arm or of no grasp.
    """
    planner = load_planner(directory)
    if arm is not None and planner.meta.robot != arm:
        raise ValueError(f"{directory} is a planner of '{planner.meta.robot}', not of '{arm}'")
    of = space_spec_from_dict(planner.meta.task)
    if of is None or of.arm != planner.meta.robot:
        raise ValueError(
            f"{directory} plans no grasp; train one with 'invdyn train_planner' on data of "
            "'invdyn collect expert'"
        )
    if of.sizes[0] != planner.meta.condition_size:
        raise ValueError(
            f"{directory} plans on {planner.meta.condition_size} numbers; an observation of "
            f"'{of.arm}' has {of.sizes[0]}; train it again"
        )
    return PlannedPolicy(planner, of)
