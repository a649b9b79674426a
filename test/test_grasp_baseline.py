"""Scripted baseline of a learned policy on the same episodes."""

from invdyn_ros.grasp.envs.agents import SCRIPTED, load_policy_spec
from invdyn_ros.grasp.envs.rollouts import RolloutJob, rollout
from invdyn_ros.grasp.envs.scripted_baseline import scripted_successes


def test_baseline_runs_the_first_episodes_of_the_run() -> None:
    """With a seed for which one episode fails and one succeeds."""
    expected = [
        e.success
        for e in rollout(RolloutJob(load_policy_spec(SCRIPTED, "ur5"), "hard", 2, (0, 1)))
    ]
    assert set(expected) == {True, False}
    assert scripted_successes("ur5", "hard", 2, 2) == expected
