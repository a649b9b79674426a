"""Learning to grasp: on a toy that can be learned in seconds; stopped, resumed and refused."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_task import ACTIONS, CONFIG, SEEN_TASK, SMALL, TASK, make

from invdyn_ros.benchmarks.learning_curves import legend
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
def prepared():
    register_all()
    torch.set_num_threads(1)


def reward_of(policy, episodes: int = 30) -> float:
    with closing(make(1, 77)) as env:
        return evaluate_policy(policy, env, episodes).mean_reward


@pytest.mark.parametrize(
    ("algorithm", "settings", "steps"),
    [
        ("sac", {}, 600),
        ("tqc", {}, 600),
        ("ppo", {"n_steps": 256, "n_epochs": 10, "log_std_init": -0.5}, 3000),
        ("dagger", {"gradient_steps": 2.0}, 600),
    ],
)
def test_return_on_a_toy_improves(tmp_path, algorithm, settings, steps):
    known = {field.name for field in fields(LEARNER_CONFIGS[algorithm])}
    learner = {k: v for k, v in SMALL.items() if k in known} | settings
    config = replace(CONFIG, algorithm=algorithm, learner=learner, total_timesteps=steps)
    random = np.random.default_rng(0)
    before = reward_of(lambda seen: random.uniform(-1, 1, (len(seen), ACTIONS)))
    result = train_grasp(config, TASK, tmp_path)
    after = reward_of(load_policy(tmp_path).act)
    assert after > before + 0.5
    assert result.successes > 0.6 * result.episodes
    assert list((tmp_path / "logs").glob("events*"))


def test_imitation_alone_solves_the_toy(tmp_path):
    shown = DemonstrationConfig(episodes=40, demo_fraction=0.5, bc_steps=400)
    config = replace(CONFIG, total_timesteps=1, demonstrations=shown)
    result = train_grasp(config, TASK, tmp_path)
    assert result.successes >= 0.8 * result.episodes


def test_a_learner_without_memory_begins_as_the_clone_of_what_it_was_shown(tmp_path):
    shown = DemonstrationConfig(episodes=40, bc_steps=400)
    learner = {
        "n_steps": 64,
        "batch_size": 64,
        "n_epochs": 1,
        "net_arch": [32, 32],
        "log_std_init": -3.0,
    }
    blank = replace(CONFIG, algorithm="ppo", learner=learner, total_timesteps=1)
    alone = train_grasp(blank, TASK, tmp_path / "alone")
    cloned = train_grasp(replace(blank, demonstrations=shown), TASK, tmp_path / "cloned")
    assert alone.successes < 0.5 * alone.episodes < 0.8 * cloned.episodes <= cloned.successes


def test_a_run_from_pixels_is_judged_and_goes_on_with_its_memory(tmp_path):
    learner = {
        "net_arch": [16],
        "batch_size": 16,
        "learning_starts": 20,
        "buffer_size": 200,
        "gradient_steps": 0.25,
    }
    config = replace(CONFIG, obs_mode="pixels", learner=learner, total_timesteps=60)
    first = RLTraining(config, SEEN_TASK, tmp_path, lambda step, best: None)
    first.train(resume=False)
    more = replace(config, total_timesteps=100)
    second = RLTraining(more, SEEN_TASK, tmp_path, lambda step, best: None)
    second.train(resume=True)
    assert [point.timesteps for point in second.curve] == [60, 100]
    old, new = (run.learner.replay_buffer for run in (first, second))
    assert np.array_equal(old.observations["pixels"][:60], new.observations["pixels"][:60])
    assert old.observations["pixels"][:60].any() and new.pos == 100
    assert not list(tmp_path.glob("model*"))  # it is judged, not kept


@pytest.mark.parametrize("algorithm", ["sac", "ppo"])
def test_a_resumed_run_goes_on_where_it_ended(tmp_path, algorithm):
    learner = SMALL if algorithm == "sac" else {"n_steps": 100, "batch_size": 50, "net_arch": [16]}
    config = replace(CONFIG, algorithm=algorithm, learner=learner, total_timesteps=300)
    ease = CurriculumConfig(
        initial_area=0.1, initial_noise=0.0, window=5, promotion_threshold=0.1, increment=0.5
    )
    config = replace(config, curriculum=ease)
    first = RLTraining(config, TASK, tmp_path, lambda step, best: None)
    first.train(resume=False)
    steps: list[int] = []
    more = replace(config, total_timesteps=700)
    second = RLTraining(more, TASK, tmp_path, lambda step, best: steps.append(step))
    second.train(resume=True)
    assert steps[0] == 301 and second.learner.num_timesteps == 700
    assert first.curriculum.level > 0 and second.curriculum.level >= first.curriculum.level
    assert second.learner._n_updates > first.learner._n_updates


def test_a_resumed_learner_is_the_one_that_was_written(tmp_path):
    config = replace(CONFIG, total_timesteps=300)
    first = RLTraining(config, TASK, tmp_path, lambda step, best: None)
    first.train(resume=False)
    second = RLTraining(config, TASK, tmp_path, lambda step, best: None)
    second.train(resume=True)
    a, b = (run.learner.get_parameters() for run in (first, second))
    for name in a:
        torch.testing.assert_close(a[name], b[name])
    assert torch.equal(first.learner.log_ent_coef, second.learner.log_ent_coef)
    for name in ("observations", "actions", "rewards", "timeouts"):
        old, new = (getattr(run.learner.replay_buffer, name) for run in (first, second))
        assert np.array_equal(old, new)


def test_an_imitation_goes_on_with_all_that_the_teacher_said(tmp_path):
    learner = {"net_arch": [16], "batch_size": 64, "learning_starts": 50}
    config = replace(CONFIG, algorithm="dagger", learner=learner, total_timesteps=200)
    first = DaggerTraining(config, TASK, tmp_path, lambda step, best: None)
    first.train(resume=False)
    steps: list[int] = []
    more = replace(config, total_timesteps=300)
    second = DaggerTraining(more, TASK, tmp_path, lambda step, best: steps.append(step))
    second.train(resume=True)
    assert (steps[0], steps[-1]) == (201, 300) and second.num_updates == 300
    assert np.array_equal(first.observations, second.observations[:200])
    with pytest.raises(ValueError, match="holds 300 steps"):
        train_grasp(replace(config, total_timesteps=250), TASK, tmp_path, resume=True)


def test_updates_may_be_fewer_than_steps_but_not_all_steps_the_teachers(tmp_path):
    learner = {"net_arch": [16], "batch_size": 64, "learning_starts": 50, "gradient_steps": 0.5}
    config = replace(CONFIG, algorithm="dagger", learner=learner, total_timesteps=120)
    run = DaggerTraining(config, TASK, tmp_path, lambda step, best: None)
    run.train(resume=False)
    assert run.num_updates == 60
    with pytest.raises(ValueError, match=r"give more than learner.learning_starts, 50"):
        train_grasp(replace(config, total_timesteps=50), TASK, tmp_path / "short")


def test_a_run_with_other_settings_is_not_resumed(tmp_path):
    train_grasp(replace(CONFIG, total_timesteps=150), TASK, tmp_path)
    with pytest.raises(ValueError, match="seed 0, not 1"):
        train_grasp(replace(CONFIG, seed=1), TASK, tmp_path, resume=True)
    with pytest.raises(ValueError, match="nothing to resume"):
        train_grasp(CONFIG, TASK, tmp_path / "new", resume=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--algorithm", "magic"], "no algorithm 'magic'; known: ['dagger', 'ppo', 'sac', 'tqc']"),
        (["--arm", "kuka_iiwa"], "no block to grasp for arm 'kuka_iiwa'"),
        (["--learner.size", "3"], "unknown field 'size'; DaggerConfig has"),
        (["--learner.batch_size", "0"], "batch_size is 0; it must be greater than 0"),
        (["--noise", "loud"], "no noise 'loud'"),
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
        (["--demonstrations.episodes", "5"], "'dagger' queries its expert"),
        (["--obs-mode", "pixels"], "'dagger' does not learn from pixels; take sac or tqc"),
        (["--algorithm", "sac", "--obs-mode", "pixels"], "demonstrations have no pixels"),
        (["--obs-mode", "sound"], "obs_mode is 'sound'; it must be"),
        (["--total_timesteps.more", "5"], "total_timesteps is no group"),
        (["--config", "FILE"], "unknown field 'total_timestepz'"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(tmp_path, capsys, words, message):
    file = tmp_path / "bad.yaml"
    file.write_text("total_timestepz: 3\n")
    words = [str(file) if word == "FILE" else word for word in words]
    out = tmp_path / "out"
    if words == ["--resume"]:
        words = ["--algorithm", "ppo", "--num_envs", "1", "--resume"]
    assert run_verb("train_grasp", ["--out", str(out), *words]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in line and line.startswith("invdyn train_grasp: ")
    assert not out.exists()


def test_curves_of_runs_say_what_the_level_cost(tmp_path, capsys):
    easy = replace(
        CONFIG,
        algorithm="dagger",
        learner={"net_arch": [16], "learning_starts": 50},
        total_timesteps=300,
    )
    train_grasp(
        replace(easy, evaluation=PolicyEvaluationConfig(eval_freq=100, n_eval_episodes=10)),
        TASK,
        tmp_path / "a",
    )
    train_grasp(replace(CONFIG, total_timesteps=20), TASK, tmp_path / "b")
    report, runs = tmp_path / "r.json", [str(tmp_path / "a"), str(tmp_path / "b")]
    words = ["learning_curves", "--runs", *runs, "--level", "0.8", "--report", str(report)]
    assert run_verb("benchmark", words) == 0 and report.with_suffix(".png").stat().st_size > 5000
    found = json.loads(report.read_text())
    first, second = (found["rows"][run] for run in runs)
    assert first["best"] >= 80 and first["steps"] in (100, 200, 300)
    assert second["best"] < 80 and "steps" not in second
    assert [point["timesteps"] for point in found["curves"][runs[0]]] == [100, 200, 300]
    assert run_verb("benchmark", ["learning_curves", "--runs", str(tmp_path)]) == 2
    assert "curve.json is missing" in capsys.readouterr().err


def test_runs_that_differ_only_in_their_seed_have_one_name(tmp_path):
    shown = DemonstrationConfig(episodes=5)
    runs = {
        "ur5_1": CONFIG,
        "ur5_2": replace(CONFIG, seed=1, total_timesteps=30, num_envs=2),
        "shown": replace(CONFIG, demonstrations=shown),
        "shown_long": replace(CONFIG, demonstrations=shown, max_episode_seconds=9.0),
    }
    for name, config in runs.items():
        train_grasp(
            replace(config, total_timesteps=config.total_timesteps % 50 + 10),
            TASK,
            tmp_path / name,
        )
    (tmp_path / "old").mkdir()
    found = legend([tmp_path / name for name in (*runs, "old")])
    assert list(found.values()) == [
        "SAC on ur5 at noise default",
        "SAC on ur5 at noise default",
        "SAC with demonstrations on ur5 at noise default (shown)",
        "SAC with demonstrations on ur5 at noise default (shown_long)",
        str(tmp_path / "old"),
    ]


@pytest.mark.parametrize("name", ["dagger", "ppo", "sac", "sac_pixels", "tqc"])
def test_shipped_recipes_can_be_read(name):
    file = package_file(f"config/grasp/{name}.yaml")
    config = read_config(TrainGraspOptions(Path("out"), config=file), [])
    assert config.algorithm in name and config.control_mode == "cartesian"
