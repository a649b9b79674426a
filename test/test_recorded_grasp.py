"""`invdyn collect grasp`: recordings become demonstrations that say what the environment said."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from itertools import accumulate

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from node_probe import MODEL
from recorded_grasp import Spoken, act, spoken, write
from std_msgs.msg import Float64MultiArray
from torch import nn

from invdyn_ros.cli import run_verb
from invdyn_ros.grasp.learning.config import GraspTrainConfig
from invdyn_ros.grasp.learning.demonstration_dataset import read_demonstrations
from invdyn_ros.grasp.learning.recorded_episodes import EpisodeReplayer
from invdyn_ros.grasp.learning.replay_buffer import DemonstrationConfig
from invdyn_ros.grasp.learning.run import grasp_task
from invdyn_ros.grasp.learning.sb3_algorithms import (
    ALGORITHMS,
    LearnerContext,
    clone_behavior,
    observation_statistics,
)
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.nodes.recordings import to_recordings
from invdyn_ros.nodes.report import ReportNode
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.grasp_bag import read_grasp_bag

UR5 = SpaceSpec("ur5", "joint", ActionSpaceConfig())
WHOLE, BROKEN, REST = np.inf, 1.0, 0.2  # [s] of episodes
STATES, GRIPS, TRUTH = "/joint_states", "/gripper/command", "/sim/objects"
TARGETS, SEEN = "/joint_target", "/blocks/block_0"


@pytest.fixture(scope="module")
def acted():
    """What was said in two whole episodes, one broken off between them and the node_starter of one
    more; and what the environment told of each.
    """
    return act("ur5", WHOLE, BROKEN, WHOLE, REST)


@pytest.fixture(scope="module")
def recording(acted, tmp_path_factory):
    return write(tmp_path_factory.mktemp("recorded") / "bag", acted[0])


@pytest.fixture(scope="module")
def data(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp("demonstrations") / "data"
    assert collect("--out", out, recording) == 0
    return out


def collect(*words: object) -> int:
    return run_verb("collect", ["grasp", *map(str, words)])


def grasps(bag, arm="ur5"):
    return read_grasp_bag(bag, load_robot(arm), load_scene(arm))


def replay(arm="ur5", control="joint"):
    return EpisodeReplayer(load_robot(arm), load_scene(arm), control, ActionSpaceConfig())


def assert_told(arm, bag, told):
    """A recording of some episodes holds what the environment told of them."""
    heard, again = grasps(bag, arm), replay(arm)
    assert len(heard) == len(told)
    for grasp, its in zip(heard, told, strict=True):
        shown = again(grasp)
        made, count = shown.transitions, len(shown.time)
        assert 0 <= len(its.rewards) - count <= 2  # how the last tick ends is never published
        assert not shown.estimated_reward and shown.placed == its.dones.any()
        for name in ("observations", "next_observations", "actions"):
            mine, theirs = getattr(made, name), getattr(its, name)[:count]
            np.testing.assert_allclose(mine, theirs, atol=1e-5, err_msg=name)
        assert made.rewards.sum() == pytest.approx(its.rewards[:count].sum(), abs=2e-3)


def test_a_recorded_episode_is_what_the_environment_told(acted, recording):
    assert_told("ur5", recording, acted[1])


def test_an_arm_that_measures_no_velocity_shows_the_same(tmp_path):
    said, told = act("dofbot", WHOLE)
    assert_told("dofbot", write(tmp_path / "bag", said), told)


def test_only_episodes_that_end_at_the_goal_are_kept_and_all_are_counted(
    recording, tmp_path, capsys
):
    assert collect(recording, recording, "--out", tmp_path / "out") == 0
    account, written = capsys.readouterr().out.strip().splitlines()
    assert account == (
        "8 episodes in, 4 out; -2 cut off by the end of the recording; "
        "-2 did not bring the block to its goal"
    )
    assert "4 episodes of ur5" in written
    shown = read_demonstrations(tmp_path / "out", UR5)
    assert shown.dones.sum() == 4 and shown.dones[-1] == 1


def test_demonstrations_read_back_as_they_were_written(data, recording):
    shown = [replay()(grasp) for grasp in grasps(recording)]
    parts = [one.transitions for one in shown if one.placed]
    read, start = read_demonstrations(data, UR5), 0
    for part in parts:
        end = start + len(part.rewards)
        for name in ("observations", "actions", "rewards", "dones"):
            np.testing.assert_array_equal(getattr(read, name)[start:end], getattr(part, name))
        following = read.next_observations[start : end - 1]  # nothing is learned from the last
        np.testing.assert_array_equal(following, part.next_observations[:-1])
        start = end
    assert start == len(read.rewards)


def test_demonstrations_have_the_lerobot_layout(data):
    info = json.loads((data / "meta/info.json").read_text())
    table = pq.read_table(data / info["data_path"].format(chunk_index=0, file_index=0))
    assert info["codebase_version"] == "v3.0" and info["fps"] == 25
    assert set(info["features"]) == set(table.column_names)
    assert {"observation.state", "action", "next.reward", "next.done"} <= set(table.column_names)
    assert info["features"]["next.done"] == {"dtype": "bool", "shape": [1], "names": None}
    assert info["features"]["observation.state"]["shape"] == [UR5.sizes[0]]
    assert info["total_frames"] == len(table) and info["total_episodes"] == 2
    ends = np.flatnonzero(table["next.done"].to_pylist())
    episodes = pq.read_table(data / "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["dataset_to_index"].to_pylist() == [int(end) + 1 for end in ends]
    stats = json.loads((data / "meta/stats.json").read_text())
    assert stats["next.done"]["max"] == [1] and len(stats["action"]["mean"]) == UR5.sizes[1]


def test_a_report_reads_the_same_episodes(acted, recording):
    kept: dict = {}
    for one in acted[0]:
        kept.setdefault(one.topic, (one.kind, []))[1].append(one.raw)
    reported = to_recordings(kept, load_robot("ur5"), latency=False)
    for mine, its in zip(grasps(recording), reported, strict=True):
        np.testing.assert_array_equal(mine.joints.q, its.joints.q)
        np.testing.assert_allclose(mine.block_poses[:, 0], list(its.block_poses), atol=1e-9)


def test_a_recording_holds_every_topic_that_is_read(start_node):
    probe = start_node(ReportNode, **MODEL, graph="grasp_sim", lockstep=True)
    assert {STATES, GRIPS, TRUTH, TARGETS, SEEN} <= probe.tested.topics.keys()


def test_without_true_block_poses_the_reward_is_for_what_was_seen(acted, tmp_path, capsys):
    said, told = acted
    bag = write(tmp_path / "bag", said, without=(TRUTH,))
    assert collect(bag, "--out", tmp_path / "out") == 0
    account = capsys.readouterr().out
    assert "4 episodes in, 2 out" in account
    assert "2 without true block poses: their reward uses the detections" in account
    paid = sum(part.rewards.sum() for part in told if part.dones.any())
    rewards = read_demonstrations(tmp_path / "out", UR5).rewards
    assert rewards.sum() == pytest.approx(paid, rel=0.1)


def test_a_topic_that_is_silent_in_an_episode_does_not_mix_up_the_others(acted, tmp_path):
    episode = list(accumulate(_begins(one) for one in acted[0]))
    silent = [one for one, k in zip(acted[0], episode, strict=True) if k != 1 or one.topic != SEEN]
    heard = grasps(write(tmp_path / "bag", silent))
    assert [len(grasp.detections) > 0 for grasp in heard[:3]] == [False, True, True]


def _begins(one: Spoken) -> bool:
    """Whether a message is the first joint state of an episode: of time zero."""
    return one.topic == STATES and one.raw[4:12] == bytes(8)


def test_a_grip_that_names_no_state_answers_the_newest(acted, tmp_path):
    said = []
    for one in acted[0]:
        wide = float(np.frombuffer(one.raw[-8:], "<f8")[0])  # the numbers come last
        plain = spoken(GRIPS, Float64MultiArray(data=[wide])) if one.topic == GRIPS else one
        said.append(plain)
    named, plain = (
        grasps(write(tmp_path / name, messages))
        for name, messages in (("named", acted[0]), ("plain", said))
    )
    for a, b in zip(named, plain, strict=True):
        np.testing.assert_allclose(a.gripper_commands, b.gripper_commands, atol=1e-9)


def test_cartesian_actions_want_the_arm_about_where_it_went(recording):
    grasp = grasps(recording)[0]
    joint, tool = (replay(control=name)(grasp).transitions for name in ("joint", "cartesian"))
    assert tool.actions.shape == (len(joint.actions), 5) and tool.dones[-1] == 1
    np.testing.assert_array_equal(joint.actions[:, -1], tool.actions[:, -1])
    n = load_robot("ur5").n
    off = 0.1 * tool.observations[:, 2 * n : 3 * n]  # [rad] wanted less measured
    assert np.abs(off).max() < 0.15


def test_lost_joint_states_leave_an_episode_out_and_say_so(acted, tmp_path, capsys):
    said = [one for k, one in enumerate(acted[0]) if one.topic != STATES or not 900 < k < 1000]
    assert collect(write(tmp_path / "bag", said), "--out", tmp_path / "out") == 0
    account = capsys.readouterr().out
    assert "4 episodes in, 1 out" in account
    assert "-1 without joint states for longer than an action" in account


def test_imitation_of_recorded_demonstrations_lowers_its_loss(data, monkeypatch):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shown, algorithm = read_demonstrations(data, UR5), ALGORITHMS["sac"]
    config = GraspTrainConfig(algorithm="sac", learner={"net_arch": [32, 32], "buffer_size": 100})
    losses, measure = [], nn.functional.mse_loss

    def noting(*arguments):
        loss = measure(*arguments)
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(nn.functional, "mse_loss", noting)
    with closing(grasp_task(config).make_env(1, 0)) as env:
        around = LearnerContext(env, 0, *observation_statistics(shown, UR5.sizes[0]), shown, 0.5)
        clone_behavior(
            algorithm.make_learner(config.learner_config(), around), algorithm, shown, 300, 64
        )
    assert np.mean(losses[-30:]) < 0.2 * np.mean(losses[:5])


def test_a_task_shows_what_was_recorded(data):
    shown = DemonstrationConfig(data=str(data))
    config = GraspTrainConfig(algorithm="sac", demonstrations=shown)
    assert grasp_task(config).record_demonstrations(0).dones.sum() == 2
    with pytest.raises(ValueError, match="'ppo' has no replay buffer for demonstrations"):
        GraspTrainConfig(algorithm="ppo", demonstrations=shown)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arm", "ur5e"], "holds demonstrations of arm ur5, not ur5e"),
        (["--control_mode", "cartesian"], "holds demonstrations of control joint, not cartesian"),
        (["--action_space.period", "0.08"], "holds demonstrations of steering {'period': 0.04,"),
        (["--demonstrations.data", "NONE"], "is not a dataset: meta/info.json is missing"),
        (["--demonstrations.data", "TORN"], "an episode does not end where it is done"),
    ],
)
def test_demonstrations_of_something_else_are_refused(data, tmp_path, capsys, words, message):
    torn, out = tmp_path / "torn", tmp_path / "out"
    shutil.copytree(data, torn)
    (file,) = torn.glob("data/*/*.parquet")
    pq.write_table(pq.read_table(file)[:-5], file)
    given = {"NONE": str(tmp_path), "TORN": str(torn)}
    words = ["--demonstrations.data", str(data), *(given.get(word, word) for word in words)]
    alike = ["--algorithm", "sac", "--control_mode", "joint", "--action_space.period", "0.04"]
    assert run_verb("train_grasp", [*alike, "--out", str(out), *words]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in line and line.startswith("invdyn train_grasp: ") and not out.exists()


def test_demonstrations_are_no_motion_to_train_on(data, tmp_path, capsys):
    words = ["--config", "config/train/mlp.yaml", "--data", str(data)]
    assert run_verb("train", [*words, "--out", str(tmp_path / "model")]) == 2
    assert "holds demonstrations of a grasp, no motion" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "topic", "message"),
    [
        ([], GRIPS, "no topic /gripper/command of type std_msgs/msg/Float64MultiArray"),
        ([], TARGETS, "no topic /joint_target of type"),
        ([], TRUTH, "nothing to write: 1 episodes in, 0 out; -1 did not bring the block"),
        (["--arm", "dofbot"], "", "/joint_states has no message of 'dofbot'"),
        (["--arm", "kuka_iiwa"], "", "no block to grasp for arm 'kuka_iiwa'"),
        (["--period", "0.03"], "", "period 0.03 s is no multiple of 0.008 s"),
    ],
)
def test_recordings_that_show_no_grasp_are_refused(acted, tmp_path, capsys, words, topic, message):
    bag, out = write(tmp_path / "bag", acted[0][:1000], without=(topic,)), tmp_path / "out"
    assert collect(bag, "--out", out, *words) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in line and line.startswith("invdyn collect: ") and not out.exists()
