"""The grasp environments: gymnasium's rules, determinism, and agreement with the live graph."""

from __future__ import annotations

import importlib.util
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from invdyn_ros.arms.domain_randomization import load_randomization, randomize_scene
from invdyn_ros.cli.benchmark import main as benchmark
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.registration import register_all
from invdyn_ros.grasp.envs.scripted_expert import ScriptedPolicy
from invdyn_ros.grasp.envs.vector_env import make_vec_env
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.success import LIFT_HEIGHT
from invdyn_ros.robots.registry import load_scene

UR5, DOFBOT, PIXELS = (f"invdyn_ros/Grasp{kind}-v0" for kind in ("UR5", "Dofbot", "UR5Pixels"))


@pytest.fixture(autouse=True, scope="module")
def names():
    register_all()
    torch.set_num_threads(1)


def walk(env: gymnasium.Env, seed: int, steps: int = 30) -> list[Any]:
    """Everything that leaves an environment while fixed actions act."""
    random, heard = np.random.default_rng(5), [env.reset(seed=seed)[0]]
    for _ in range(steps):
        action = random.uniform(-0.6, 0.6, env.action_space.shape).astype(np.float32)
        observation, reward, *ends, info = env.step(action)
        heard += [observation, reward, *ends, info["time"], info["opening"]]
    return heard


def same(a: list[Any], b: list[Any]) -> bool:
    flat = [[part for x in heard for part in (x.values() if isinstance(x, dict) else [x])]
            for heard in (a, b)]  # fmt: skip
    return all(np.array_equal(x, y) for x, y in zip(*flat, strict=True))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (UR5, {}),
        (UR5, {"control_mode": "cartesian"}),
        (DOFBOT, {"noise": "hard"}),
        (DOFBOT, {"control_mode": "cartesian"}),
        (PIXELS, {}),
    ],
)
def test_gymnasium_has_nothing_to_complain_about(name: str, changes: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(name, **changes)
        check_env(env.unwrapped, skip_render_check=name != UR5)
    space = env.observation_space
    n, a = env.unwrapped.robot.n, env.action_space.shape[0]
    vector = space["state"] if name == PIXELS else space
    assert vector.shape == (3 * n + a + (10 if name == PIXELS else 20),)
    assert a == (5 if changes.get("control_mode") == "cartesian" else n + 1)
    env.close()


def test_a_name_with_its_module_needs_no_import() -> None:
    with gymnasium.make(f"invdyn_ros.grasp.envs.registration:{UR5}") as env:
        assert env.spec is not None and env.spec.id == UR5


def test_every_entry_of_an_observation_stands_in_the_documentation() -> None:
    text = GraspEnv.__doc__ or ""
    table = text[text.index("**Observation**") : text.index('`obs_mode="pixels"`')]
    counts = [line.split("|")[1].strip() for line in table.splitlines() if line.count("|") == 5]
    known = {"n": 6, "a": 7}
    sizes = [known[c] if c in known else int(c) for c in counts if c in known or c.isdigit()]
    with gymnasium.make(UR5) as env:
        assert sum(sizes) == env.observation_space.shape[0]


@pytest.mark.parametrize("name", [UR5, DOFBOT, PIXELS])
def test_a_seed_is_one_run_bit_for_bit(name: str) -> None:
    """In a new environment as in a used one."""
    with gymnasium.make(name) as first, gymnasium.make(name) as second:
        run = walk(first, 3)
        assert not same(run, walk(second, 4))
        assert same(run, walk(second, 3))
        assert same(run, walk(first, 3))


def test_episodes_are_those_of_the_live_graph() -> None:
    with gymnasium.make(UR5, noise="hard") as env:
        env.reset(seed=7)
        env.reset()
        world = env.unwrapped.simulation
        wanted = randomize_scene(load_scene("ur5"), load_randomization("hard"), 7, 1)
        np.testing.assert_array_equal(
            world.scene.camera.T_base_camera, wanted.camera.T_base_camera
        )
        assert world.scene.block_mass == wanted.block_mass
        where = world.physics.block_pose()[0]
        env.reset(seed=7)
        assert not np.array_equal(world.physics.block_pose()[0], where)
        env.reset(options={"episode": 1})
        np.testing.assert_array_equal(world.physics.block_pose()[0], where)


def script(name: str, seed: int, episodes: int, **changes: Any) -> tuple[list[bool], list[float]]:
    """Success and sum of rewards of the scripted grasp, one per episode."""
    successes, returns = [], []
    with gymnasium.make(name, **changes) as env:
        policy = ScriptedPolicy(env.unwrapped)
        for episode in range(episodes):
            _, info = env.reset(seed=seed if episode == 0 else None)
            policy.reset()
            over, total = False, 0.0
            while not over:
                _, reward, terminated, truncated, info = env.step(policy(info))
                over, total = terminated or truncated, total + reward
            assert terminated == info["placed"]
            successes.append(info["is_success"])
            returns.append(total)
    return successes, returns


@pytest.mark.parametrize(("name", "episodes"), [(UR5, 2), (DOFBOT, 1)])
def test_the_script_of_the_graph_succeeds_and_is_paid(name: str, episodes: int) -> None:
    successes, returns = script(name, 20, episodes)
    assert all(successes)
    assert min(returns) > 10  # lifted, carried, let go and placed


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [UR5, DOFBOT])
def test_the_script_nearly_always_succeeds_under_noise(name: str) -> None:
    assert all(script(name, 100, 20)[0])


def test_coarse_physics_end_as_the_simulator_node_does() -> None:
    coarse, fine = (script(UR5, 3, 1, physics_rate=rate) for rate in (None, 1000.0))
    assert coarse[0] == fine[0] == [True]
    assert coarse[1] == pytest.approx(fine[1], abs=0.1)


def test_doing_nothing_pays_nothing() -> None:
    with gymnasium.make(UR5, noise="none") as env:
        env.reset(seed=0)
        still = np.zeros(7, np.float32)
        still[-1] = 1  # stays open
        rewards = [env.step(still)[1] for _ in range(10)]
    assert np.abs(rewards).max() < 1e-3


def test_the_way_back_costs_what_the_way_there_paid() -> None:
    with gymnasium.make(UR5, control_mode="cartesian", noise="none") as env:
        env.reset(seed=0)
        down, up = np.zeros((2, 5), np.float32)
        down[[2, 4]], up[[2, 4]] = (-0.5, 1), (0.5, 1)
        there = sum(env.step(down)[1] for _ in range(8))
        back = sum(env.step(up)[1] for _ in range(8))
    assert there > 0.01 and there + back == pytest.approx(0, abs=0.2 * there)


def test_nothing_is_seen_before_its_latency_has_passed() -> None:
    noise = replace(load_randomization("none"), latency=0.3)
    with gymnasium.make(UR5, noise=noise) as env:
        _, info = env.reset(seed=1)
        wait = env.unwrapped.camera._delay.latency
        assert 0 < wait < 0.3 and not info["detections"]
        for _ in range(20):
            *_, info = env.step(np.zeros(7, np.float32))
            assert all(s.time + wait <= info["time"] + 1e-6 for s in info["detections"])
            assert all(s.time + wait > info["time"] - 0.041 for s in info["detections"])


def test_a_held_block_is_where_the_tool_is() -> None:
    with gymnasium.make(UR5) as env:
        policy, observer = ScriptedPolicy(env.unwrapped), env.unwrapped.observation_builder
        _, info = env.reset(seed=2)
        while not (lifted := info["lifted"]):
            observation, *_, info = env.step(policy(info))
        block = env.unwrapped.simulation.physics.block_pose()[0]
        assert lifted and observer.grasped and block[2] > LIFT_HEIGHT
        believed = observation[-10:-7] * 0.1 + observer.tool_pose[:3, 3]
        np.testing.assert_allclose(believed, block, atol=0.01)


def test_processes_do_as_one_would() -> None:
    """Each its own seed; the same numbers whether apart or together."""
    heard = []
    for processes in (2, 1):
        envs = make_vec_env(UR5, processes, seed=11)
        rows = [envs.reset()[0].copy()]
        for k in range(12):
            action = np.full((processes, 7), 0.1 * np.sin(k), np.float32)
            observations, rewards, _, _ = envs.step(action)
            rows += [observations[0].copy(), np.float32(rewards[0])]
        assert processes == 1 or not np.array_equal(observations[0], observations[1])
        envs.close()
        heard.append(rows)
    assert same(*heard)


def test_a_learner_takes_it() -> None:
    from stable_baselines3 import SAC

    envs = make_vec_env(PIXELS, 1, seed=0, max_episode_seconds=0.8)
    learner = SAC("MultiInputPolicy", envs, learning_starts=20, buffer_size=100, batch_size=8,
                  policy_kwargs={"net_arch": [16]}, seed=0)  # fmt: skip
    learner.learn(30)
    envs.close()
    assert all(torch.isfinite(p).all() for p in learner.policy.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": "wild"}, r"no noise 'wild'.*hard"),
        (
            {"control_mode": "thoughts"},
            "control_mode is 'thoughts'; it must be 'joint' or 'cartesian'",
        ),
        ({"obs_mode": "smell"}, "obs_mode is 'smell'; it must be 'state' or 'pixels'"),
        ({"arm": "kuka_iiwa"}, r"no block to grasp for arm 'kuka_iiwa'.*dofbot"),
        ({"max_episode_seconds": 0.0}, "max_episode_seconds is 0.0; it must be greater than 0"),
        (
            {"action_space": ActionSpaceConfig(action_period=0.011)},
            "period 0.011 s is no multiple of 0.008 s",
        ),
        ({"checkpoint": "config/checkpoints/ur5e"}, "ur5e"),
    ],
)
def test_what_cannot_be_built_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraspEnv(**changes)


def test_a_wrong_action_and_wrong_options_are_refused() -> None:
    with gymnasium.make(UR5) as env:
        with pytest.raises(ValueError, match="unknown options"):
            env.reset(options={"colour": 1})
        env.reset(seed=0)
        for bad in (np.zeros(6), np.full(7, np.nan)):
            with pytest.raises(ValueError, match="7 finite numbers"):
                env.unwrapped.step(bad)


def test_speed_is_measured_beside_panda_gym(tmp_path: Path, capfd: Any) -> None:
    file = tmp_path / "speed.json"
    words = ["--seconds", "1.5", "--periods", "0.04", "--processes", "1", "--report", str(file)]
    assert benchmark(["environment", "--arm", "dofbot", *words]) == 0
    report = json.loads(file.read_text())
    assert set(report["rows"]) >= {f"{DOFBOT} at 40 ms", f"{DOFBOT} at 40 ms, 1 process"}
    for row in report["rows"].values():
        assert row["steps/s"] > 0 and row["control period ms"] == 40
        assert row["simulated s/s"] == pytest.approx(0.04 * row["steps/s"], abs=0.01)
    if importlib.util.find_spec("panda_gym") is None:
        assert "pip install panda-gym" in capfd.readouterr().out and not report["ratio"]
    else:
        ours, peer = report["rows"][f"{DOFBOT} at 40 ms"], report["rows"]["PandaPickAndPlace-v3"]
        ratio = report["ratio"][f"{DOFBOT} at 40 ms"]["steps/s"]
        assert ratio == pytest.approx(ours["steps/s"] / peer["steps/s"], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--arm", "kuka_iiwa"), "no block to grasp for arm 'kuka_iiwa'"),
        (("--periods", "0.03"), "period 0.03 s is no multiple of 0.008 s"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        benchmark(["environment", *words])
