"""The algorithms by name: their settings enter, a learner leaves, and out of it a policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from sb3_contrib import TQC
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.replay_buffer import DemonstrationReplayBuffer
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata

BC_LEARNING_RATE = 1e-3  # of Adam, while imitating
MIN_OBSERVATION_STD = 0.05  # of an observation's entry: one that hardly moves is not blown up


class LearnerContext(NamedTuple):
    """What a learner is made for.

    Attributes:
        env: where it acts.
        seed: of its weights and its exploration.
        mean: (o,) taken off each observation.
        scale: (o,) by which it is divided then.
        shown: demonstrations, if any.
        share: of each batch that is drawn from them.
    """

    env: VecEnv
    seed: int
    mean: Tensor
    scale: Tensor
    demonstrations: Transitions | None = None
    demo_fraction: float = 0.0


class Standardise(BaseFeaturesExtractor):
    """Observations less their mean over their scale, both fixed."""

    mean: Tensor
    scale: Tensor

    def __init__(self, space: spaces.Box, mean: Tensor, scale: Tensor) -> None:
        """Take the statistics, (o,) each."""
        super().__init__(space, int(mean.numel()))
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, observations: Tensor) -> Tensor:
        """Standardise (B, o)."""
        return (observations - self.mean) / self.scale


def observation_statistics(shown: Transitions | None, size: int) -> tuple[Tensor, Tensor]:
    """Return mean and scale (o,) of demonstrations; those that change nothing without any."""
    if shown is None:
        return torch.zeros(size), torch.ones(size)
    seen = torch.as_tensor(shown.observations)
    return seen.mean(0), seen.std(0).clamp(min=MIN_OBSERVATION_STD)


def _network(hidden: tuple[int, ...], around: LearnerContext, **more: Any) -> dict[str, Any]:
    return {
        "net_arch": list(hidden),
        "activation_fn": nn.ReLU,
        "features_extractor_class": Standardise,
        "features_extractor_kwargs": {"mean": around.mean, "scale": around.scale},
        **more,
    }


def _off_policy(kind: Callable[..., BaseAlgorithm], config: Any, on: LearnerContext) -> Any:
    way: dict[str, Any] = {
        "policy": "MlpPolicy",
        "replay_buffer_class": DemonstrationReplayBuffer,
        "replay_buffer_kwargs": {
            "demonstrations": on.demonstrations,
            "demo_fraction": on.demo_fraction,
        },
        "policy_kwargs": _network(config.net_arch, on),
    }
    if isinstance(on.env.observation_space, spaces.Dict):  # convolutions, as in Mnih et al. 2015
        seeing = {"net_arch": list(config.net_arch)}
        way = {"policy": "MultiInputPolicy", "policy_kwargs": seeing}
    return kind(
        env=on.env,
        **way,
        learning_rate=config.learning_rate,
        buffer_size=config.buffer_size,
        learning_starts=config.learning_starts,
        batch_size=config.batch_size,
        tau=config.tau,
        gamma=config.gamma,
        train_freq=1,
        gradient_steps=max(1, round(config.gradient_steps * on.env.num_envs)),
        ent_coef=f"auto_{config.ent_coef}",
        seed=on.seed,
        device="cpu",
    )


def _ppo(config: Any, around: LearnerContext) -> BaseAlgorithm:
    return PPO(
        "MlpPolicy",
        around.env,
        learning_rate=config.learning_rate,
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.n_epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_range,
        ent_coef=config.ent_coef,
        policy_kwargs=_network(config.net_arch, around, log_std_init=config.log_std_init),
        seed=around.seed,
        device="cpu",
    )


def _squashed(learner: Any) -> list[nn.Module]:
    return [*learner.actor.latent_pi, learner.actor.mu]


def _plain(learner: Any) -> list[nn.Module]:
    return [*learner.policy.mlp_extractor.policy_net, learner.policy.action_net]


@dataclass(frozen=True)
class SB3Algorithm:
    """One way to learn.

    Attributes:
        make: returns a learner.
        layers: returns the layers of a learner's actor.
        squash: how its actor keeps actions in [-1, 1].
    """

    make_learner: Callable[[Any, LearnerContext], BaseAlgorithm]
    actor_layers: Callable[[Any], list[nn.Module]] = field(default=_squashed)
    squash: str = "tanh"


ALGORITHMS: dict[str, SB3Algorithm] = {
    "sac": SB3Algorithm(partial(_off_policy, SAC)),
    "tqc": SB3Algorithm(partial(_off_policy, TQC)),
    "ppo": SB3Algorithm(_ppo, _plain, "clip"),
}


def extract_policy(
    learner: BaseAlgorithm, algorithm: SB3Algorithm, meta: PolicyMetadata
) -> MLPPolicy:
    """Return a copy of what a learner would do without exploring."""
    policy = MLPPolicy(meta)
    linear = [part for part in algorithm.actor_layers(learner) if isinstance(part, nn.Linear)]
    for mine, its in zip(policy.layers, linear, strict=True):
        mine.load_state_dict(its.state_dict())
    standardise = next(m for m in learner.policy.modules() if isinstance(m, Standardise))
    policy.mean.copy_(standardise.mean)
    policy.scale.copy_(standardise.scale)
    return policy.eval()


def clone_behavior(
    learner: Any, algorithm: SB3Algorithm, shown: Transitions, steps: int, batch: int
) -> None:
    """Make a learner's actor imitate demonstrations, by least squares.

    Args:
        learner: with an actor of its own.
        algorithm: that the learner is of.
        shown: the demonstrations.
        steps: of gradient descent.
        batch: transitions per step.
    """
    layers = algorithm.actor_layers(learner)
    standardise = next(m for m in learner.policy.modules() if isinstance(m, Standardise))
    seen = standardise(torch.as_tensor(shown.observations))
    wanted = torch.as_tensor(shown.actions)
    network = nn.Sequential(*layers, nn.Tanh()) if algorithm.squash == "tanh" else None
    network = network or nn.Sequential(*layers)
    descent = torch.optim.Adam(network.parameters(), lr=BC_LEARNING_RATE)
    for _ in range(steps):
        at = torch.randint(len(wanted), (batch,))
        loss = nn.functional.mse_loss(network(seen[at]), wanted[at])
        descent.zero_grad()
        loss.backward()
        descent.step()
