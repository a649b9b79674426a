"""The script beside a learned policy: its successes are those of the same episodes."""

from invdyn_ros.grasp.envs.agents import SCRIPTED, load_policy_spec
from invdyn_ros.grasp.envs.rollouts import RolloutJob, rollout
from invdyn_ros.grasp.envs.scripted_baseline import scripted_successes


def test_the_scripts_successes_are_those_of_the_first_episodes_of_the_run() -> None:
    """Of a seed by which it fails once and succeeds once."""
    wanted = [
        e.success
        for e in rollout(RolloutJob(load_policy_spec(SCRIPTED, "ur5"), "hard", 2, (0, 1)))
    ]
    assert set(wanted) == {True, False}
    assert scripted_successes("ur5", "hard", 2, 2) == wanted
