"""How a policy is learned: the settings of every algorithm, and of a run."""

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
from invdyn_ros.grasp.envs.episode import MAX_EPISODE_SECONDS
from invdyn_ros.grasp.envs.grasp_env import GraspEnvConfig
from invdyn_ros.grasp.learning.curriculum import CurriculumConfig
from invdyn_ros.grasp.learning.evaluation import PolicyEvaluationConfig
from invdyn_ros.grasp.learning.replay_buffer import DemonstrationConfig
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig


@dataclass(frozen=True)
class OffPolicyConfig(Validated):
    """Settings of SAC and TQC.

    Attributes:
        learning_rate: of Adam.
        batch: transitions per update.
        buffer: transitions that are remembered.
        discount: per step.
        tau: share by which the target networks follow per update.
        start: random steps before the first update.
        updates: per step of an environment.
        hidden: units of each hidden layer.
        entropy: first weight of the entropy, which then adapts.
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
    """Settings of PPO.

    Attributes:
        learning_rate: of Adam.
        batch: transitions per update.
        rollout: steps of each environment between updates.
        epochs: passes over a rollout.
        discount: per step.
        smoothing: lambda of the advantage estimate.
        clip: of the policy's ratio.
        entropy: weight of the entropy.
        deviation: logarithm of the first standard deviation of an action.
        hidden: units of each hidden layer.
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
    """Settings of DAgger: imitate a teacher wherever the learner goes.

    Attributes:
        learning_rate: of Adam at first; it falls to a twentieth.
        batch: states per update.
        start: steps that the teacher drives before the learner does.
        updates: per step of an environment.
        teacher: truth: it sees the true state; sightings: it knows what the learner knows.
        guided: share of the later episodes that the teacher drives.
        disturbance: of the driver's actions in every other episode, standard deviation; it wanders
            over half a second.
        hidden: units of each hidden layer.
    """

    learning_rate: PositiveFloat = 1e-3
    batch_size: PositiveInt = 256
    learning_starts: PositiveInt = 3000
    gradient_steps: PositiveFloat = 1.0
    expert: Literal["privileged", "detections"] = "detections"
    beta: Probability = 0.1
    action_noise_std: NonNegativeFloat = 0.3
    net_arch: PositiveInts = (256, 256)


LEARNER_CONFIGS: dict[str, type[Any]] = {
    "dagger": DaggerConfig,
    "sac": OffPolicyConfig,
    "tqc": OffPolicyConfig,
    "ppo": OnPolicyConfig,
}
OFF_POLICY = ("sac", "tqc")  # they learn from a replay buffer, hence from demonstrations
PIXEL_CAPABLE = ("sac", "tqc")  # they learn from pixels too


@dataclass(frozen=True)
class GraspTrainConfig(Validated):
    """How a policy is learned.

    Attributes:
        algorithm: dagger, sac, tqc or ppo.
        arm: its name; it needs a gripper and a scene.
        steps: of all environments together.
        seed: of everything.
        processes: environments side by side.
        control: joint or cartesian.
        observation: state, or pixels of a block without markers.
        noise: none, default or hard.
        limit: longest time of an episode [s].
        steering: how far one action goes.
        learner: settings of the algorithm, by name.
        demonstrations: how a script, or whoever was recorded, helps sac, tqc and ppo.
        curriculum: how the task grows.
        evaluation: how often the policy is tried out.
    """

    algorithm: str = "dagger"
    arm: str = "ur5"
    total_timesteps: PositiveInt = 300_000
    seed: NonNegativeInt = 0
    num_envs: PositiveInt = 1
    control_mode: Literal["joint", "cartesian"] = "joint"
    obs_mode: Literal["state", "pixels"] = "state"
    noise: str = "default"
    max_episode_seconds: PositiveFloat = MAX_EPISODE_SECONDS
    action_space: ActionSpaceConfig = field(default_factory=ActionSpaceConfig)
    learner: dict[str, Any] = field(default_factory=dict)
    demonstrations: DemonstrationConfig = field(default_factory=DemonstrationConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    evaluation: PolicyEvaluationConfig = field(default_factory=PolicyEvaluationConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be learned."""
        super().__post_init__()
        self.learner_config()
        self._check_demonstrations()
        if self.obs_mode == "pixels" and self.algorithm not in PIXEL_CAPABLE:
            able = " or ".join(PIXEL_CAPABLE)
            raise ValueError(f"'{self.algorithm}' does not learn from pixels; take {able}")
        GraspEnvConfig(self.arm, noise=self.noise)

    def _check_demonstrations(self) -> None:
        """Refuse demonstrations that nobody would look at."""
        shown = self.demonstrations
        if not shown.enabled:
            return
        if self.algorithm == "dagger":
            raise ValueError("'dagger' asks its teacher; leave out demonstrations")
        if self.obs_mode == "pixels":
            raise ValueError("demonstrations have no pixels; leave them out, or learn from state")
        if self.algorithm not in OFF_POLICY and not shown.bc_steps:
            raise ValueError(
                f"'{self.algorithm}' has no memory to put demonstrations in, it can only begin as "
                "their clone; give demonstrations.bc_steps, steps of imitation"
            )

    def learner_config(self) -> Any:
        """Return the settings of the algorithm.

        Raises:
            ValueError: no such algorithm, or no such settings of it.
        """
        if self.algorithm not in LEARNER_CONFIGS:
            raise ValueError(f"no algorithm '{self.algorithm}'; known: {sorted(LEARNER_CONFIGS)}")
        schema = LEARNER_CONFIGS[self.algorithm]
        return from_mapping(schema, self.learner, f"learner of {self.algorithm}")
