"""Grasp environments: Gymnasium API, determinism and agreement with the live graph."""

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
from invdyn_ros.grasp.envs.scripted_agent import ScriptedAgent
from invdyn_ros.grasp.envs.vector_env import make_vec_env
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.success import LIFT_HEIGHT
from invdyn_ros.robots.registry import load_scene

UR5, DOFBOT, PIXELS = (f"invdyn_ros/Grasp{kind}-v0" for kind in ("UR5", "Dofbot", "UR5Pixels"))


@pytest.fixture(autouse=True, scope="module")
def registered():
    register_all()
    torch.set_num_threads(1)


def run_random_actions(env: gymnasium.Env, seed: int, steps: int = 30) -> list[Any]:
    """Return all outputs of an environment under fixed random actions."""
    rng, outputs = np.random.default_rng(5), [env.reset(seed=seed)[0]]
    for _ in range(steps):
        action = rng.uniform(-0.6, 0.6, env.action_space.shape).astype(np.float32)
        observation, reward, *ends, info = env.step(action)
        outputs += [observation, reward, *ends, info["time"], info["opening"]]
    return outputs


def outputs_equal(a: list[Any], b: list[Any]) -> bool:
    flat = [[part for x in outputs for part in (x.values() if isinstance(x, dict) else [x])]
            for outputs in (a, b)]  # fmt: skip
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
def test_environment_passes_the_gymnasium_checker(name: str, changes: dict[str, Any]) -> None:
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


def test_id_with_a_module_needs_no_import() -> None:
    with gymnasium.make(f"invdyn_ros.grasp.envs.registration:{UR5}") as env:
        assert env.spec is not None and env.spec.id == UR5


def test_documentation_lists_every_entry_of_an_observation() -> None:
    text = GraspEnv.__doc__ or ""
    table = text[text.index("## Observation space") : text.index('`obs_mode="pixels"`')]
    counts = [line.split("|")[1].strip() for line in table.splitlines() if line.count("|") == 5]
    known = {"n": 6, "a": 7}
    sizes = [known[c] if c in known else int(c) for c in counts if c in known or c.isdigit()]
    with gymnasium.make(UR5) as env:
        assert sum(sizes) == env.observation_space.shape[0]


@pytest.mark.parametrize("name", [UR5, DOFBOT, PIXELS])
def test_same_seed_gives_identical_outputs(name: str) -> None:
    """In a new environment and after other episodes."""
    with gymnasium.make(name) as first, gymnasium.make(name) as second:
        run = run_random_actions(first, 3)
        assert not outputs_equal(run, run_random_actions(second, 4))
        assert outputs_equal(run, run_random_actions(second, 3))
        assert outputs_equal(run, run_random_actions(first, 3))


def test_episodes_are_those_of_the_live_graph() -> None:
    with gymnasium.make(UR5, noise="hard") as env:
        env.reset(seed=7)
        env.reset()
        simulation = env.unwrapped.simulation
        expected = randomize_scene(load_scene("ur5"), load_randomization("hard"), 7, 1)
        np.testing.assert_array_equal(
            simulation.scene.camera.T_base_camera, expected.camera.T_base_camera
        )
        assert simulation.scene.block_mass == expected.block_mass
        position = simulation.physics.block_pose()[0]
        env.reset(seed=7)
        assert not np.array_equal(simulation.physics.block_pose()[0], position)
        env.reset(options={"episode": 1})
        np.testing.assert_array_equal(simulation.physics.block_pose()[0], position)


def run_script(
    name: str, seed: int, episodes: int, **changes: Any
) -> tuple[list[bool], list[float]]:
    """Return success and return of the scripted policy in each episode."""
    successes, returns = [], []
    with gymnasium.make(name, **changes) as env:
        policy = ScriptedAgent(env.unwrapped)
        for episode in range(episodes):
            _, info = env.reset(seed=seed if episode == 0 else None)
            policy.reset()
            over, total = False, 0.0
            while not over:
                _, reward, terminated, truncated, info = env.step(policy.act(None, info))
                over, total = terminated or truncated, total + reward
            assert terminated == info["is_success"]
            successes.append(info["is_success"])
            returns.append(total)
    return successes, returns


@pytest.mark.parametrize(("name", "episodes"), [(UR5, 2), (DOFBOT, 1)])
def test_scripted_policy_succeeds_with_a_high_return(name: str, episodes: int) -> None:
    successes, returns = run_script(name, 20, episodes)
    assert all(successes)
    assert min(returns) > 10  # lifted, carried, released and placed


@pytest.mark.parametrize("name", [UR5, DOFBOT])
def test_random_goals_are_observed_and_where_the_arm_reaches(name: str) -> None:
    with gymnasium.make(name, random_goal=True) as env:
        goals, simulation = [], env.unwrapped.simulation
        for episode in range(12):
            env.reset(seed=3, options={"episode": episode})
            detector = simulation.success_detector
            assert detector.starts_off_goal
            np.testing.assert_array_equal(env.unwrapped.observation_builder.goal, detector.goal)
            goals.append(detector.goal)
        scene = env.unwrapped.scene
        extent = np.ptp(goals, axis=0)
        assert (extent[:2] > 0.5 * np.array([np.ptp(scene.area_x), np.ptp(scene.area_y)])).all()
        env.reset(seed=3, options={"episode": 4})
        np.testing.assert_array_equal(simulation.success_detector.goal, goals[4])


def test_scripted_policy_places_a_block_at_a_random_goal() -> None:
    assert all(run_script(UR5, 20, 1, random_goal=True)[0])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [UR5, DOFBOT])
def test_scripted_policy_succeeds_under_noise(name: str) -> None:
    assert all(run_script(name, 100, 3)[0])


def test_low_physics_rate_gives_the_outcome_of_the_simulator_node() -> None:
    coarse, fine = (run_script(UR5, 3, 1, physics_rate=rate) for rate in (None, 1000.0))
    assert coarse[0] == fine[0] == [True]
    assert coarse[1] == pytest.approx(fine[1], abs=0.1)


def test_reward_of_standing_still_is_zero() -> None:
    with gymnasium.make(UR5, noise="none") as env:
        env.reset(seed=0)
        still = np.zeros(7, np.float32)
        still[-1] = 1  # stays open
        rewards = [env.step(still)[1] for _ in range(10)]
    assert np.abs(rewards).max() < 1e-3


def test_reward_of_a_motion_and_its_reverse_cancel() -> None:
    with gymnasium.make(UR5, control_mode="cartesian", noise="none") as env:
        env.reset(seed=0)
        down, up = np.zeros((2, 5), np.float32)
        down[[2, 4]], up[[2, 4]] = (-0.5, 1), (0.2, 1)
        simulation = env.unwrapped.simulation
        height = simulation.privileged_state().tool_pose[2, 3]
        forward, back = sum(env.step(down)[1] for _ in range(15)), 0.0
        while simulation.privileged_state().tool_pose[2, 3] < height:
            back += env.step(up)[1]
    assert forward > 0.003 and forward + back == pytest.approx(0, abs=0.4 * forward)


def test_detections_are_delayed_by_the_latency() -> None:
    noise = replace(load_randomization("none"), latency=0.3)
    with gymnasium.make(UR5, noise=noise) as env:
        _, info = env.reset(seed=1)
        latency = env.unwrapped.camera._delay.latency
        assert 0 < latency < 0.3 and not info["detections"]
        for _ in range(20):
            *_, info = env.step(np.zeros(7, np.float32))
            assert all(s.time + latency <= info["time"] + 1e-6 for s in info["detections"])
            assert all(s.time + latency > info["time"] - 0.041 for s in info["detections"])


def test_grasped_block_is_observed_at_the_tool() -> None:
    with gymnasium.make(UR5) as env:
        policy, observer = ScriptedAgent(env.unwrapped), env.unwrapped.observation_builder
        _, info = env.reset(seed=2)
        while not (lifted := info["lifted"]):
            observation, *_, info = env.step(policy.act(None, info))
        block = env.unwrapped.simulation.physics.block_pose()[0]
        assert lifted and observer.grasped and block[2] > LIFT_HEIGHT
        estimate = observation[-10:-7] * 0.1 + observer.tool_pose[:3, 3]
        np.testing.assert_allclose(estimate, block, atol=0.01)


@pytest.mark.slow
def test_subprocess_environments_match_a_single_one() -> None:
    """Each has its own seed; the outputs do not depend on the number of processes."""
    outputs = []
    for processes in (2, 1):
        envs = make_vec_env(UR5, processes, seed=11)
        rows = [envs.reset()[0].copy()]
        for k in range(12):
            action = np.full((processes, 7), 0.1 * np.sin(k), np.float32)
            observations, rewards, _, _ = envs.step(action)
            rows += [observations[0].copy(), np.float32(rewards[0])]
        assert processes == 1 or not np.array_equal(observations[0], observations[1])
        envs.close()
        outputs.append(rows)
    assert outputs_equal(*outputs)


def test_sac_trains_on_pixels() -> None:
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
        ({"noise": "unknown"}, r"noise is 'unknown'.*hard"),
        (
            {"control_mode": "torque"},
            "control_mode is 'torque'; it must be 'joint' or 'cartesian'",
        ),
        ({"obs_mode": "depth"}, "obs_mode is 'depth'; it must be 'state' or 'pixels'"),
        ({"arm": "kuka_iiwa"}, r"no block to grasp for arm 'kuka_iiwa'.*dofbot"),
        ({"max_episode_seconds": 0.0}, "max_episode_seconds is 0.0; it must be greater than 0"),
        (
            {"action_space": ActionSpaceConfig(action_period=0.011)},
            "action_period 0.011 s is not a multiple of 0.008 s",
        ),
        ({"checkpoint": "config/checkpoints/ur5e"}, "ur5e"),
    ],
)
def test_invalid_settings_are_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraspEnv(**changes)


def test_invalid_actions_and_options_are_rejected() -> None:
    with gymnasium.make(UR5) as env:
        with pytest.raises(ValueError, match="unknown options"):
            env.reset(options={"colour": 1})
        env.reset(seed=0)
        for bad in (np.zeros(6), np.full(7, np.nan)):
            with pytest.raises(ValueError, match="7 finite numbers"):
                env.unwrapped.step(bad)


def test_benchmark_compares_the_speed_with_panda_gym(tmp_path: Path, capfd: Any) -> None:
    file = tmp_path / "speed.json"
    arguments = ["--seconds", "1.5", "--periods", "0.04", "--num-envs", "1", "--report", str(file)]
    assert benchmark(["environment", "--arm", "dofbot", *arguments]) == 0
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
    ("arguments", "message"),
    [
        (("--arm", "kuka_iiwa"), "no block to grasp for arm 'kuka_iiwa'"),
        (("--periods", "0.03"), "action_period 0.03 s is not a multiple of 0.008 s"),
    ],
)
def test_invalid_benchmark_settings_are_rejected(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        benchmark(["environment", *arguments])
