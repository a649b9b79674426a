"""Learning to grasp: on a toy that can be learned in seconds, and on the real environment."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from invdyn_ros.arms.scene import SCENES
from invdyn_ros.cli import run_verb
from invdyn_ros.graph import resolve
from invdyn_ros.grasp.algorithms import ALGORITHMS
from invdyn_ros.grasp.curriculum import Curriculum, CurriculumConfig
from invdyn_ros.grasp.demonstrations import (
    DemonstrationConfig,
    MixedReplayBuffer,
    Transitions,
    record,
)
from invdyn_ros.grasp.environment import GraspEnv
from invdyn_ros.grasp.environments import register_all
from invdyn_ros.grasp.learned import LearnedGrasp
from invdyn_ros.grasp.learning import LearningConfig, Run, Task, learn
from invdyn_ros.grasp.policy import Policy, PolicyMeta, load_policy, save_policy
from invdyn_ros.grasp.trial import EvaluationConfig, evaluate
from invdyn_ros.grasp.vector import vectorised
from invdyn_ros.models.checkpoint import META
from invdyn_ros.robot import load_robot

SMALL = {"hidden": [32, 32], "batch": 64, "start": 100, "learning_rate": 3e-3, "discount": 0.9}
CONFIG = LearningConfig(
    algorithm="sac",
    steps=900,
    learner=SMALL,
    evaluation=EvaluationConfig(every=300, episodes=10),
)
SIZE, ACTIONS = 4, 2  # of the toy's observations and actions


@pytest.fixture(autouse=True, scope="module")
def prepared():
    register_all()
    torch.set_num_threads(1)


class Toy(gymnasium.Env):
    """A point moves to a target; the area of the targets can be eased."""

    observation_space = spaces.Box(-10.0, 10.0, (SIZE,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
    area = 1.0

    def ease(self, area: float, noise: float) -> None:
        self.area = area

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.left = np.zeros(2), 20
        self.target = self.np_random.uniform(-self.area, self.area, 2)
        return self._seen(), {}

    def _seen(self):
        return np.concatenate([self.place, self.target - self.place]).astype(np.float32)

    def step(self, action):
        before = np.linalg.norm(self.target - self.place)
        self.place = np.clip(self.place + 0.2 * np.asarray(action), -2, 2)
        distance, self.left = np.linalg.norm(self.target - self.place), self.left - 1
        there = bool(distance < 0.15)
        pay = float(before - distance + there)
        return self._seen(), pay, there, self.left == 0, {"is_success": there}


def make(processes: int, seed: int) -> VecEnv:
    env = DummyVecEnv([lambda: Monitor(Toy()) for _ in range(processes)])
    env.seed(seed)
    return env


def demonstrate(episodes: int) -> Transitions:
    """Straight to the target, recognisable by a reward that the toy never pays."""
    toy, rows = Toy(), []
    for k in range(episodes):
        seen, over = toy.reset(seed=k)[0], False
        while not over:
            action = np.clip(seen[2:] / 0.2, -1, 1).astype(np.float32)
            after, reward, there, late, _ = toy.step(action)
            rows.append((seen, after, action, reward, float(there)))
            seen, over = after, there or late
    return Transitions(*(np.array(c, np.float32) for c in zip(*rows, strict=True)))


TASK = Task(make, demonstrate)


def reward_of(policy, episodes: int = 30) -> float:
    with closing(make(1, 77)) as env:
        return evaluate(policy, env, episodes).reward


@pytest.mark.parametrize(
    ("algorithm", "settings", "steps"),
    [
        ("sac", {}, 600),
        ("tqc", {}, 600),
        ("ppo", {"rollout": 256, "epochs": 10, "deviation": -0.5}, 3000),
    ],
)
def test_return_on_a_toy_improves(tmp_path, algorithm, settings, steps):
    learner = {k: v for k, v in SMALL.items() if algorithm != "ppo" or k != "start"} | settings
    config = replace(CONFIG, algorithm=algorithm, learner=learner, steps=steps)
    random = np.random.default_rng(0)
    before = reward_of(lambda seen: random.uniform(-1, 1, (len(seen), ACTIONS)))
    result = learn(config, TASK, tmp_path)
    after = reward_of(load_policy(tmp_path).act)
    assert after > before + 0.5
    assert result.successes > 0.6 * result.episodes
    assert list((tmp_path / "logs").glob("events*"))


def test_a_policy_acts_as_the_learner_it_came_from(tmp_path):
    seen = np.random.default_rng(1).normal(size=(50, SIZE)).astype(np.float32)
    for name, algorithm in ALGORITHMS.items():
        learner = {"hidden": [16], "batch": 64}
        run = Run(replace(CONFIG, algorithm=name, learner=learner), TASK, tmp_path, print)
        with closing(make(1, 0)) as env:
            run.learner = run._learner(env, demonstrate(5) if algorithm.remembers else None)
            expected, _ = run.learner.predict(seen, deterministic=True)
            np.testing.assert_allclose(run.policy(0).act(seen), expected, atol=1e-6)


def test_a_saved_policy_acts_as_before(tmp_path):
    torch.manual_seed(0)
    policy = Policy(PolicyMeta("ur5", SIZE, ACTIONS, (8, 8), "tanh", "sac", data={"steps": 3}))
    policy.mean += 0.3
    save_policy(policy, tmp_path)
    again, seen = load_policy(tmp_path), np.ones((5, SIZE), np.float32)
    assert np.array_equal(policy.act(seen), again.act(seen))
    assert again.meta == policy.meta
    assert {f.name for f in tmp_path.iterdir()} == {"meta.json", "model.safetensors"}


def test_a_policy_of_something_else_is_refused(tmp_path):
    save_policy(Policy(PolicyMeta("ur5", SIZE, ACTIONS, (8,), "tanh", "sac")), tmp_path)
    with pytest.raises(ValueError, match="policy of 'ur5', not of 'dofbot'"):
        load_policy(tmp_path, "dofbot")
    with pytest.raises(ValueError, match="takes 4"):
        load_policy(tmp_path).act(np.zeros(5, np.float32))
    meta = json.loads((tmp_path / META).read_text())
    (tmp_path / META).write_text(json.dumps(meta | {"hidden": [9]}))
    with pytest.raises(ValueError, match="has shape"):
        load_policy(tmp_path)
    with pytest.raises(ValueError, match="no policy folder"):
        load_policy(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_demonstrations_have_their_share_of_each_batch(share):
    shown = demonstrate(5)._replace(rewards=np.full(1000, 9.0, np.float32))
    shown = shown._replace(rewards=shown.rewards[: len(shown.dones)])
    space = (Toy.observation_space, Toy.action_space)
    buffer = MixedReplayBuffer(100, *space, "cpu", shown=shown, share=share)
    for _ in range(20):
        zero = np.zeros((1, SIZE), np.float32)
        buffer.add(zero, zero, np.zeros((1, 2)), np.zeros(1), np.zeros(1), [{}])
    batch = buffer.sample(80)
    assert (batch.rewards == 9).float().mean() == share
    assert batch.observations.shape == (80, SIZE) and batch.actions.shape == (80, ACTIONS)


def test_imitation_alone_solves_the_toy(tmp_path):
    shown = DemonstrationConfig(episodes=40, share=0.5, cloning=400)
    config = replace(CONFIG, steps=1, demonstrations=shown)
    result = learn(config, TASK, tmp_path)
    assert result.successes >= 0.8 * result.episodes


@pytest.mark.parametrize("algorithm", ["sac", "ppo"])
def test_a_resumed_run_goes_on_where_it_ended(tmp_path, algorithm):
    learner = SMALL if algorithm == "sac" else {"rollout": 100, "batch": 50, "hidden": [16]}
    config = replace(CONFIG, algorithm=algorithm, learner=learner, steps=300)
    ease = CurriculumConfig(area=0.1, noise=0.0, window=5, promote=0.1, stride=0.5)
    config = replace(config, curriculum=ease)
    first = Run(config, TASK, tmp_path, lambda step, best: None)
    first.go(resume=False)
    steps: list[int] = []
    second = Run(replace(config, steps=700), TASK, tmp_path, lambda step, best: steps.append(step))
    second.go(resume=True)
    assert steps[0] == 301 and second.learner.num_timesteps == 700
    assert first.curriculum.level > 0 and second.curriculum.level >= first.curriculum.level
    assert second.learner._n_updates > first.learner._n_updates


def test_a_resumed_learner_is_the_one_that_was_written(tmp_path):
    config = replace(CONFIG, steps=300)
    first = Run(config, TASK, tmp_path, lambda step, best: None)
    first.go(resume=False)
    second = Run(config, TASK, tmp_path, lambda step, best: None)
    second.go(resume=True)
    a, b = (run.learner.get_parameters() for run in (first, second))
    for name in a:
        torch.testing.assert_close(a[name], b[name])
    assert torch.equal(first.learner.log_ent_coef, second.learner.log_ent_coef)
    for name in ("observations", "actions", "rewards", "timeouts"):
        old, new = (getattr(run.learner.replay_buffer, name) for run in (first, second))
        assert np.array_equal(old, new)


def test_a_run_with_other_settings_is_not_resumed(tmp_path):
    learn(replace(CONFIG, steps=150), TASK, tmp_path)
    with pytest.raises(ValueError, match="seed 0, not 1"):
        learn(replace(CONFIG, seed=1), TASK, tmp_path, resume=True)
    with pytest.raises(ValueError, match="nothing to resume"):
        learn(CONFIG, TASK, tmp_path / "new", resume=True)


def test_a_curriculum_grows_with_the_success_rate():
    config = CurriculumConfig(area=0.2, noise=0.0, promote=0.5, window=4, stride=0.5)
    curriculum = Curriculum(config)
    assert curriculum.shares == pytest.approx((0.2, 0.0))
    assert not any(curriculum.see(False) for _ in range(10))
    assert [curriculum.see(True) for _ in range(4)] == [False, True, False, False]
    assert curriculum.shares == pytest.approx((0.6, 0.5))
    assert any(curriculum.see(True) for _ in range(4)) and curriculum.level == 1
    assert curriculum.shares == pytest.approx((1.0, 1.0))
    assert Curriculum(CurriculumConfig()).level == 1


def test_blocks_lie_further_apart_when_the_task_grows():
    env = vectorised("invdyn_ros/GraspUR5-v0", 1, seed=0)
    with closing(env):
        world = env.get_attr("unwrapped")[0].world
        scene, spread = world.believed, {}
        for area, noise in ((0.1, 0.0), (0.5, 0.5), (1.0, 1.0)):
            env.env_method("ease", area, noise)
            places = []
            for _ in range(25):
                env.reset()
                places.append(world.simulation.block_pose()[0][:2])
            spread[area] = np.ptp(places, axis=0)
            assert world.noise.camera_position == pytest.approx(noise * 0.002)
        width = np.ptp([scene.area_x, scene.area_y], axis=1)
        for area, seen in spread.items():
            assert (seen <= area * width + 1e-3).all() and (seen > 0.6 * area * width).all()


def test_recorded_demonstrations_are_successes_seen_from_the_environment():
    with closing(GraspEnv(arm="ur5", noise="none")) as environment:
        shown = record(environment, 1, seed=0)
        assert shown.observations.shape[1:] == environment.observation_space.shape
        assert shown.actions.shape[1:] == environment.action_space.shape
    assert shown.dones.sum() == 1 and shown.dones[-1] == 1
    assert np.array_equal(shown.observations[1:], shown.next_observations[:-1])
    assert shown.rewards.sum() > 10  # all stages, and the placing
    assert np.abs(shown.actions).max() <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--algorithm", "magic"], "no algorithm 'magic'; known: ['ppo', 'sac', 'tqc']"),
        (["--arm", "kuka_iiwa"], "no block to grasp for arm 'kuka_iiwa'"),
        (["--learner.size", "3"], "unknown field 'size'; OffPolicyConfig has"),
        (["--learner.batch", "0"], "batch is 0; it must be at least 1"),
        (["--noise", "loud"], "no noise 'loud'"),
        (["--algorithm", "ppo", "--demonstrations.episodes", "5"], "has no memory"),
        (["--steps.more", "5"], "steps is no group"),
        (["--config", "FILE"], "unknown field 'stepz'"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(tmp_path, capsys, words, message):
    file = tmp_path / "bad.yaml"
    file.write_text("stepz: 3\n")
    words = [str(file) if word == "FILE" else word for word in words]
    out = tmp_path / "out"
    if words == ["--resume"]:
        words = ["--algorithm", "ppo", "--processes", "1", "--resume"]
    assert run_verb("train_grasp", ["--out", str(out), *words]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in line and line.startswith("invdyn train_grasp: ")
    assert not out.exists()


def test_the_live_grasp_wants_what_the_environment_wants():
    torch.manual_seed(1)
    with closing(GraspEnv(arm="ur5")) as env:
        policy = Policy(PolicyMeta("ur5", env.observer.size, 7, (16,), "tanh", "sac"))
        live = LearnedGrasp(env.robot, env.world.believed, policy)
        seen, info = env.reset(seed=4)
        for _ in range(60):
            state = env.world.simulation.state()
            for sighting in info["sightings"]:
                live.see(sighting)
            live.measure(state.q, state.qd)
            wish = live.wish(info["time"], info["opening"], 1 / env.robot.rate)
            between = live.wish(info["time"] + 0.016, info["opening"], 1 / env.robot.rate)
            seen, _, _, _, info = env.step(policy.act(seen))
            np.testing.assert_allclose(wish.state.q, env.steering.wanted.q, atol=1e-6)
            assert np.array_equal(wish.state.q, between.state.q)
            assert (wish.horizon, between.horizon) == pytest.approx((0.04, 0.024))
    with pytest.raises(ValueError, match="a policy of arm"):
        LearnedGrasp(load_robot("dofbot"), SCENES["dofbot"], policy)


def test_the_graph_names_what_a_learned_policy_lacks(tmp_path):
    with pytest.raises(ValueError, match="no learned policy is shipped for ur5"):
        resolve("grasp_sim", {"policy": "learned"})
    with pytest.raises(ValueError, match="needs policy:=learned"):
        resolve("grasp_sim", {"policy_checkpoint": str(tmp_path)})
    save_policy(Policy(PolicyMeta("dofbot", SIZE, ACTIONS, (8,), "tanh", "sac")), tmp_path)
    given = {"policy": "learned", "policy_checkpoint": str(tmp_path)}
    with pytest.raises(ValueError, match="policy of 'dofbot', not of 'ur5'"):
        resolve("grasp_sim", given)
    nodes = {node.name: node for node in resolve("grasp_sim", given | {"arm": "dofbot"})}
    assert nodes["grasp"].parameters["policy_checkpoint"] == str(tmp_path)
