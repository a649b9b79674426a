"""Training of grasp policies on a toy task that takes seconds."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_task import ACTION_SIZE, CONFIG, LEARNER, PIXEL_TASK, TASK, make_env

from invdyn_ros.benchmarks.learning_curves import run_names
from invdyn_ros.cli import run_verb
from invdyn_ros.cli.train_grasp import TrainGraspOptions, read_config
from invdyn_ros.grasp.envs.registration import register_all
from invdyn_ros.grasp.learning.config import LEARNER_CONFIGS
from invdyn_ros.grasp.learning.curriculum import CurriculumConfig
from invdyn_ros.grasp.learning.dagger import DaggerTraining
from invdyn_ros.grasp.learning.evaluation import PolicyEvaluationConfig, evaluate_policy
from invdyn_ros.grasp.learning.replay_buffer import DemonstrationConfig
from invdyn_ros.grasp.learning.rl import RLTraining
from invdyn_ros.grasp.learning.train import train_grasp
from invdyn_ros.grasp.policies.network import load_policy
from invdyn_ros.robots.robot import package_file


@pytest.fixture(autouse=True, scope="module")
def environments_and_one_thread():
    register_all()
    torch.set_num_threads(1)


def mean_reward(policy, episodes: int = 30) -> float:
    with closing(make_env(1, 77)) as env:
        return evaluate_policy(policy, env, episodes).mean_reward


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "settings", "steps"),
    [
        ("sac", {}, 600),
        ("tqc", {}, 600),
        ("ppo", {"n_steps": 256, "n_epochs": 10, "log_std_init": -0.5}, 3000),
        ("dagger", {"gradient_steps": 2.0}, 600),
    ],
)
def test_mean_reward_on_the_toy_task_improves(tmp_path, algorithm, settings, steps):
    names = {field.name for field in fields(LEARNER_CONFIGS[algorithm])}
    learner = {k: v for k, v in LEARNER.items() if k in names} | settings
    config = replace(CONFIG, algorithm=algorithm, learner=learner, total_timesteps=steps)
    random = np.random.default_rng(0)
    before = mean_reward(
        lambda observation: random.uniform(-1, 1, (len(observation), ACTION_SIZE))
    )
    result = train_grasp(config, TASK, tmp_path)
    after = mean_reward(load_policy(tmp_path).act)
    assert after > before + 0.5
    assert result.successes > 0.6 * result.episodes
    assert list((tmp_path / "logs").glob("events*"))


def test_behavior_cloning_alone_solves_the_toy_task(tmp_path):
    demonstrations = DemonstrationConfig(episodes=40, demo_fraction=0.5, bc_steps=400)
    config = replace(CONFIG, total_timesteps=1, demonstrations=demonstrations)
    result = train_grasp(config, TASK, tmp_path)
    assert result.successes >= 0.8 * result.episodes


def test_an_on_policy_learner_starts_from_cloned_demonstrations(tmp_path):
    demonstrations = DemonstrationConfig(episodes=40, bc_steps=400)
    learner = {
        "n_steps": 64,
        "batch_size": 64,
        "n_epochs": 1,
        "net_arch": [32, 32],
        "log_std_init": -3.0,
    }
    untrained = replace(CONFIG, algorithm="ppo", learner=learner, total_timesteps=1)
    untrained_result = train_grasp(untrained, TASK, tmp_path / "untrained")
    cloned_result = train_grasp(
        replace(untrained, demonstrations=demonstrations), TASK, tmp_path / "cloned"
    )
    assert (
        untrained_result.successes
        < 0.5 * untrained_result.episodes
        < 0.8 * cloned_result.episodes
        <= cloned_result.successes
    )


def test_a_run_from_pixels_is_evaluated_and_resumes_with_its_replay_buffer(tmp_path):
    learner = {
        "net_arch": [16],
        "batch_size": 16,
        "learning_starts": 20,
        "buffer_size": 200,
        "gradient_steps": 0.25,
    }
    config = replace(CONFIG, obs_mode="pixels", learner=learner, total_timesteps=60)
    first = RLTraining(config, PIXEL_TASK, tmp_path, lambda timesteps, best: None)
    first.train(resume=False)
    extended = replace(config, total_timesteps=100)
    second = RLTraining(extended, PIXEL_TASK, tmp_path, lambda timesteps, best: None)
    second.train(resume=True)
    assert [point.timesteps for point in second.curve] == [60, 100]
    old, new = (run.learner.replay_buffer for run in (first, second))
    assert np.array_equal(old.observations["pixels"][:60], new.observations["pixels"][:60])
    assert old.observations["pixels"][:60].any() and new.pos == 100
    assert not list(tmp_path.glob("model*"))  # it is evaluated, not exported


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["sac", "ppo"])
def test_a_resumed_run_continues_from_its_last_step(tmp_path, algorithm):
    learner = (
        LEARNER if algorithm == "sac" else {"n_steps": 100, "batch_size": 50, "net_arch": [16]}
    )
    config = replace(CONFIG, algorithm=algorithm, learner=learner, total_timesteps=300)
    curriculum = CurriculumConfig(
        initial_area=0.1, initial_noise=0.0, window=5, promotion_threshold=0.1, increment=0.5
    )
    config = replace(config, curriculum=curriculum)
    first = RLTraining(config, TASK, tmp_path, lambda timesteps, best: None)
    first.train(resume=False)
    steps: list[int] = []
    extended = replace(config, total_timesteps=700)
    second = RLTraining(extended, TASK, tmp_path, lambda timesteps, best: steps.append(timesteps))
    second.train(resume=True)
    assert steps[0] == 301 and second.learner.num_timesteps == 700
    assert first.curriculum.level > 0 and second.curriculum.level >= first.curriculum.level
    assert second.learner._n_updates > first.learner._n_updates


def test_a_resumed_learner_equals_the_saved_one(tmp_path):
    config = replace(CONFIG, total_timesteps=300)
    first = RLTraining(config, TASK, tmp_path, lambda timesteps, best: None)
    first.train(resume=False)
    second = RLTraining(config, TASK, tmp_path, lambda timesteps, best: None)
    second.train(resume=True)
    a, b = (run.learner.get_parameters() for run in (first, second))
    for name in a:
        torch.testing.assert_close(a[name], b[name])
    assert torch.equal(first.learner.log_ent_coef, second.learner.log_ent_coef)
    for name in ("observations", "actions", "rewards", "timeouts"):
        old, new = (getattr(run.learner.replay_buffer, name) for run in (first, second))
        assert np.array_equal(old, new)


def test_dagger_resumes_with_all_expert_actions(tmp_path):
    learner = {"net_arch": [16], "batch_size": 64, "learning_starts": 50}
    config = replace(CONFIG, algorithm="dagger", learner=learner, total_timesteps=200)
    first = DaggerTraining(config, TASK, tmp_path, lambda timesteps, best: None)
    first.train(resume=False)
    steps: list[int] = []
    extended = replace(config, total_timesteps=300)
    second = DaggerTraining(
        extended, TASK, tmp_path, lambda timesteps, best: steps.append(timesteps)
    )
    second.train(resume=True)
    assert (steps[0], steps[-1]) == (201, 300) and second.num_updates == 300
    assert np.array_equal(first.observations, second.observations[:200])
    with pytest.raises(ValueError, match="holds 300 steps"):
        train_grasp(replace(config, total_timesteps=250), TASK, tmp_path, resume=True)


def test_dagger_may_update_less_than_once_per_step_but_needs_steps_of_the_learner(tmp_path):
    learner = {"net_arch": [16], "batch_size": 64, "learning_starts": 50, "gradient_steps": 0.5}
    config = replace(CONFIG, algorithm="dagger", learner=learner, total_timesteps=120)
    run = DaggerTraining(config, TASK, tmp_path, lambda timesteps, best: None)
    run.train(resume=False)
    assert run.num_updates == 60
    with pytest.raises(ValueError, match=r"must be above learner.learning_starts, 50"):
        train_grasp(replace(config, total_timesteps=50), TASK, tmp_path / "short")


def test_a_run_with_other_settings_is_not_resumed(tmp_path):
    train_grasp(replace(CONFIG, total_timesteps=150), TASK, tmp_path)
    with pytest.raises(ValueError, match="seed 0, not 1"):
        train_grasp(replace(CONFIG, seed=1), TASK, tmp_path, resume=True)
    with pytest.raises(ValueError, match="nothing to resume"):
        train_grasp(CONFIG, TASK, tmp_path / "new", resume=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algorithm", "magic"], "no algorithm 'magic'; known: ['dagger', 'ppo', 'sac', 'tqc']"),
        (["--arm", "kuka_iiwa"], "no block to grasp for arm 'kuka_iiwa'"),
        (["--learner.size", "3"], "unknown field 'size'; DaggerConfig has"),
        (["--learner.batch_size", "0"], "batch_size is 0; it must be greater than 0"),
        (["--noise", "loud"], "noise is 'loud'"),
        (
            [
                "--algorithm",
                "ppo",
                "--demonstrations.episodes",
                "5",
                "--demonstrations.bc_steps",
                "0",
            ],
            "has no replay buffer",
        ),
        (["--demonstrations.episodes", "5"], "'dagger' learns from its expert"),
        (["--obs-mode", "pixels"], "'dagger' cannot use pixel observations; use sac or tqc"),
        (["--algorithm", "sac", "--obs-mode", "pixels"], "demonstrations have no pixels"),
        (["--obs-mode", "sound"], "obs_mode is 'sound'; it must be"),
        (["--total_timesteps.more", "5"], "total_timesteps is a field, not a group"),
        (["--config", "FILE"], "unknown field 'total_timestepz'"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(tmp_path, capsys, arguments, message):
    file = tmp_path / "bad.yaml"
    file.write_text("total_timestepz: 3\n")
    arguments = [str(file) if word == "FILE" else word for word in arguments]
    out = tmp_path / "out"
    if arguments == ["--resume"]:
        arguments = ["--algorithm", "ppo", "--num_envs", "1", "--resume"]
    assert run_verb("train_grasp", ["--out", str(out), *arguments]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in line and line.startswith("invdyn train_grasp: ")
    assert not out.exists()


def test_learning_curves_report_the_steps_to_a_success_rate(tmp_path, capsys):
    easy = replace(
        CONFIG,
        algorithm="dagger",
        learner={"net_arch": [16], "learning_starts": 50, "relabeled": 0},
        total_timesteps=300,
    )
    train_grasp(
        replace(easy, evaluation=PolicyEvaluationConfig(eval_freq=100, n_eval_episodes=10)),
        TASK,
        tmp_path / "a",
    )
    train_grasp(replace(CONFIG, total_timesteps=20), TASK, tmp_path / "b")
    report, runs = tmp_path / "r.json", [str(tmp_path / "a"), str(tmp_path / "b")]
    arguments = [
        "learning_curves",
        "--runs",
        *runs,
        "--success-rate",
        "0.8",
        "--report",
        str(report),
    ]
    assert (
        run_verb("benchmark", arguments) == 0 and report.with_suffix(".png").stat().st_size > 5000
    )
    written = json.loads(report.read_text())
    first, second = (written["rows"][run] for run in runs)
    assert first["best_success"] >= 80 and first["timesteps"] in (100, 200, 300)
    assert second["best_success"] < 80 and "timesteps" not in second
    assert [point["timesteps"] for point in written["curves"][runs[0]]] == [100, 200, 300]
    assert run_verb("benchmark", ["learning_curves", "--runs", str(tmp_path)]) == 2
    assert "curve.json is missing" in capsys.readouterr().err


def test_runs_that_differ_only_in_their_seed_have_the_same_name(tmp_path):
    demonstrations = DemonstrationConfig(episodes=5)
    runs = {
        "ur5_1": CONFIG,
        "ur5_2": replace(CONFIG, seed=1, total_timesteps=30, num_envs=2),
        "demos": replace(CONFIG, demonstrations=demonstrations),
        "demos_long": replace(CONFIG, demonstrations=demonstrations, max_episode_seconds=9.0),
    }
    for name, config in runs.items():
        train_grasp(
            replace(config, total_timesteps=config.total_timesteps % 50 + 10),
            TASK,
            tmp_path / name,
        )
    (tmp_path / "old").mkdir()
    names = run_names([tmp_path / name for name in (*runs, "old")])
    assert list(names.values()) == [
        "SAC on ur5 at noise default",
        "SAC on ur5 at noise default",
        "SAC with demonstrations on ur5 at noise default (demos)",
        "SAC with demonstrations on ur5 at noise default (demos_long)",
        str(tmp_path / "old"),
    ]


@pytest.mark.parametrize("name", ["dagger", "ppo", "sac", "sac_pixels", "tqc"])
def test_shipped_configs_can_be_read(name):
    file = package_file(f"config/grasp/{name}.yaml")
    config = read_config(TrainGraspOptions(Path("out"), config=file), [])
    assert config.algorithm in name and config.control_mode == "cartesian"
