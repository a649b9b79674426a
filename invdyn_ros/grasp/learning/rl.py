"""Reinforcement learning of a grasp, through stable-baselines3."""

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
    """Looks after a run: curriculum, evaluations, the best policy and the state on disk."""

    def __init__(self, run: RLTraining) -> None:
        """Watch a run."""
        super().__init__()
        self.run, self.due = run, 0

    def _on_training_start(self) -> None:
        every = self.run.config.evaluation.eval_freq
        self.due = (self.num_timesteps // every + 1) * every
        self.run.apply_curriculum(self.training_env)

    def _on_step(self) -> bool:
        run = self.run
        run.update_curriculum(self.locals["infos"], self.training_env)
        self.logger.record("curriculum/success_rate", run.curriculum.success_rate)
        run.callback(self.num_timesteps, run.best)
        if self.num_timesteps >= self.due:
            self.due += run.config.evaluation.eval_freq
            run.evaluate(self.num_timesteps, self.logger)
            run.save_checkpoint()
        return True


class RLTraining(GraspTraining):
    """A run of one of `ALGORITHMS`."""

    learner: BaseAlgorithm

    def train(self, resume: bool) -> None:
        """Learn until the steps are done."""
        config, shown = self.config, None
        if config.demonstrations.enabled:
            shown = self.task.record_demonstrations(config.demonstrations.episodes)
        with closing(self.task.make_env(config.num_envs, config.seed)) as env:
            self.learner = learner = self.make_learner(env, shown)
            if resume:
                tensors, counts, progress = load_learner_state(self.fixed_config, self.out)
                load_state_dict(learner, tensors, counts, self.out)
                self.restore(progress)
            elif shown is not None and config.demonstrations.bc_steps:
                steps, batch = config.demonstrations.bc_steps, self.learner_config.batch_size
                clone_behavior(learner, ALGORITHMS[config.algorithm], shown, steps, batch)
            learner.set_logger(configure(str(self.out / LOG_FOLDER), ["tensorboard"]))
            left = config.total_timesteps - learner.num_timesteps
            if left > 0:
                learner.learn(left, CurriculumCallback(self), reset_num_timesteps=False)
            self.finish(learner.num_timesteps, learner.logger)

    def make_learner(self, env: VecEnv, shown: Transitions | None) -> BaseAlgorithm:
        """Return a learner that knows nothing yet."""
        size = 0 if self.config.obs_mode == "pixels" else space_sizes(env)[0]
        mean, scale = observation_statistics(shown, size)
        share = self.config.demonstrations.demo_fraction
        around = LearnerContext(env, self.config.seed, mean, scale, shown, share)
        return ALGORITHMS[self.config.algorithm].make_learner(self.learner_config, around)

    def save_checkpoint(self) -> None:
        """Write the state of the run, to go on from."""
        save_learner_state(*state_dict(self.learner), self.progress, self.out)

    def policy(self, step: int) -> MLPPolicy | PixelPolicy:
        """Return what the learner would do now, by itself."""
        env, learner = self.learner.get_env(), self.learner
        assert env is not None
        if self.config.obs_mode == "pixels":
            return PixelPolicy(lambda seen: learner.predict(seen, deterministic=True)[0])
        algorithm = ALGORITHMS[self.config.algorithm]
        return extract_policy(
            self.learner, algorithm, self.policy_metadata(env, algorithm.squash, step)
        )
