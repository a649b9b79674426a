"""`invdyn collect grasp`: conversion of recordings to demonstrations."""

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
from recorded_grasp import LoggedMessage, logged_message, record_episodes, write_bag
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
from invdyn_ros.nodes.message_log import MessageLog
from invdyn_ros.nodes.recordings import to_recordings
from invdyn_ros.nodes.report import ReportNode
from invdyn_ros.nodes.robot_names import RobotNames
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.sources.grasp_bag import (
    GraspBag,
    StampedMessage,
    _split_at_blocks,
    read_grasp_bag,
)

UR5_SPEC = SpaceSpec("ur5", "joint", ActionSpaceConfig())
WHOLE, INTERRUPTED, CUT_OFF = np.inf, 1.0, 0.2  # [s] durations of episodes
JOINT_STATES, GRIPPER_COMMANDS, BLOCK_POSES = "/joint_states", "/gripper/command", "/sim/objects"
TARGETS, DETECTIONS = "/joint_target", "/blocks/block_0"


@pytest.fixture(scope="module")
def episodes():
    """Messages of two whole episodes, an interrupted one between them and the start of one more;
    and the environment's transitions of each.
    """
    return record_episodes("ur5", WHOLE, INTERRUPTED, WHOLE, CUT_OFF)


@pytest.fixture(scope="module")
def recording(episodes, tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("recorded") / "bag", episodes[0])


@pytest.fixture(scope="module")
def dataset(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp("demonstrations") / "data"
    assert collect("--out", out, recording) == 0
    return out


def collect(*arguments: object) -> int:
    return run_verb("collect", ["grasp", "--control-mode", "joint", *map(str, arguments)])


def read_grasps(bag, arm="ur5"):
    return read_grasp_bag(GraspBag(bag), load_robot(arm), load_scene(arm))


def make_replayer(arm="ur5", control_mode="joint"):
    return EpisodeReplayer(load_robot(arm), load_scene(arm), control_mode, ActionSpaceConfig())


def assert_replay_matches(arm, bag, transitions):
    """Replayed episodes of a recording have the transitions of the environment."""
    grasps, replayer = read_grasps(bag, arm), make_replayer(arm)
    assert len(grasps) == len(transitions)
    for grasp, expected in zip(grasps, transitions, strict=True):
        episode = replayer(grasp)
        count = len(episode.time)
        assert 0 <= len(expected.rewards) - count <= 2  # the end of the last tick is not published
        assert not episode.estimated_reward and episode.placed == expected.dones.any()
        for name in ("observations", "next_observations", "actions"):
            np.testing.assert_allclose(
                getattr(episode.transitions, name),
                getattr(expected, name)[:count],
                atol=1e-5,
                err_msg=name,
            )
        total_reward = expected.rewards[:count].sum()
        assert episode.transitions.rewards.sum() == pytest.approx(total_reward, abs=2e-3)


@pytest.mark.slow
def test_a_replayed_episode_has_the_transitions_of_the_environment(episodes, recording):
    assert_replay_matches("ur5", recording, episodes[1])


def test_replay_of_an_arm_without_measured_velocities_is_the_same(tmp_path):
    messages, transitions = record_episodes("dofbot", WHOLE)
    assert_replay_matches("dofbot", write_bag(tmp_path / "bag", messages), transitions)


def test_only_episodes_that_end_at_the_goal_are_written_and_all_are_counted(
    recording, tmp_path, capsys
):
    assert collect(recording, recording, "--out", tmp_path / "out") == 0
    summary, written = capsys.readouterr().out.strip().splitlines()
    assert summary == (
        "8 episodes in, 4 out; -2 cut off by the end of the recording; "
        "-2 did not bring the block to its goal"
    )
    assert "4 episodes of ur5" in written
    demonstrations = read_demonstrations(tmp_path / "out", UR5_SPEC)
    assert demonstrations.dones.sum() == 4 and demonstrations.dones[-1] == 1


def test_demonstrations_read_back_as_written(dataset, recording):
    replayed = [make_replayer()(grasp) for grasp in read_grasps(recording)]
    placed = [episode.transitions for episode in replayed if episode.placed]
    read, start = read_demonstrations(dataset, UR5_SPEC), 0
    for transitions in placed:
        end = start + len(transitions.rewards)
        for name in ("observations", "actions", "rewards", "dones"):
            array = getattr(read, name)[start:end]
            np.testing.assert_array_equal(array, getattr(transitions, name))
        next_observations = read.next_observations[start : end - 1]  # the last is not stored
        np.testing.assert_array_equal(next_observations, transitions.next_observations[:-1])
        start = end
    assert start == len(read.rewards)


def test_demonstrations_have_the_lerobot_layout(dataset):
    info = json.loads((dataset / "meta/info.json").read_text())
    table = pq.read_table(dataset / info["data_path"].format(chunk_index=0, file_index=0))
    assert info["codebase_version"] == "v3.0" and info["fps"] == 25
    assert set(info["features"]) == set(table.column_names)
    assert {"observation.state", "action", "next.reward", "next.done"} <= set(table.column_names)
    assert info["features"]["next.done"] == {"dtype": "bool", "shape": [1], "names": None}
    assert info["features"]["observation.state"]["shape"] == [UR5_SPEC.sizes[0]]
    assert info["total_frames"] == len(table) and info["total_episodes"] == 2
    ends = np.flatnonzero(table["next.done"].to_pylist())
    episodes = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["dataset_to_index"].to_pylist() == [int(end) + 1 for end in ends]
    stats = json.loads((dataset / "meta/stats.json").read_text())
    assert stats["next.done"]["max"] == [1] and len(stats["action"]["mean"]) == UR5_SPEC.sizes[1]


def test_a_report_reads_the_same_episodes_from_any_namespace(episodes, tmp_path):
    log = MessageLog()
    for message in episodes[0]:
        topic = message.topic.removeprefix("/")
        if topic not in log.types:
            log.add_topic(topic, message.message_type)
        log.append(topic, message.data)
    reported = to_recordings(log, RobotNames.of(load_robot("ur5")), latency=False)
    bag = GraspBag(write_bag(tmp_path / "bag", episodes[0], namespace="/cell/left"), "cell/left")
    grasps = read_grasp_bag(bag, load_robot("ur5"), load_scene("ur5"))
    for grasp, report in zip(grasps, reported, strict=True):
        np.testing.assert_array_equal(grasp.joints.q, report.joints.q)
        np.testing.assert_allclose(grasp.block_poses[:, 0], list(report.block_poses), atol=1e-9)


def test_the_report_node_records_every_topic_that_is_read(start_node):
    probe = start_node(ReportNode, **MODEL, graph="grasp_sim", lockstep=True)
    topics = {JOINT_STATES, GRIPPER_COMMANDS, BLOCK_POSES, TARGETS, DETECTIONS}
    node = probe.tested_node
    assert topics <= {node.resolve_topic_name(topic) for topic in node.recorder.log.types}


def test_without_true_block_poses_rewards_use_the_detections(episodes, tmp_path, capsys):
    messages, transitions = episodes
    bag = write_bag(tmp_path / "bag", messages, without=(BLOCK_POSES,))
    assert collect(bag, "--out", tmp_path / "out") == 0
    summary = capsys.readouterr().out
    assert "4 episodes in, 2 out" in summary
    assert "2 without true block poses: their reward uses the detections" in summary
    true_rewards = sum(part.rewards.sum() for part in transitions if part.dones.any())
    rewards = read_demonstrations(tmp_path / "out", UR5_SPEC).rewards
    assert rewards.sum() == pytest.approx(true_rewards, rel=0.1)


def test_without_detections_they_are_simulated_from_the_true_poses(episodes, tmp_path, capsys):
    messages, transitions = episodes
    bag = write_bag(tmp_path / "bag", messages, without=(DETECTIONS,))
    assert collect(bag, "--out", tmp_path / "out") == 0
    summary = capsys.readouterr().out
    assert "4 without detections: they are simulated from the true block poses" in summary
    demonstrations = read_demonstrations(tmp_path / "out", UR5_SPEC)
    placed = [part for part in transitions if part.dones.any()]
    assert demonstrations.rewards.sum() == pytest.approx(
        sum(part.rewards.sum() for part in placed), rel=0.05
    )
    # most of all, the block is where it is: its position is part of the observations
    difference = (
        demonstrations.observations
        - np.concatenate([p.observations for p in placed])[: len(demonstrations.observations)]
    )
    assert np.median(np.abs(difference)) < 0.02


def test_a_block_that_is_laid_elsewhere_starts_an_episode_while_time_goes_on():
    scene, arm = load_scene("ur5"), [StampedMessage(0.01 * k, 0.01 * k, None) for k in range(100)]
    places = [(0.5, 0.0, 0.02), (0.42, -0.16, 0.1), (0.42, -0.16, 0.02), (0.5, 0.05, 0.02)]
    blocks = [StampedMessage(0.25 * k, 0.25 * k, np.array(p)) for k, p in enumerate(places)]
    first, second = _split_at_blocks(arm, blocks, scene)
    assert (first[0].stamp, second[0].stamp) == (0.0, 0.75)
    assert len(first) + len(second) == len(arm)


def test_a_topic_without_messages_in_one_episode_does_not_shift_the_others(episodes, tmp_path):
    number = list(accumulate(_starts_episode(message) for message in episodes[0]))
    messages = [
        message
        for message, k in zip(episodes[0], number, strict=True)
        if k != 1 or message.topic != DETECTIONS
    ]
    grasps = read_grasps(write_bag(tmp_path / "bag", messages))
    assert [len(grasp.detections) > 0 for grasp in grasps[:3]] == [False, True, True]


def _starts_episode(message: LoggedMessage) -> bool:
    """Return whether a message is the first joint state of an episode, with stamp zero."""
    return message.topic == JOINT_STATES and message.data[4:12] == bytes(8)


def test_a_gripper_command_without_stamp_belongs_to_the_newest_joint_state(episodes, tmp_path):
    unstamped = []
    for message in episodes[0]:
        if message.topic == GRIPPER_COMMANDS:
            opening = float(np.frombuffer(message.data[-8:], "<f8")[0])  # data come last
            plain = Float64MultiArray(data=[opening])
            unstamped.append(logged_message(GRIPPER_COMMANDS, plain))
        else:
            unstamped.append(message)
    stamped_grasps = read_grasps(write_bag(tmp_path / "stamped", episodes[0]))
    unstamped_grasps = read_grasps(write_bag(tmp_path / "unstamped", unstamped))
    for a, b in zip(stamped_grasps, unstamped_grasps, strict=True):
        np.testing.assert_allclose(a.gripper_commands, b.gripper_commands, atol=1e-9)


def test_cartesian_actions_follow_the_recorded_motion(recording):
    grasp = read_grasps(recording)[0]
    joint, cartesian = (
        make_replayer(control_mode=mode)(grasp).transitions for mode in ("joint", "cartesian")
    )
    assert cartesian.actions.shape == (len(joint.actions), 5) and cartesian.dones[-1] == 1
    np.testing.assert_array_equal(joint.actions[:, -1], cartesian.actions[:, -1])
    n = load_robot("ur5").n
    error = 0.1 * cartesian.observations[:, 2 * n : 3 * n]  # [rad] desired less measured
    assert np.abs(error).max() < 0.15


def test_an_episode_with_missing_joint_states_is_left_out_and_named(episodes, tmp_path, capsys):
    messages = [
        message
        for k, message in enumerate(episodes[0])
        if message.topic != JOINT_STATES or not 900 < k < 1000
    ]
    assert collect(write_bag(tmp_path / "bag", messages), "--out", tmp_path / "out") == 0
    summary = capsys.readouterr().out
    assert "4 episodes in, 1 out" in summary
    assert "-1 without joint states for longer than an action" in summary


def test_behavior_cloning_of_recorded_demonstrations_lowers_its_loss(dataset, monkeypatch):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    demonstrations, algorithm = read_demonstrations(dataset, UR5_SPEC), ALGORITHMS["sac"]
    config = GraspTrainConfig(algorithm="sac", learner={"net_arch": [32, 32], "buffer_size": 100})
    losses, mse_loss = [], nn.functional.mse_loss

    def recording_mse_loss(*args):
        loss = mse_loss(*args)
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(nn.functional, "mse_loss", recording_mse_loss)
    mean, scale = observation_statistics(demonstrations, UR5_SPEC.sizes[0])
    with closing(grasp_task(config).make_env(1, 0)) as env:
        context = LearnerContext(env, 0, mean, scale, demonstrations, 0.5)
        learner = algorithm.make_learner(config.learner_config(), context)
        clone_behavior(learner, algorithm, demonstrations, bc_steps=300, batch_size=64)
    assert np.mean(losses[-30:]) < 0.2 * np.mean(losses[:5])


def test_recorded_demonstrations_are_part_of_the_task(dataset):
    demonstrations = DemonstrationConfig(data=str(dataset))
    config = GraspTrainConfig(algorithm="sac", demonstrations=demonstrations)
    assert grasp_task(config).record_demonstrations(0).dones.sum() == 2
    with pytest.raises(ValueError, match="'ppo' has no replay buffer"):
        GraspTrainConfig(algorithm="ppo", demonstrations=demonstrations)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arm", "ur5e"], "holds demonstrations with arm ur5, not ur5e"),
        (
            ["--control_mode", "cartesian"],
            "holds demonstrations with control_mode joint, not cartesian",
        ),
        (
            ["--action_space.action_period", "0.08"],
            "holds demonstrations with action_space {'action_period': 0.04,",
        ),
        (["--demonstrations.data", "EMPTY"], "is not a dataset: meta/info.json is missing"),
        (["--demonstrations.data", "INCOMPLETE"], "an episode does not end where it is done"),
    ],
)
def test_demonstrations_of_another_arm_or_action_space_are_refused(
    dataset, tmp_path, capsys, arguments, message
):
    incomplete, out = tmp_path / "incomplete", tmp_path / "out"
    shutil.copytree(dataset, incomplete)
    (file,) = incomplete.glob("data/*/*.parquet")
    pq.write_table(pq.read_table(file)[:-5], file)
    folders = {"EMPTY": str(tmp_path), "INCOMPLETE": str(incomplete)}
    arguments = [
        "--demonstrations.data",
        str(dataset),
        *(folders.get(word, word) for word in arguments),
    ]
    same = [
        "--algorithm",
        "sac",
        "--control_mode",
        "joint",
        "--action_space.action_period",
        "0.04",
    ]
    assert run_verb("train_grasp", [*same, "--out", str(out), *arguments]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in line and line.startswith("invdyn train_grasp: ") and not out.exists()


def test_an_inverse_model_is_not_trained_on_demonstrations(dataset, tmp_path, capsys):
    arguments = ["--config", "config/train/mlp.yaml", "--data", str(dataset)]
    assert run_verb("train", [*arguments, "--out", str(tmp_path / "model")]) == 2
    assert "holds grasp demonstrations, not motion" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "topic", "message"),
    [
        ([], GRIPPER_COMMANDS, "no topic /gripper/command of type std_msgs/msg/Float64MultiArray"),
        ([], TARGETS, "no topic /joint_target of type"),
        ([], BLOCK_POSES, "nothing to write: 1 episodes in, 0 out; -1 did not bring the block"),
        (["--arm", "dofbot"], "", "/joint_states has no message of 'dofbot'"),
        (["--arm", "kuka_iiwa"], "", "no block to grasp for arm 'kuka_iiwa'"),
        (["--action-period", "0.03"], "", "action_period 0.03 s is not a multiple of 0.008 s"),
    ],
)
def test_recordings_without_a_grasp_are_refused(
    episodes, tmp_path, capsys, arguments, topic, message
):
    bag, out = write_bag(tmp_path / "bag", episodes[0][:1000], without=(topic,)), tmp_path / "out"
    assert collect(bag, "--out", out, *arguments) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in line and line.startswith("invdyn collect: ") and not out.exists()
