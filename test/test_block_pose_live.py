"""Block pose network in the environment, in `invdyn train_block_pose` and in the graph."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial

import numpy as np
import pytest
import torch
from small_block_pose_net import confident, untrained

from invdyn_ros.arms.domain_randomization import RANDOMIZATION_LEVELS, sample_latency
from invdyn_ros.cli import run_verb
from invdyn_ros.graph.graph import resolve
from invdyn_ros.graph.shipped_weights import find_block_pose_model
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.estimation.block_pose_network import load_block_pose_net, save_block_pose_net
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata, save_policy
from invdyn_ros.grasp.pose_training import sampled_states
from invdyn_ros.grasp.pose_training.sampled_states import EpisodeJob, collect_states
from invdyn_ros.models.checkpoint_files import METADATA_FILE
from invdyn_ros.robots.robot import package_file
from invdyn_ros.workers import LocalProcesses


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


def test_detections_of_the_network_arrive_with_the_latency_of_the_episode(tmp_path) -> None:
    save_block_pose_net(confident(untrained()), tmp_path)
    with closing(GraspEnv(block_pose_model=str(tmp_path))) as env:
        for _ in range(2):
            observation, info = env.reset(seed=4)
            assert observation in env.observation_space
            detections = list(info["detections"])
            for _ in range(20):
                *_, info = env.step(np.zeros(7, np.float32))
                for detection in info["detections"]:
                    latency = info["time"] - detection.time
                    assert latency >= sample_latency(RANDOMIZATION_LEVELS["default"], 4, 0) - 1e-9
                detections += info["detections"]
            stamps = [detection.time for detection in detections]
            np.testing.assert_allclose(np.diff(stamps), 0.096, atol=1e-9)  # each 12th tick
        shape = env.camera.render().shape
    assert shape == (64, 64, 3)
    with closing(GraspEnv()) as marker_env:
        assert marker_env.observation_space == env.observation_space


def test_the_network_needs_state_observations() -> None:
    with pytest.raises(ValueError, match="needs obs_mode='state'"):
        GraspEnv(obs_mode="pixels", block_pose_model="somewhere")


SMALL_RUN = {
    "rounds": 2, "episodes": 2, "images": 40, "val_images": 24, "eval_episodes": 1,
    "network.pixels": 32, "fit.epochs": 1, "fit.batch_size": 16, "fit.amp": "none",
}  # fmt: skip


def cli_arguments(**changes) -> list[str]:
    values = SMALL_RUN | changes
    words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    return ["--workers", "1", *words]


@pytest.mark.slow
def test_the_verb_trains_in_rounds_and_resumes(tmp_path, capsys, monkeypatch) -> None:
    short = partial(GraspEnv, max_episode_seconds=1.5)  # an untrained network never succeeds
    monkeypatch.setattr("invdyn_ros.grasp.pose_training.sampled_states.GraspEnv", short)
    out = tmp_path / "run"
    assert run_verb("train_block_pose", ["--out", str(out), *cli_arguments()]) == 0
    report = json.loads((out / "block_pose.json").read_text())
    assert (
        report["rollouts"]["noise_hard"]["episodes"] == 1
        and report["test"]["noise_default"]["images"] > 0
    )
    load_block_pose_net(out, "ur5")
    first = (out / "model.safetensors").read_bytes()
    assert run_verb("train_block_pose", ["--out", str(out), *cli_arguments()]) == 2
    assert "exists; give another one, --resume" in capsys.readouterr().err
    assert (
        run_verb("train_block_pose", ["--out", str(out), "--resume", *cli_arguments(images=48)])
        == 2
    )
    assert "images 40, not 48" in capsys.readouterr().err
    (out / "round_1" / METADATA_FILE).unlink()
    assert (
        run_verb(
            "train_block_pose", ["--out", str(out), "--resume", *cli_arguments(eval_episodes=0)]
        )
        == 0
    )
    assert (out / "model.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arm": "kuka_iiwa"}, "no block to grasp for arm 'kuka_iiwa'"),
        ({"imagez": "3"}, "unknown field 'imagez'"),
        ({"network.pixels": "50"}, "multiple of 8"),
        ({"network.num_keypoints": "9"}, "must be above the number of landmarks, 9"),
        ({"fit.amp": "fp16"}, "fit.amp is 'fp16'; it must be 'none' or 'bf16'"),
    ],
)
def test_invalid_settings_are_refused_in_one_line_and_nothing_is_written(
    tmp_path, capsys, changes, message
) -> None:
    assert (
        run_verb("train_block_pose", ["--out", str(tmp_path / "run"), *cli_arguments(**changes)])
        == 2
    )
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_graph_detects_blocks_by_a_network_if_given_and_by_markers_otherwise(tmp_path) -> None:
    save_block_pose_net(untrained(), tmp_path)
    by_markers = {node.name: node for node in resolve("grasp_sim", {})}
    assert (
        "block_pose" not in by_markers and by_markers["scene_camera"].parameters["image_size"] == 0
    )
    nodes = {node.name: node for node in resolve("grasp_sim", {"block_pose_model": str(tmp_path)})}
    assert (
        nodes["block_pose"].parameters["block_pose_model"] == str(tmp_path)
        and "blocks" not in nodes
    )
    assert nodes["scene_camera"].parameters["image_size"] == 64
    save_policy(MLPPolicy(PolicyMetadata("ur5", 45, 7, (8,), "clip", "sac")), tmp_path / "policy")
    vision = {"policy": "vision", "block_pose_model": str(tmp_path)}
    nodes = {
        node.name: node
        for node in resolve("grasp_sim", vision | {"policy_checkpoint": str(tmp_path / "policy")})
    }
    assert nodes["grasp"].parameters["policy"] == "vision" and "block_pose" in nodes
    assert nodes["grasp"].parameters["policy_checkpoint"] == str(tmp_path / "policy")
    save_block_pose_net(untrained("dofbot"), tmp_path)
    with pytest.raises(ValueError, match="trained for 'dofbot', not for 'ur5'"):
        resolve("grasp_sim", {"block_pose_model": str(tmp_path)})
    with pytest.raises(ValueError, match="no block pose network is shipped for panda"):
        find_block_pose_model("vision", "", "panda")


def test_the_scripted_policy_succeeds_on_detections_of_the_shipped_network(monkeypatch) -> None:
    folder = package_file("config/block_pose/ur5")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5e6
    monkeypatch.setattr(sampled_states, "EPISODES_PER_JOB", 2)
    counts: list[tuple[int, int]] = []
    job = EpisodeJob("ur5", "default", str(folder), 77, range(3))
    states = collect_states(job, lambda *count: counts.append(count))
    again = collect_states(job, lambda *count: None, LocalProcesses(2))
    assert all((a == b).all() for a, b in zip(states, again, strict=True))
    assert counts[-1] == (3, 3)
    assert len(states.q) == len(states.T_base_block) > 100
