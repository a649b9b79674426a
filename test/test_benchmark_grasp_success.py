"""Benchmark of grasp policies: rollouts, failure causes and paired differences."""

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
from invdyn_ros.grasp.envs import rollouts
from invdyn_ros.grasp.envs.agents import SCRIPTED, load_policy_spec
from invdyn_ros.grasp.envs.rollouts import (
    EpisodeResult,
    RolloutJob,
    rollout,
    rollout_all,
    split_job,
)
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.failure_causes import (
    FAILURE_CAUSES,
    MIN_HOLD_TIME,
    EpisodeTrace,
    classify_failure,
)
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata, save_policy
from invdyn_ros.grasp.policies.success_rate import paired_difference, success_interval
from invdyn_ros.models.checkpoint_files import METADATA_FILE
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import package_file

BLOCK = 0.04  # [m]
SIZES = {"joint": (45, 7), "cartesian": (43, 5)}  # of observations and actions of the UR5
STEP = 0.04  # [s]


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


def make_trace(*parts, detected=True):
    """Return a trace from parts of (samples, grasped, height, opening)."""
    rows = [part[1:] for part in parts for _ in range(part[0])]
    grasped, height, opening = np.array(rows, float).T
    return EpisodeTrace(
        STEP * np.arange(len(rows)), grasped.astype(bool), height, opening, detected
    )


MOVING, GRASPED, TOUCHED = (50, 0, 0.0, 0.085), (20, 1, 0.0, BLOCK), (2, 1, 0.0, BLOCK)
LIFTED, DROPPED, EMPTY = (20, 1, 0.03, BLOCK), (30, 0, 0.0, 0.03), (20, 0, 0.0, 0.001)


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        ([MOVING], "timeout"),
        ([MOVING, GRASPED], "timeout"),
        ([MOVING, GRASPED, (2, 0, 0.0, BLOCK)], "timeout"),  # a contact that flickers
        ([MOVING, EMPTY], "missed_grasp"),
        ([MOVING, EMPTY, MOVING], "missed_grasp"),
        (
            [MOVING, (20, 1, 0.01, 0.002), DROPPED],
            "missed_grasp",
        ),  # closed pads that lean on the block
        ([MOVING, TOUCHED, EMPTY], "missed_grasp"),
        ([MOVING, EMPTY, MOVING, GRASPED], "timeout"),
        ([MOVING, GRASPED, DROPPED], "slipped"),
        ([MOVING, GRASPED, LIFTED, DROPPED], "slipped"),
        ([MOVING, (2, 1, 0.02, BLOCK), DROPPED], "slipped"),
        ([MOVING, GRASPED, DROPPED, MOVING, EMPTY], "slipped"),
        ([MOVING, GRASPED, MOVING], "slipped"),
        ([MOVING, (50, 0, 0.03, 0.085)], "timeout"),  # in the air, but not between the pads
    ],
)
def test_failure_cause_is_classified_from_the_trace(parts, cause):
    assert classify_failure(make_trace(*parts), BLOCK) == cause
    assert classify_failure(make_trace(*parts, detected=False), BLOCK) == "not_detected"


def test_grasp_needs_a_minimum_contact_time():
    need = round(MIN_HOLD_TIME / STEP) + 1  # consecutive samples
    for samples, cause in ((need - 1, "missed_grasp"), (need, "slipped")):
        contact = (samples, 1, 0.0, BLOCK)
        assert classify_failure(make_trace(MOVING, contact, EMPTY, contact, EMPTY), BLOCK) == cause


def test_trace_needs_samples():
    empty = EpisodeTrace(*(np.zeros(0) for _ in range(4)))
    for wrong in (empty, make_trace(MOVING)._replace(height=np.zeros(3))):
        with pytest.raises(ValueError, match="columns of equal length"):
            classify_failure(wrong, BLOCK)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_scripted_policy_succeeds_without_noise(arm):
    job = RolloutJob(load_policy_spec(SCRIPTED, arm), "none", 3, (0, 1))
    for index, result in enumerate(rollout(job)):
        assert result.episode == index and result.failure_cause is None
        assert result.success and result.lifted and result.placed
        assert 2 < result.success_time < 10 and result.wall_time > 0


@pytest.mark.slow
def test_seed_and_index_determine_an_episode():
    """The episodes that ran before have no effect."""
    script, level = load_policy_spec(SCRIPTED, "ur5"), "hard"
    whole = list(rollout(RolloutJob(script, level, 5, (0, 1, 2))))
    alone = next(rollout(RolloutJob(script, level, 5, (2,))))
    assert outputs_equal(whole[2], alone) and not outputs_equal(whole[1], alone)
    pose = load_scene("ur5").sample_block_pose(np.random.default_rng(5 * 100_003 + 2))
    np.testing.assert_allclose(alone.block_start, pose[:2, 3], atol=1e-9)


def outputs_equal(a, b):
    return a._replace(wall_time=0) == b._replace(wall_time=0)


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_processes(monkeypatch):
    monkeypatch.setattr(rollouts, "EPISODES_PER_JOB", 1)
    numbers = ((0, 2), (1,))
    jobs = [RolloutJob(load_policy_spec(SCRIPTED, "ur5"), "hard", 9, part) for part in numbers]
    one, two = (
        sorted(
            (index, episode._replace(wall_time=0.0))
            for index, episode in rollout_all(jobs, processes)
        )
        for processes in (1, 2)
    )
    assert one == two
    assert [(index, episode.episode) for index, episode in one] == [(0, 0), (0, 2), (1, 1)]


def test_split_job_keeps_all_episodes():
    job = RolloutJob(load_policy_spec(SCRIPTED, "ur5"), "none", 0, tuple(range(47)))
    parts = split_job(job)
    assert sum((part.episodes for part in parts), ()) == job.episodes
    assert max(len(part.episodes) for part in parts) == rollouts.EPISODES_PER_JOB


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
        "--processes",
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
        (["--processes", "0"], "processes is 0"),
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
        GraspSuccessBenchmarkConfig(policies=("expert",), noise=("hard",), episodes=2, processes=1)
    )
    assert report["rows"]["expert, hard"]["success"] == 100
    with pytest.raises(ValueError, match="no learned policy is shipped for ur5e"):
        load_policies(GraspSuccessBenchmarkConfig("ur5e", policies=("learned",)))


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


def pairs(both, only_a, only_b, neither):
    counts = np.array([both, only_a, only_b, neither])
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    return np.repeat(a, counts), np.repeat(b, counts)


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


@pytest.mark.parametrize("fractions", [(0.9, 0.05, 0.03, 0.02), (0.5, 0.2, 0.1, 0.2)])
def test_interval_of_a_difference_has_its_nominal_coverage(fractions):
    random, n, runs = np.random.default_rng(1), 300, 600
    expected = fractions[1] - fractions[2]
    intervals = [paired_difference(*pairs(*random.multinomial(n, fractions))) for _ in range(runs)]
    inside = np.mean([i.ci_low <= expected <= i.ci_high for i in intervals])
    assert 0.92 < inside < 0.99
    assert np.mean([i.value for i in intervals]) == pytest.approx(expected, abs=0.005)


def test_difference_is_antisymmetric():
    a, b = pairs(200, 30, 10, 60)
    difference, reverse = paired_difference(a, b), paired_difference(b, a)
    assert difference.value == pytest.approx(20 / 300)
    np.testing.assert_allclose(
        reverse, [-difference.value, -difference.ci_high, -difference.ci_low], atol=1e-12
    )
    assert difference.ci_low > 0  # 30 against 10


def test_correlated_outcomes_have_a_narrower_interval():
    correlated = paired_difference(*pairs(150, 5, 5, 140))
    anticorrelated = paired_difference(*pairs(5, 150, 150, 5))
    assert correlated.ci_high - correlated.ci_low < 0.5 * (
        anticorrelated.ci_high - anticorrelated.ci_low
    )


@pytest.mark.parametrize("counts", [(9, 0, 0, 0), (0, 0, 0, 9), (0, 9, 0, 0), (0, 0, 9, 0)])
def test_difference_of_constant_outcomes_stays_within_its_range(counts):
    difference = paired_difference(*pairs(*counts))
    assert (
        -1 <= difference.ci_low <= difference.value <= difference.ci_high <= 1
        and difference.ci_high - difference.ci_low > 0.1
    )


def test_unpaired_outcomes_are_rejected():
    for a, b in (([], []), ([True], [True, False])):
        with pytest.raises(ValueError, match="run both policies on the same episodes"):
            paired_difference(a, b)


def random_results(count, seed=0):
    """Episodes over the whole area; blocks on the left are not grasped."""
    random, scene = np.random.default_rng(seed), load_scene("ur5")
    for number in range(count):
        x, y = random.uniform(*scene.area_x), random.uniform(*scene.area_y)
        won, cause = y < 0.05, FAILURE_CAUSES[number % len(FAILURE_CAUSES)]
        yield EpisodeResult(number, (x, y), won, won, won, 4.0 if won else None,
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
