"""Reinforcement learning of a grasp: a task and settings enter, the best policy leaves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from invdyn_ros.config import Checked, Count, Positive, at_least, from_mapping, to_mapping
from invdyn_ros.grasp.algorithms import Surroundings, clone, extract, find_algorithm, statistics
from invdyn_ros.grasp.curriculum import Curriculum, CurriculumConfig
from invdyn_ros.grasp.demonstrations import DemonstrationConfig, Transitions, record
from invdyn_ros.grasp.environment import GraspEnv, GraspEnvConfig
from invdyn_ros.grasp.environments import ARMS, NAMESPACE
from invdyn_ros.grasp.learner_state import read_state, write_state
from invdyn_ros.grasp.policy import Policy, PolicyMeta, save_policy
from invdyn_ros.grasp.steering import SteeringConfig
from invdyn_ros.grasp.trial import EvaluationConfig, Result, evaluate
from invdyn_ros.grasp.vector import vectorised
from invdyn_ros.grasp.world import LIMIT

VALIDATION = 2_000_000  # seeds of evaluations start this far from those of training
LOGS = "logs"  # folder of TensorBoard's files in that of the run
FREE = ("steps", "processes", "evaluation")  # settings that a resumed run may change


@dataclass(frozen=True)
class LearningConfig(Checked):
    """How a policy is learned.

    Attributes:
        algorithm: sac, tqc or ppo.
        arm: its name; it needs a gripper and a scene.
        steps: of all environments together.
        seed: of everything.
        processes: environments side by side.
        control: joint or cartesian.
        noise: none, default or hard.
        limit: longest time of an episode [s].
        steering: how far one action goes.
        learner: settings of the algorithm, by name.
        demonstrations: how a script helps.
        curriculum: how the task grows.
        evaluation: how often the policy is tried out.
    """

    algorithm: str = "tqc"
    arm: str = "ur5"
    steps: Count = 300_000
    seed: Annotated[int, at_least(0)] = 0
    processes: Count = 1
    control: Literal["joint", "cartesian"] = "joint"
    noise: str = "default"
    limit: Positive = LIMIT
    steering: SteeringConfig = field(default_factory=SteeringConfig)
    learner: dict[str, Any] = field(default_factory=dict)
    demonstrations: DemonstrationConfig = field(default_factory=DemonstrationConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be learned."""
        super().__post_init__()
        algorithm = find_algorithm(self.algorithm)
        from_mapping(algorithm.settings, self.learner, f"learner of {self.algorithm}")
        if self.demonstrations.episodes and not algorithm.remembers:
            raise ValueError(
                f"'{self.algorithm}' has no memory to put demonstrations in; "
                "set demonstrations.episodes to 0, or take sac or tqc"
            )
        GraspEnvConfig(self.arm, noise=self.noise)


class Task(NamedTuple):
    """What is learned.

    Attributes:
        make: returns as many environments as told, with seeds from the one told on.
        demonstrate: returns as many episodes of a script as told.
    """

    make: Callable[[int, int], VecEnv]
    demonstrate: Callable[[int], Transitions]


def grasp_task(config: LearningConfig) -> Task:
    """Return the grasp of an arm as a task."""
    changes = {name: getattr(config, name) for name in ("control", "noise", "limit", "steering")}
    name = next(name for name, arm in ARMS.items() if arm == config.arm)

    def make(processes: int, seed: int) -> VecEnv:
        return vectorised(f"{NAMESPACE}/Grasp{name}-v0", processes, seed, **changes)

    def demonstrate(episodes: int) -> Transitions:
        with closing(GraspEnv(arm=config.arm, **changes)) as environment:
            return record(environment, episodes, config.seed)

    return Task(make, demonstrate)


class Watch(BaseCallback):
    """Looks after a run: curriculum, evaluations, the best policy and the state on disk."""

    def __init__(self, run: Run) -> None:
        """Watch a run."""
        super().__init__()
        self.run, self.due = run, 0

    def _on_training_start(self) -> None:
        every = self.run.config.evaluation.every
        self.due = (self.num_timesteps // every + 1) * every
        self.run.ease(self.training_env)

    def _on_step(self) -> bool:
        run = self.run
        for info in self.locals["infos"]:
            if "episode" in info and run.curriculum.see(bool(info["is_success"])):
                run.ease(self.training_env)
        self.logger.record("curriculum/level", run.curriculum.level)
        self.logger.record("curriculum/success_rate", run.curriculum.rate)
        run.show(self.num_timesteps, run.best)
        if self.num_timesteps >= self.due:
            self.due += run.config.evaluation.every
            run.judge(self.num_timesteps)
            run.keep()
        return True


class Run:
    """One run: learner, curriculum and the best so far."""

    def __init__(
        self,
        config: LearningConfig,
        task: Task,
        out: Path,
        show: Callable[[int, Result | None], None],
    ) -> None:
        """Prepare a run; see `learn`."""
        self.config, self.task, self.out, self.show = config, task, out, show
        self.algorithm = find_algorithm(config.algorithm)
        self.settings = from_mapping(self.algorithm.settings, config.learner, "learner")
        self.curriculum = Curriculum(config.curriculum)
        self.best: Result | None = None

    def go(self, resume: bool) -> None:
        """Learn until the steps are done."""
        config, shown = self.config, None
        if config.demonstrations.episodes:
            shown = self.task.demonstrate(config.demonstrations.episodes)
        with closing(self.task.make(config.processes, config.seed)) as env:
            self.learner = self._learner(env, shown)
            if resume:
                self._resume()
            elif shown is not None and config.demonstrations.cloning:
                steps, batch = config.demonstrations.cloning, self.settings.batch
                clone(self.learner, self.algorithm, shown, steps, batch)
            self.learner.set_logger(configure(str(self.out / LOGS), ["tensorboard"]))
            left = config.steps - self.learner.num_timesteps
            if left > 0:
                self.learner.learn(left, Watch(self), reset_num_timesteps=False)
            if self.best is None or self.best.step < self.learner.num_timesteps:
                self.judge(self.learner.num_timesteps)
            self.keep()

    def _learner(self, env: VecEnv, shown: Transitions | None) -> BaseAlgorithm:
        if env.observation_space.shape is None or env.action_space.shape is None:
            raise ValueError("a policy is learned from observations that are one vector")
        mean, scale = statistics(shown, env.observation_space.shape[0])
        share = self.config.demonstrations.share
        around = Surroundings(env, self.config.seed, mean, scale, shown, share)
        return self.algorithm.make(self.settings, around)

    def _resume(self) -> None:
        """Go on where the state on disk ends."""
        progress = read_state(self.learner, self._fixed(), self.out)
        self.curriculum.level = progress["level"]
        self.best = Result(*progress["best"])

    def _fixed(self) -> dict[str, Any]:
        """Return the settings that a resumed run must share with the first one."""
        return {k: v for k, v in to_mapping(self.config).items() if k not in FREE}

    def ease(self, env: VecEnv) -> None:
        """Show as much of the task as the curriculum says."""
        env.env_method("ease", *self.curriculum.shares)

    def judge(self, step: int) -> None:
        """Evaluate on the whole task; keep the policy if it is the best."""
        config, policy = self.config, self.policy(step)
        seed, episodes = config.seed + VALIDATION, config.evaluation.episodes
        with closing(self.task.make(config.processes, seed)) as env:
            result = evaluate(policy.act, env, episodes)._replace(step=step)
        self.learner.logger.record("evaluation/success_rate", result.successes / episodes)
        self.learner.logger.record("evaluation/reward", result.reward)
        self.learner.logger.dump(step)
        if self.best is None or result.score > self.best.score:
            self.best = result
            policy.meta.data.update(successes=result.successes, episodes=episodes)
            save_policy(policy, self.out)

    def keep(self) -> None:
        """Write the state of the run, to go on from."""
        progress = {"settings": self._fixed(), "level": self.curriculum.level, "best": self.best}
        write_state(self.learner, progress, self.out)

    def policy(self, step: int) -> Policy:
        """Return what the learner would do now, by itself."""
        config, env = self.config, self.learner.get_env()
        assert env is not None and env.observation_space.shape and env.action_space.shape
        meta = PolicyMeta(
            config.arm,
            env.observation_space.shape[0],
            env.action_space.shape[0],
            self.settings.hidden,
            self.algorithm.bound,  # type: ignore[arg-type]
            config.algorithm,
            config.control,
            config.steering,
            {"steps": step, "noise": config.noise, "seed": config.seed},
        )
        return extract(self.learner, self.algorithm, meta)


def learn(
    config: LearningConfig,
    task: Task,
    out: str | Path,
    resume: bool = False,
    show: Callable[[int, Result | None], None] = lambda step, best: None,
) -> Result:
    """Learn a policy.

    Args:
        config: how.
        task: what.
        out: folder for the best policy, the state of the run and TensorBoard's files.
        resume: go on with the run in that folder.
        show: called after each step with their number and the best result so far.

    Returns:
        How the best policy did in the evaluation that chose it.

    Raises:
        ValueError: nothing to resume, or a run with other settings.
    """
    run = Run(config, task, Path(out), show)
    run.go(resume)
    if run.best is None:
        raise RuntimeError("a run ends with an evaluation")
    return run.best
