"""Benchmark of grasp policies: rollouts, report and map."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from invdyn_ros.benchmarks.grasp_success import (
    GraspSuccessBenchmarkConfig,
    load_policies,
    measure_grasp_success,
)
from invdyn_ros.cli import run_verb
from invdyn_ros.evaluation.plots.success_map import (
    EPISODES_PER_CELL,
    plot_success_map,
    success_counts,
)
from invdyn_ros.graph.shipped_weights import find_policy
from invdyn_ros.grasp.envs import episode_jobs
from invdyn_ros.grasp.envs.agents import SCRIPTED, load_policy_spec
from invdyn_ros.grasp.envs.episode_jobs import run_jobs, split_job
from invdyn_ros.grasp.envs.rollouts import EpisodeResult, RolloutJob, rollout
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.failure_causes import (
    FAILURE_CAUSES,
)
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata, save_policy
from invdyn_ros.grasp.policies.success_rate import success_interval
from invdyn_ros.models.checkpoint_files import METADATA_FILE
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import package_file
from invdyn_ros.workers import LocalProcesses

SIZES = {"joint": (45, 7), "cartesian": (43, 5)}  # of observations and actions of the UR5


def save_idle_policy(folder, control_mode="joint", grip=1.0, **changes):
    """Save a policy that does not move, with its gripper at `grip`."""
    observations, actions = SIZES[control_mode]
    action_space = ActionSpaceConfig(action_period=0.08)
    meta = PolicyMetadata(
        "ur5", observations, actions, (4,), "clip", "sac", control_mode, action_space
    )
    policy = MLPPolicy(replace(meta, **changes))
    with torch.no_grad():
        for values in policy.parameters():
            values.zero_()
        policy.layers[-1].bias[-1] = grip
    save_policy(policy, folder)
    return folder


def test_scripted_policy_succeeds_without_noise():
    (result,) = rollout(RolloutJob(load_policy_spec(SCRIPTED, "dofbot"), "none", 3, (1,)))
    assert result.episode == 1 and result.failure_cause is None
    assert result.success and result.lifted
    assert 2 < result.success_time < 10 and result.wall_time > 0


@pytest.mark.slow
def test_seed_and_index_determine_an_episode_in_any_process(monkeypatch):
    """Neither the episodes that ran before nor the number of processes have an effect."""
    monkeypatch.setattr(episode_jobs, "EPISODES_PER_JOB", 1)
    policy = load_policy_spec(SCRIPTED, "ur5")
    policy.env_kwargs["max_episode_seconds"] = 4.0
    jobs = [RolloutJob(policy, "hard", 9, part) for part in ((0, 2), (1,))]
    one, two = (
        [
            (index, episode._replace(wall_time=0.0))
            for index, episode in run_jobs(jobs, rollout, executor)
        ]
        for executor in (None, LocalProcesses(2))
    )
    assert sorted(one) == sorted(two)
    assert [(index, episode.episode) for index, episode in one] == [(0, 0), (0, 2), (1, 1)]
    scene = load_scene("ur5")
    for _, episode in one:
        pose = scene.sample_block_pose(np.random.default_rng(9 * 100_003 + episode.episode))
        np.testing.assert_allclose(episode.block_start, pose[:2, 3], atol=1e-9)


def test_split_job_keeps_all_episodes():
    job = RolloutJob(load_policy_spec(SCRIPTED, "ur5"), "none", 0, tuple(range(47)))
    parts = split_job(job)
    assert sum((part.episodes for part in parts), ()) == job.episodes
    assert max(len(part.episodes) for part in parts) == episode_jobs.EPISODES_PER_JOB


@pytest.mark.parametrize(("grip", "cause"), [(1.0, "timeout"), (-1.0, "missed_grasp")])
def test_policy_that_does_not_move_fails(tmp_path, grip, cause):
    policy = load_policy_spec(str(save_idle_policy(tmp_path / "idle", "cartesian", grip)), "ur5")
    assert policy.name == "idle" and policy.env_kwargs["control_mode"] == "cartesian"
    episode = next(rollout(RolloutJob(policy, "none", 0, (0,))))
    assert not episode.success and episode.success_time is None and episode.failure_cause == cause


def test_report_compares_every_policy_with_the_scripted_one(tmp_path, capfd):
    file, folder = tmp_path / "deep" / "grasp.json", save_idle_policy(tmp_path / "idle")
    arguments = [
        "--policies",
        str(folder),
        "--noise",
        "none",
        "--episodes",
        "2",
        "--workers",
        "1",
    ]
    assert (
        run_verb("benchmark", ["grasp_success", *arguments, "--seed", "4", "--report", str(file)])
        == 0
    )
    report, output = json.loads(file.read_text()), capfd.readouterr()
    assert "scripted, none" in output.out and "4/4" in output.err
    script, learned = report["rows"]["scripted, none"], report["rows"]["idle, none"]
    assert (script["success"], learned["success"], learned["timeout"]) == (100, 0, 100)
    interval = [100 * end for end in success_interval(2, 2)]
    assert [script["ci_low"], script["ci_high"]] == pytest.approx(interval)
    assert "success_difference" not in script and learned["success_difference"] == -100
    assert learned["difference_ci_low"] == -100 < learned["difference_ci_high"] < 0
    pairs = {"both": 0, "policy_only": 0, "scripted_only": 2, "neither": 0}
    assert report["pairs"] == {"idle, none": pairs}
    failed = {cause: [0, 1] if cause == "timeout" else [] for cause in FAILURE_CAUSES}
    assert report["failed_episodes"]["idle, none"] == failed
    plot = cv2.imread(str(file.with_suffix(".png")))
    assert plot is not None and plot.std() > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arm", "dofbot", "--policies", "{folder}"], "is a policy for 'ur5', not for 'dofbot'"),
        (["--policies", "{folder}/nothing"], "no policy folder"),
        (["--noise", "unknown"], "noise is 'unknown'"),
        (["--noise"], "noise is empty"),
        (["--arm", "kuka_iiwa"], "no block to grasp for arm 'kuka_iiwa'"),
        (["--episodes", "0"], "episodes is 0"),
        (["--workers", "0"], "workers is 0"),
    ],
)
def test_invalid_settings_are_rejected_with_a_one_line_error(tmp_path, capfd, arguments, message):
    folder, file = save_idle_policy(tmp_path / "policy"), tmp_path / "grasp.json"
    arguments = [word.format(folder=folder) for word in arguments]
    assert run_verb("benchmark", ["grasp_success", *arguments, "--report", str(file)]) == 2
    error = capfd.readouterr().err.strip()
    assert "\n" not in error and message in error
    assert not file.exists() and not file.with_suffix(".png").exists()


def test_learned_is_the_shipped_policy():
    policies = load_policies(GraspSuccessBenchmarkConfig(policies=("learned", "expert")))
    assert [policy.name for policy in policies.values()] == ["scripted", "learned", "expert"]
    report = measure_grasp_success(
        GraspSuccessBenchmarkConfig(policies=("expert",), noise=("hard",), episodes=2, workers=1)
    )
    assert report["rows"]["expert, hard"]["success"] == 100
    with pytest.raises(ValueError, match="no planned policy is shipped for kuka_iiwa"):
        find_policy("planned", "", "kuka_iiwa")


def test_policies_of_the_same_name_are_distinguished(tmp_path):
    first, second = (
        save_idle_policy(tmp_path / "a" / "run"),
        save_idle_policy(tmp_path / "b" / "run"),
    )
    assert (first / METADATA_FILE).is_file()
    policies = load_policies(
        GraspSuccessBenchmarkConfig(policies=(str(first), SCRIPTED, str(second), str(first)))
    )
    assert [p.name for p in policies.values()] == [SCRIPTED, str(first), str(second)]


def test_all_policies_use_the_block_pose_model(tmp_path):
    model = str(package_file("config/block_pose/ur5"))
    policies = load_policies(
        GraspSuccessBenchmarkConfig(
            policies=(str(save_idle_policy(tmp_path / "a")),), block_pose_model=model
        )
    )
    assert [policy.name for policy in policies.values()] == ["scripted", "a"]
    assert all(policy.env_kwargs["block_pose_model"] == model for policy in policies.values())
    script = policies["scripted"]
    assert [e.success for e in rollout(RolloutJob(script, "default", 7, (0, 1)))] == [True, True]


def random_results(count, seed=0):
    """Episodes over the whole area; blocks on the left are not grasped."""
    random, scene = np.random.default_rng(seed), load_scene("ur5")
    for number in range(count):
        x, y = random.uniform(*scene.area_x), random.uniform(*scene.area_y)
        won, cause = y < 0.05, FAILURE_CAUSES[number % len(FAILURE_CAUSES)]
        yield EpisodeResult(number, (x, y), won, won, 4.0 if won else None,
                      None if won else cause, 0.5)  # fmt: skip


@pytest.mark.parametrize("count", [1, 30, 1000])
def test_cells_of_the_map_contain_every_episode_and_enough_for_a_rate(count):
    successes, n = success_counts(list(random_results(count)), load_scene("ur5"))
    assert n.sum() == count and (successes <= n).all()
    assert n.mean() >= min(count, EPISODES_PER_CELL / 2)
    if count == 1000:
        assert (successes[:, -1] < n[:, -1]).all()  # the left, which y points to
        assert (successes[:, 0] == n[:, 0]).all()


def test_a_map_is_drawn_for_any_outcome(tmp_path):
    file = tmp_path / "map.png"
    few, many = list(random_results(1)), list(random_results(200))
    failed = [e._replace(success=False, failure_cause="missed_grasp") for e in many]
    results = {("a", "none"): few, ("b", "none"): many, ("a", "hard"): failed, ("b", "hard"): few}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_success_map(results, load_scene("ur5"), "ur5", file)
    assert cv2.imread(str(file)).std() > 10
