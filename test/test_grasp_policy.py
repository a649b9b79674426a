"""Learned policies: training, files, live grasp and launch graph."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_task import ACTION_SIZE, CONFIG, OBSERVATION_SIZE, TASK, demonstrations, make_env

from invdyn_ros.arms.domain_randomization import RANDOMIZATION_LEVELS
from invdyn_ros.graph.graph import resolve
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.learning.config import OFF_POLICY
from invdyn_ros.grasp.learning.rl import RLTraining
from invdyn_ros.grasp.learning.sb3_algorithms import ALGORITHMS
from invdyn_ros.grasp.policies.learned import LearnedGrasp
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata, load_policy, save_policy
from invdyn_ros.models.checkpoint_files import CHECKSUM_KEY, METADATA_FILE, metadata_checksum
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot


def test_policy_acts_as_its_learner(tmp_path):
    observation = np.random.default_rng(1).normal(size=(50, OBSERVATION_SIZE)).astype(np.float32)
    for name in ALGORITHMS:
        learner = {"net_arch": [16], "batch_size": 64}
        config = replace(CONFIG, algorithm=name, learner=learner)
        run = RLTraining(config, TASK, tmp_path, print)
        with closing(make_env(1, 0)) as env:
            run.learner = run.make_learner(env, demonstrations(5) if name in OFF_POLICY else None)
            expected, _ = run.learner.predict(observation, deterministic=True)
            np.testing.assert_allclose(run.policy(0).act(observation), expected, atol=1e-6)


def test_saved_policy_acts_as_before(tmp_path):
    torch.manual_seed(0)
    policy = MLPPolicy(
        PolicyMetadata(
            "ur5", OBSERVATION_SIZE, ACTION_SIZE, (8, 8), "tanh", "sac", data={"steps": 3}
        )
    )
    policy.mean += 0.3
    save_policy(policy, tmp_path)
    again, observation = load_policy(tmp_path), np.ones((5, OBSERVATION_SIZE), np.float32)
    assert np.array_equal(policy.act(observation), again.act(observation))
    assert again.meta == policy.meta
    assert {f.name for f in tmp_path.iterdir()} == {"meta.json", "model.safetensors"}


def test_incompatible_policy_is_rejected(tmp_path):
    save_policy(
        MLPPolicy(PolicyMetadata("ur5", OBSERVATION_SIZE, ACTION_SIZE, (8,), "tanh", "sac")),
        tmp_path,
    )
    with pytest.raises(ValueError, match="policy for 'ur5', not for 'dofbot'"):
        load_policy(tmp_path, "dofbot")
    with pytest.raises(ValueError, match="takes 4"):
        load_policy(tmp_path).act(np.zeros(5, np.float32))
    meta = json.loads((tmp_path / METADATA_FILE).read_text())
    (tmp_path / METADATA_FILE).write_text(json.dumps(meta | {"hidden": [9]}))
    with pytest.raises(ValueError, match="was changed after it was written"):
        load_policy(tmp_path)
    meta["hidden"] = [9]
    meta[CHECKSUM_KEY] = metadata_checksum(meta)
    (tmp_path / METADATA_FILE).write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="has shape"):
        load_policy(tmp_path)
    with pytest.raises(ValueError, match="no policy folder"):
        load_policy(tmp_path / "nowhere")


def test_live_grasp_has_the_targets_of_the_environment():
    torch.manual_seed(1)
    noise = replace(
        RANDOMIZATION_LEVELS["default"], latency=0.0
    )  # a live arm waits for the first detection
    with closing(GraspEnv(arm="ur5", noise=noise)) as env:
        policy = MLPPolicy(
            PolicyMetadata("ur5", env.observation_builder.size, 7, (16,), "tanh", "sac")
        )
        live = LearnedGrasp(env.robot, env.simulation.nominal_scene, policy)
        observation, info = env.reset(seed=4)
        for _ in range(60):
            state = env.simulation.physics.state()
            for detection in info["detections"]:
                live.on_detection(detection)
            live.update_joints(state.q, state.qd)
            command = live.command(info["time"], info["opening"], 1 / env.robot.rate)
            between = live.command(info["time"] + 0.016, info["opening"], 1 / env.robot.rate)
            observation, _, _, _, info = env.step(policy.act(observation))
            np.testing.assert_allclose(command.state.q, env.robot_action_space.target.q, atol=1e-6)
            assert np.array_equal(command.state.q, between.state.q)
            assert (command.horizon, between.horizon) == pytest.approx((0.04, 0.024))
    with pytest.raises(ValueError, match="a policy for 'ur5', not for 'dofbot'"):
        LearnedGrasp(load_robot("dofbot"), load_scene("dofbot"), policy)


def test_graph_reports_why_a_policy_cannot_run(tmp_path):
    with pytest.raises(ValueError, match="no planned policy is shipped for dofbot"):
        resolve("grasp_sim", {"policy": "planned", "arm": "dofbot"})
    with pytest.raises(ValueError, match="needs policy:=learned"):
        resolve("grasp_sim", {"policy_checkpoint": str(tmp_path)})
    checkpoint = {"policy_checkpoint": str(tmp_path)}
    for observations, actions in ((40, 6), (41, 5)):
        meta = PolicyMetadata("dofbot", observations, actions, (8,), "tanh", "sac")
        save_policy(MLPPolicy(meta), tmp_path)
        arguments = (
            f"with {observations} observations and {actions} actions; 'dofbot' has 41 and 6"
        )
        with pytest.raises(ValueError, match=arguments):
            resolve("grasp_sim", {"arm": "dofbot", "policy": "learned"} | checkpoint)
    save_policy(MLPPolicy(PolicyMetadata("dofbot", 41, 6, (8,), "tanh", "sac")), tmp_path)
    values = {"policy": "learned", "policy_checkpoint": str(tmp_path)}
    with pytest.raises(ValueError, match="policy for 'dofbot', not for 'ur5'"):
        resolve("grasp_sim", values)
    nodes = {node.name: node for node in resolve("grasp_sim", values | {"arm": "dofbot"})}
    assert nodes["grasp"].parameters["policy_checkpoint"] == str(tmp_path)


@pytest.mark.parametrize("arm", ["ur5", "ur5e", "dofbot"])
def test_shipped_policies_are_small_and_succeed(arm):
    nodes = {node.name: node for node in resolve("grasp_sim", {"policy": "learned", "arm": arm})}
    folder = Path(nodes["grasp"].parameters["policy_checkpoint"])
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5e6
    policy = load_policy(folder, arm)
    changes = {"control_mode": policy.meta.control_mode, "action_space": policy.meta.action_space}
    with closing(GraspEnv(arm=arm, noise="default", **changes)) as env:
        successes = 0
        for episode in range(3):
            observation, _ = env.reset(seed=11, options={"episode": episode})
            over = False
            while not over:
                observation, _, terminated, truncated, info = env.step(policy.act(observation))
                over = terminated or truncated
            successes += info["is_success"]
        assert successes == 3
