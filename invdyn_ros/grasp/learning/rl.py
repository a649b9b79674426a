"""Reinforcement learning of grasp policies with stable-baselines3."""

from __future__ import annotations

from contextlib import closing

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.learner_state import (
    load_learner_state,
    load_state_dict,
    save_learner_state,
    state_dict,
)
from invdyn_ros.grasp.learning.run import LOG_FOLDER, GraspTraining, PixelPolicy, space_sizes
from invdyn_ros.grasp.learning.sb3_algorithms import (
    ALGORITHMS,
    LearnerContext,
    clone_behavior,
    extract_policy,
    observation_statistics,
)
from invdyn_ros.grasp.policies.network import MLPPolicy


class CurriculumCallback(BaseCallback):
    """Advance the curriculum after episodes; evaluate and save the learner regularly."""

    def __init__(self, training: RLTraining) -> None:
        """Create a callback for a training run."""
        super().__init__()
        self.training, self.next_eval = training, 0

    def _on_training_start(self) -> None:
        eval_freq = self.training.config.evaluation.eval_freq
        self.next_eval = (self.num_timesteps // eval_freq + 1) * eval_freq
        self.training.apply_curriculum(self.training_env)

    def _on_step(self) -> bool:
        training = self.training
        training.update_curriculum(self.locals["infos"], self.training_env)
        self.logger.record("curriculum/success_rate", training.curriculum.success_rate)
        training.callback(self.num_timesteps, training.best)
        if self.num_timesteps >= self.next_eval:
            self.next_eval += training.config.evaluation.eval_freq
            training.evaluate(self.num_timesteps, self.logger)
            training.save_checkpoint()
        return True


class RLTraining(GraspTraining):
    """A training run with one of `ALGORITHMS`."""

    learner: BaseAlgorithm

    def train(self, resume: bool) -> None:
        """Train for all remaining environment steps."""
        config, demonstrations = self.config, None
        if config.demonstrations.enabled:
            demonstrations = self.task.record_demonstrations(config.demonstrations.episodes)
        with closing(self.task.make_env(config.num_envs, config.seed)) as env:
            self.learner = learner = self.make_learner(env, demonstrations)
            if resume:
                tensors, counts, progress = load_learner_state(self.fixed_config, self.out)
                load_state_dict(learner, tensors, counts, self.out)
                self.restore(progress)
            elif demonstrations is not None and config.demonstrations.bc_steps:
                clone_behavior(
                    learner,
                    ALGORITHMS[config.algorithm],
                    demonstrations,
                    config.demonstrations.bc_steps,
                    self.learner_config.batch_size,
                )
            learner.set_logger(configure(str(self.out / LOG_FOLDER), ["tensorboard"]))
            remaining = config.total_timesteps - learner.num_timesteps
            if remaining > 0:
                learner.learn(remaining, CurriculumCallback(self), reset_num_timesteps=False)
            self.finish(learner.num_timesteps, learner.logger)

    def make_learner(self, env: VecEnv, demonstrations: Transitions | None) -> BaseAlgorithm:
        """Return an untrained learner for some environments and demonstrations, if any."""
        size = 0 if self.config.obs_mode == "pixels" else space_sizes(env)[0]
        mean, scale = observation_statistics(demonstrations, size)
        demo_fraction = self.config.demonstrations.demo_fraction
        context = LearnerContext(env, self.config.seed, mean, scale, demonstrations, demo_fraction)
        return ALGORITHMS[self.config.algorithm].make_learner(self.learner_config, context)

    def save_checkpoint(self) -> None:
        """Write the state from which the run can be resumed."""
        save_learner_state(*state_dict(self.learner), self.progress, self.out)

    def policy(self, timesteps: int) -> MLPPolicy | PixelPolicy:
        """Return the learner's deterministic policy."""
        env, learner = self.learner.get_env(), self.learner
        assert env is not None
        if self.config.obs_mode == "pixels":
            return PixelPolicy(lambda obs: learner.predict(obs, deterministic=True)[0])
        algorithm = ALGORITHMS[self.config.algorithm]
        meta = self.policy_metadata(env, algorithm.squash, timesteps)
        return extract_policy(self.learner, algorithm, meta)
