"""Agents that act in the grasp environment, and policies by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.scripted_agent import ScriptedAgent
from invdyn_ros.grasp.policies.learned import load_learned_grasp
from invdyn_ros.grasp.policies.network import Policy
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

SCRIPTED = "scripted"
EXPERT = "expert"


class GraspAgent(Protocol):
    """Protocol of agents that act in an environment, one episode after the other."""

    def reset(self) -> None:
        """Start an episode."""

    def act(self, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the action (a,) for the observation and info of `reset` or `step`."""


class ExpertAgent:
    """Visual-servoing expert that uses the same measurements as a policy."""

    def __init__(self, env: GraspEnv) -> None:
        """Create the agent of an unwrapped environment."""
        self.env = env

    def reset(self) -> None:
        """Start an episode; the expert is memoryless."""

    def act(self, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the expert's action (a,)."""
        return self.env.expert_action("detections")


class PolicyAgent:
    """Agent of a learned policy or a planner, which uses only the observation."""

    def __init__(self, policy: Policy, env: GraspEnv) -> None:
        """Create the agent of a policy; the environment has the policy's spaces."""
        self.policy = policy

    def reset(self) -> None:
        """Start an episode."""
        self.policy.reset()

    def act(self, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the policy's action (a,)."""
        return self.policy.act(observation)


class PolicySpec(NamedTuple):
    """Specification of a policy and of the environment that it needs.

    Attributes:
        name: name in reports.
        arm: name of the arm.
        env_kwargs: fields of `GraspEnvConfig` that it needs.
        make_agent: creates the agent of an environment with these fields.
    """

    name: str
    arm: str
    env_kwargs: dict[str, Any]
    make_agent: Callable[[GraspEnv], GraspAgent]


def load_policy_spec(policy: str, arm: str) -> PolicySpec:
    """Return a policy for an arm.

    Args:
        policy: scripted, expert, or a folder of `invdyn train_grasp` or `train_planner`.
        arm: name of the arm.

    Raises:
        ValueError: no such policy, or one for another arm, observation or action space.
    """
    if policy == SCRIPTED:
        return PolicySpec(SCRIPTED, arm, {}, ScriptedAgent)
    if policy == EXPERT:
        return PolicySpec(EXPERT, arm, {"control_mode": "cartesian"}, ExpertAgent)
    learned = load_learned_grasp(load_robot(arm), load_scene(arm), policy).policy
    env_kwargs = {
        "control_mode": learned.meta.control_mode,
        "action_space": learned.meta.action_space,
    }
    make_agent = partial(PolicyAgent, learned)
    return PolicySpec(Path(policy).resolve().name, arm, env_kwargs, make_agent)
