"""Algorithms of stable-baselines3: construction, behavior cloning, policy extraction."""

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
from invdyn_ros.grasp.learning.config import OffPolicyConfig, OnPolicyConfig
from invdyn_ros.grasp.learning.replay_buffer import DemonstrationReplayBuffer
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata
from invdyn_ros.training.optimizer import Optimizer, OptimizerConfig

BC_LEARNING_RATE = 1e-3  # learning rate of behavior cloning
MIN_OBSERVATION_STD = 0.05  # lower bound, so that nearly constant entries are not amplified


class LearnerContext(NamedTuple):
    """Arguments from which a learner is created, besides its settings.

    Attributes:
        env: environments that the learner acts in.
        seed: seed of its weights and its exploration.
        mean: (o,) mean of the observations.
        scale: (o,) standard deviation of the observations.
        demonstrations: demonstrations for the replay buffer; None: none.
        demo_fraction: fraction of each batch that is drawn from the demonstrations.
    """

    env: VecEnv
    seed: int
    mean: Tensor
    scale: Tensor
    demonstrations: Transitions | None = None
    demo_fraction: float = 0.0


class Standardise(BaseFeaturesExtractor):
    """Features extractor that standardises observations with fixed statistics."""

    mean: Tensor
    scale: Tensor

    def __init__(self, space: spaces.Box, mean: Tensor, scale: Tensor) -> None:
        """Create a features extractor.

        Args:
            space: observation space.
            mean: (o,) mean of the observations.
            scale: (o,) standard deviation of the observations.
        """
        super().__init__(space, int(mean.numel()))
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, observations: Tensor) -> Tensor:
        """Return standardised observations (B, o)."""
        return (observations - self.mean) / self.scale


def observation_statistics(demonstrations: Transitions | None, size: int) -> tuple[Tensor, Tensor]:
    """Return mean and scale (o,) of the observations; 0 and 1 without demonstrations."""
    if demonstrations is None:
        return torch.zeros(size), torch.ones(size)
    observations = torch.as_tensor(demonstrations.observations)
    return observations.mean(0), observations.std(0).clamp(min=MIN_OBSERVATION_STD)


def _policy_kwargs(
    net_arch: tuple[int, ...], context: LearnerContext, **kwargs: Any
) -> dict[str, Any]:
    return {
        "net_arch": list(net_arch),
        "activation_fn": nn.ReLU,
        "features_extractor_class": Standardise,
        "features_extractor_kwargs": {"mean": context.mean, "scale": context.scale},
        **kwargs,
    }


def _make_off_policy(
    algorithm: Callable[..., BaseAlgorithm], config: OffPolicyConfig, context: LearnerContext
) -> BaseAlgorithm:
    kwargs: dict[str, Any] = {
        "policy": "MlpPolicy",
        "replay_buffer_class": DemonstrationReplayBuffer,
        "replay_buffer_kwargs": {
            "demonstrations": context.demonstrations,
            "demo_fraction": context.demo_fraction,
        },
        "policy_kwargs": _policy_kwargs(config.net_arch, context),
    }
    if isinstance(context.env.observation_space, spaces.Dict):  # CNN of Mnih et al. 2015
        policy_kwargs = {"net_arch": list(config.net_arch)}
        kwargs = {"policy": "MultiInputPolicy", "policy_kwargs": policy_kwargs}
    return algorithm(
        env=context.env,
        **kwargs,
        learning_rate=config.learning_rate,
        buffer_size=config.buffer_size,
        learning_starts=config.learning_starts,
        batch_size=config.batch_size,
        tau=config.tau,
        gamma=config.gamma,
        train_freq=1,
        gradient_steps=max(1, round(config.gradient_steps * context.env.num_envs)),
        ent_coef=f"auto_{config.ent_coef}",
        seed=context.seed,
        device="cpu",
    )


def _make_ppo(config: OnPolicyConfig, context: LearnerContext) -> BaseAlgorithm:
    return PPO(
        "MlpPolicy",
        context.env,
        learning_rate=config.learning_rate,
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        n_epochs=config.n_epochs,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_range,
        ent_coef=config.ent_coef,
        policy_kwargs=_policy_kwargs(config.net_arch, context, log_std_init=config.log_std_init),
        seed=context.seed,
        device="cpu",
    )


def _squashed_actor_layers(learner: Any) -> list[nn.Module]:
    return [*learner.actor.latent_pi, learner.actor.mu]


def _gaussian_actor_layers(learner: Any) -> list[nn.Module]:
    return [*learner.policy.mlp_extractor.policy_net, learner.policy.action_net]


@dataclass(frozen=True)
class SB3Algorithm:
    """An algorithm of stable-baselines3.

    Attributes:
        make_learner: creates a learner from its settings and a `LearnerContext`.
        actor_layers: returns the layers of a learner's actor.
        squash: function that maps the actor's output to [-1, 1]: tanh or clip.
    """

    make_learner: Callable[[Any, LearnerContext], BaseAlgorithm]
    actor_layers: Callable[[Any], list[nn.Module]] = field(default=_squashed_actor_layers)
    squash: str = "tanh"


ALGORITHMS: dict[str, SB3Algorithm] = {
    "sac": SB3Algorithm(partial(_make_off_policy, SAC)),
    "tqc": SB3Algorithm(partial(_make_off_policy, TQC)),
    "ppo": SB3Algorithm(_make_ppo, _gaussian_actor_layers, "clip"),
}


def extract_policy(
    learner: BaseAlgorithm, algorithm: SB3Algorithm, meta: PolicyMetadata
) -> MLPPolicy:
    """Return a copy of a learner's deterministic policy.

    Args:
        learner: learner of stable-baselines3.
        algorithm: algorithm of the learner.
        meta: metadata of the policy.
    """
    policy = MLPPolicy(meta)
    linear = [layer for layer in algorithm.actor_layers(learner) if isinstance(layer, nn.Linear)]
    for target, source in zip(policy.layers, linear, strict=True):
        target.load_state_dict(source.state_dict())
    standardise = next(m for m in learner.policy.modules() if isinstance(m, Standardise))
    policy.mean.copy_(standardise.mean)
    policy.scale.copy_(standardise.scale)
    return policy.eval()


def clone_behavior(
    learner: Any,
    algorithm: SB3Algorithm,
    demonstrations: Transitions,
    bc_steps: int,
    batch_size: int,
) -> None:
    """Fit a learner's actor to demonstrations by least squares (behavior cloning).

    Args:
        learner: learner of stable-baselines3, which is modified in place.
        algorithm: algorithm of the learner.
        demonstrations: demonstrations to imitate.
        bc_steps: number of gradient steps.
        batch_size: transitions per gradient step.
    """
    layers = algorithm.actor_layers(learner)
    standardise = next(m for m in learner.policy.modules() if isinstance(m, Standardise))
    observations = standardise(torch.as_tensor(demonstrations.observations))
    actions = torch.as_tensor(demonstrations.actions)
    actor = nn.Sequential(*layers, *([nn.Tanh()] if algorithm.squash == "tanh" else []))
    config = OptimizerConfig(learning_rate=BC_LEARNING_RATE, max_grad_norm=0.0)
    optimizer = Optimizer(actor.parameters(), config, fused=False)

    def loss(index: Tensor) -> Tensor:
        return nn.functional.mse_loss(actor(observations[index]), actions[index])

    batches = ((torch.randint(len(actions), (batch_size,)),) for _ in range(bc_steps))
    optimizer.minimize(loss, batches)
