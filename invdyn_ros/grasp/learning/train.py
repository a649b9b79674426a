"""Learning a grasp: a task and settings enter, the best policy leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from invdyn_ros.grasp.learning.config import LearningConfig
from invdyn_ros.grasp.learning.dagger import Imitation
from invdyn_ros.grasp.learning.evaluation import Result
from invdyn_ros.grasp.learning.rl import Reinforcement
from invdyn_ros.grasp.learning.run import Run, Task

RUNS: dict[str, type[Run]] = {
    "dagger": Imitation,
    "sac": Reinforcement,
    "tqc": Reinforcement,
    "ppo": Reinforcement,
}


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
    run = RUNS[config.algorithm](config, task, Path(out), show)
    run.train(resume)
    if run.best is None:
        raise RuntimeError("a run ends with an evaluation")
    return run.best
