"""Settings of the training of grasp policies and of its algorithms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from invdyn_ros.config import (
    Fraction,
    FractionBelowOne,
    PositiveInts,
    Probability,
    Validated,
    from_mapping,
)
from invdyn_ros.grasp.envs.env_config import GraspEnvConfig
from invdyn_ros.grasp.envs.grasp_simulation import MAX_EPISODE_SECONDS
from invdyn_ros.grasp.learning.curriculum import CurriculumConfig
from invdyn_ros.grasp.learning.evaluation import PolicyEvaluationConfig
from invdyn_ros.grasp.learning.replay_buffer import DemonstrationConfig
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig


@dataclass(frozen=True)
class OffPolicyConfig(Validated):
    """Settings of SAC and TQC, named as in stable-baselines3.

    Attributes:
        learning_rate: learning rate of Adam.
        batch_size: transitions per gradient step.
        buffer_size: number of transitions in the replay buffer.
        gamma: discount factor per environment step.
        tau: soft update coefficient of the target networks.
        learning_starts: random steps before the first gradient step.
        gradient_steps: gradient steps per environment step.
        net_arch: units of each hidden layer.
        ent_coef: initial entropy coefficient; it is adapted automatically.
    """

    learning_rate: PositiveFloat = 3e-4
    batch_size: PositiveInt = 256
    buffer_size: PositiveInt = 300_000
    gamma: FractionBelowOne = 0.98
    tau: Fraction = 0.005
    learning_starts: NonNegativeInt = 1000
    gradient_steps: PositiveFloat = 1.0
    net_arch: PositiveInts = (256, 256)
    ent_coef: PositiveFloat = 0.1


@dataclass(frozen=True)
class OnPolicyConfig(Validated):
    """Settings of PPO, named as in stable-baselines3.

    Attributes:
        learning_rate: learning rate of Adam.
        batch_size: transitions per gradient step.
        n_steps: steps of each environment per update.
        n_epochs: passes over these steps per update.
        gamma: discount factor per environment step.
        gae_lambda: bias-variance trade-off of the advantage estimate.
        clip_range: clipping range of the probability ratio.
        ent_coef: entropy coefficient.
        log_std_init: initial log standard deviation of the actions.
        net_arch: units of each hidden layer.
    """

    learning_rate: PositiveFloat = 3e-4
    batch_size: PositiveInt = 256
    n_steps: PositiveInt = 1024
    n_epochs: PositiveInt = 10
    gamma: FractionBelowOne = 0.98
    gae_lambda: Fraction = 0.95
    clip_range: PositiveFloat = 0.2
    ent_coef: NonNegativeFloat = 0.0
    log_std_init: float = -1.0
    net_arch: PositiveInts = (256, 256)


@dataclass(frozen=True)
class DaggerConfig(Validated):
    """Settings of DAgger: imitation of an expert in the states that the learner visits.

    Attributes:
        learning_rate: initial learning rate of Adam, which falls linearly to a twentieth.
        batch_size: states per gradient step.
        learning_starts: environment steps in which only the expert acts.
        gradient_steps: gradient steps per environment step.
        expert: inputs of the expert: `privileged`, the true state, or `detections`, the state that
            is estimated from the observations of the learner.
        beta: fraction of later episodes in which the expert acts.
        action_noise_std: standard deviation of the action noise in half of the episodes; it is
            correlated over half a second.
        relabeled: observations per environment step with another block, goal and gripper opening
            that the expert labels, too; an expert with privileged state can label none.
        net_arch: units of each hidden layer.
    """

    learning_rate: PositiveFloat = 1e-3
    batch_size: PositiveInt = 256
    learning_starts: PositiveInt = 3000
    gradient_steps: PositiveFloat = 1.0
    expert: Literal["privileged", "detections"] = "detections"
    beta: Probability = 0.1
    action_noise_std: NonNegativeFloat = 0.3
    relabeled: NonNegativeInt = 4
    net_arch: PositiveInts = (256, 256)

    def __post_init__(self) -> None:
        """Check that the expert can label other observations."""
        super().__post_init__()
        if self.relabeled and self.expert == "privileged":
            raise ValueError(
                f"relabeled is {self.relabeled}; it must be 0 for an expert with privileged "
                "state, which does not act on observations"
            )


LEARNER_CONFIGS: dict[str, type[Any]] = {
    "dagger": DaggerConfig,
    "sac": OffPolicyConfig,
    "tqc": OffPolicyConfig,
    "ppo": OnPolicyConfig,
}
OFF_POLICY = ("sac", "tqc")  # algorithms with a replay buffer, which may hold demonstrations
PIXEL_CAPABLE = ("sac", "tqc")  # algorithms that can use pixel observations


@dataclass(frozen=True)
class GraspTrainConfig(Validated):
    """Settings of a training run of a grasp policy.

    Attributes:
        algorithm: dagger, sac, tqc or ppo.
        arm: name of the arm, which needs a gripper and a scene.
        total_timesteps: environment steps of all environments together.
        seed: random seed of the run.
        num_envs: number of parallel environments.
        control_mode: meaning of actions: joint or cartesian.
        obs_mode: state, or pixels of a block without markers.
        noise: domain randomization level: none, default or hard.
        random_goal: whether each episode has a goal of its own; otherwise that of the scene.
        max_episode_seconds: time limit of an episode [s].
        action_space: time step and scale of actions.
        learner: settings of the algorithm by name, see `LEARNER_CONFIGS`.
        demonstrations: demonstrations for sac, tqc and ppo, recorded or by the scripted policy.
        curriculum: curriculum from easy episodes to the whole task.
        evaluation: frequency and size of the evaluations during training.
    """

    algorithm: str = "dagger"
    arm: str = "ur5"
    total_timesteps: PositiveInt = 300_000
    seed: NonNegativeInt = 0
    num_envs: PositiveInt = 1
    control_mode: Literal["joint", "cartesian"] = "joint"
    obs_mode: Literal["state", "pixels"] = "state"
    noise: str = "default"
    random_goal: bool = False
    max_episode_seconds: PositiveFloat = MAX_EPISODE_SECONDS
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    learner: dict[str, Any] = field(default_factory=dict)
    demonstrations: DemonstrationConfig = field(default_factory=DemonstrationConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    evaluation: PolicyEvaluationConfig = field(default_factory=PolicyEvaluationConfig)

    def __post_init__(self) -> None:
        """Check that the settings fit together."""
        super().__post_init__()
        self.learner_config()
        self._check_demonstrations()
        if self.obs_mode == "pixels" and self.algorithm not in PIXEL_CAPABLE:
            capable = " or ".join(PIXEL_CAPABLE)
            raise ValueError(f"'{self.algorithm}' cannot use pixel observations; use {capable}")
        GraspEnvConfig(self.arm, noise=self.noise)

    def _check_demonstrations(self) -> None:
        """Check that the algorithm can use the demonstrations."""
        if not self.demonstrations.enabled:
            return
        if self.algorithm == "dagger":
            raise ValueError(
                "'dagger' learns from its expert, not from demonstrations; leave them out"
            )
        if self.obs_mode == "pixels":
            raise ValueError(
                "demonstrations have no pixels; leave them out, or use obs_mode 'state'"
            )
        if self.algorithm not in OFF_POLICY and not self.demonstrations.bc_steps:
            raise ValueError(
                f"'{self.algorithm}' has no replay buffer and can use demonstrations only for "
                "behavior cloning; give demonstrations.bc_steps"
            )

    def learner_config(self) -> Any:
        """Return the settings of the algorithm.

        Raises:
            ValueError: unknown algorithm, or invalid settings for it.
        """
        if self.algorithm not in LEARNER_CONFIGS:
            raise ValueError(f"no algorithm '{self.algorithm}'; known: {sorted(LEARNER_CONFIGS)}")
        schema = LEARNER_CONFIGS[self.algorithm]
        return from_mapping(schema, self.learner, f"learner of {self.algorithm}")
