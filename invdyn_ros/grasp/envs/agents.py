"""Whoever acts in an environment: the name of a policy enters, an actor and its needs leave."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.scripted_expert import ScriptedPolicy
from invdyn_ros.grasp.policies.learned import load_learned_grasp
from invdyn_ros.grasp.policies.network import Policy
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

SCRIPTED = "scripted"
EXPERT = "expert"


class Agent(Protocol):
    """Acts in an environment, one episode after the other."""

    def reset(self) -> None:
        """Begin an episode."""

    def __call__(self, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the action that follows what `reset` or `step` of the environment told."""


class ScriptedAgent:
    """The script of the live graph; it looks at nothing but `info`."""

    def __init__(self, environment: GraspEnv) -> None:
        self.policy = ScriptedPolicy(environment)

    def reset(self) -> None:
        """Begin an episode."""
        self.policy.reset()

    def __call__(self, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the script's action."""
        return self.policy(info)


class ExpertAgent:
    """The teacher of the shipped policies, which knows what they know."""

    def __init__(self, environment: GraspEnv) -> None:
        self.environment = environment

    def reset(self) -> None:
        """Begin an episode."""

    def __call__(self, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the teacher's action."""
        return self.environment.expert_action("detections")


class PolicyAgent:
    """A learned policy, or a planner; it looks at nothing but the observation."""

    def __init__(self, policy: Policy, environment: GraspEnv) -> None:
        self.policy = policy

    def reset(self) -> None:
        """Begin an episode."""
        self.policy.reset()

    def __call__(self, observation: Any, info: dict[str, Any]) -> NDArray[np.float32]:
        """Return the policy's action."""
        return self.policy.act(observation)


class PolicySpec(NamedTuple):
    """A policy by name.

    Attributes:
        name: for people.
        arm: that it moves.
        environment: fields of `GraspEnvConfig` without which it cannot act.
        act_in: returns the actor for an environment that has them.
    """

    name: str
    arm: str
    env_kwargs: dict[str, Any]
    make_agent: Callable[[GraspEnv], Agent]


def load_policy_spec(policy: str, arm: str) -> PolicySpec:
    """Return a policy for an arm.

    Args:
        policy: "scripted", "servo", or a folder of `invdyn train_grasp` or `train_planner`.
        arm: name of the arm.

    Raises:
        ValueError: no policy there, or one of another arm, observation or action.
    """
    if policy == SCRIPTED:
        return PolicySpec(SCRIPTED, arm, {}, ScriptedAgent)
    if policy == EXPERT:
        return PolicySpec(EXPERT, arm, {"control_mode": "cartesian"}, ExpertAgent)
    learned = load_learned_grasp(load_robot(arm), load_scene(arm), policy).policy
    needs = {"control_mode": learned.meta.control_mode, "action_space": learned.meta.action_space}
    return PolicySpec(Path(policy).resolve().name, arm, needs, partial(PolicyAgent, learned))
