"""Planned grasp: expert demonstrations, planner data and planner policy."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from invdyn_ros.arms.domain_randomization import RANDOMIZATION_LEVELS
from invdyn_ros.cli.collect import main as collect
from invdyn_ros.cli.train_planner import main as train_planner
from invdyn_ros.graph.graph import resolve
from invdyn_ros.graph.shipped_weights import find_policy
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.learning.demonstration_dataset import (
    read_demonstration_episodes,
    read_demonstrations,
)
from invdyn_ros.grasp.learning.planner_data import planning_segments
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.grasp.policies.learned import load_learned_grasp
from invdyn_ros.grasp.policies.planned import (
    PlannedPolicy,
    TargetExtractor,
    load_planned_policy,
    medoid,
)
from invdyn_ros.grasp.policies.spaces import SpaceSpec
from invdyn_ros.models.planner.flow_matching import FlowMatchingConfig
from invdyn_ros.models.planner.planner import FlowPlanner, PlannerMetadata, save_planner
from invdyn_ros.models.planner.receding_horizon import RecedingHorizonConfig
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot, package_file

SPACES = SpaceSpec("ur5", "joint", ActionSpaceConfig())
CARTESIAN = SPACES._replace(control_mode="cartesian")
N = load_robot("ur5").n


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demonstrations of the expert in a few episodes, some with a push."""
    folder = tmp_path_factory.mktemp("demonstrations") / "data"
    arguments = ["expert", "--episodes", "4", "--push-fraction", "0.5", "--workers", "1"]
    assert collect([*arguments, "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("spaces", [SPACES, CARTESIAN], ids=["joint", "cartesian"])
def test_target_is_extracted_from_the_observation(spaces):
    targets, phase = TargetExtractor(spaces), np.arange(spaces.sizes[1])
    environment = GraspEnv(arm="ur5", noise="default", control_mode=spaces.control_mode)
    with closing(environment) as env:
        observation, _ = env.reset(seed=1)
        assert targets.position(observation)[N] == 1  # open, and to stay so
        for k in range(1, 60):  # no faster than the arm may accelerate
            action = 0.2 * (np.sin(0.1 * k + phase) - np.sin(phase))
            observation, *_ = env.step(action.astype(np.float32))
            position = targets.position(observation)
            np.testing.assert_allclose(position[:N], env.robot_action_space.target.q, atol=1e-5)
            assert position[N] == pytest.approx(action[-1])


def test_tool_velocities_follow_planned_states_from_the_first_action_on():
    with closing(GraspEnv(arm="ur5", noise="none", control_mode="cartesian")) as env:
        observations = [env.reset(seed=3)[0]]
        for _ in range(60):
            observations.append(env.step(env.expert_action("detections"))[0])
        targets = TargetExtractor(CARTESIAN)
        states = torch.as_tensor(targets.states(targets.position(np.stack(observations))))
        step = iter(range(60))

        def recorded(state: Tensor, _: Tensor, count: int, __: torch.Generator) -> Tensor:
            return torch.stack([state, states[next(step) + 1]]).expand(count, -1, -1)

        policy = PlannedPolicy(recorded, CARTESIAN, RecedingHorizonConfig(n_action_steps=1))
        observation, _ = env.reset(seed=3)
        for desired in states[1:]:
            observation, *_ = env.step(policy.act(observation))
            error = env.robot_action_space.target.q - desired[:N].numpy()
            assert np.abs(error).max() < 0.03


def test_planning_segments_are_the_next_targets_and_end_at_rest(demonstrations):
    spaces, episodes = read_demonstration_episodes(demonstrations)
    assert spaces.arm == "ur5" and len(episodes) > 1
    segments = planning_segments(episodes, 20, spaces)
    first = episodes[0]
    observations = np.concatenate([first.observations, first.next_observations[-1:]])
    targets = TargetExtractor(spaces)
    states = targets.states(targets.position(observations))
    for k in (0, 17, len(first.rewards) - 25):
        np.testing.assert_allclose(
            segments.state[k] + segments.sequence[k], states[k + 1 : k + 21], atol=1e-5
        )
    last = segments.sequence[len(first.rewards) - 1]
    assert torch.equal(last[1:, :N], last[:-1, :N])  # the arm does not move
    assert not (segments.state[len(first.rewards) - 1] + last[1])[N + 1 :].any()
    assert segments.size == sum(len(episode.rewards) for episode in episodes)


@pytest.mark.slow
def test_demonstrations_start_after_the_push_and_end_at_the_goal(demonstrations, tmp_path):
    _, episodes = read_demonstration_episodes(demonstrations)
    assert all(episode.dones[-1] == 1 and episode.dones.sum() == 1 for episode in episodes)
    assert len({len(episode.rewards) for episode in episodes}) > 1
    joined = read_demonstrations(demonstrations, CARTESIAN)
    assert len(joined.rewards) == sum(len(episode.rewards) for episode in episodes)
    assert np.isin(joined.actions[:, -1], (-1, 1)).all()
    arguments = ["expert", "--episodes", "4", "--push-fraction", "0.5", "--workers", "2"]
    assert collect([*arguments, "--out", str(tmp_path / "again")]) == 0
    again = read_demonstrations(tmp_path / "again", CARTESIAN)
    assert all(np.array_equal(a, b) for a, b in zip(joined, again, strict=True))


def test_medoid_is_in_the_larger_cluster():
    left, right = torch.zeros(3, 5, 2), torch.ones(6, 5, 2)
    plans = torch.cat([left, right]) + 0.01 * torch.randn(9, 5, 2)
    assert medoid(plans) >= 3


def test_arm_follows_the_plans_of_any_planner():
    goal = torch.tensor(load_robot("ur5").home + 0.2, dtype=torch.float32)

    def plan_to_goal(state: Tensor, condition: Tensor, count: int, _: torch.Generator) -> Tensor:
        """Move a tenth of the distance to the goal per step, and close the gripper."""
        plan = [state]
        for _ in range(5):
            q = plan[-1][:N]
            step = (goal - q) / 10
            plan.append(torch.cat([q + step, -torch.ones(1), step / 0.04, torch.zeros(1)]))
        return torch.stack(plan).expand(count, -1, -1)

    policy = PlannedPolicy(plan_to_goal, SPACES)
    with closing(GraspEnv(arm="ur5", noise="none")) as env:
        observation, info = env.reset(seed=0)
        for _ in range(80):
            observation, *_, info = env.step(policy.act(observation))
        assert np.abs(env.simulation.physics.true_state()[0] - goal.numpy()).max() < 0.01
        assert info["opening"] < 0.01


@pytest.mark.parametrize("arm", ["ur5", "ur5e"])
def test_shipped_planner_is_small_and_acts_live_as_in_the_environment(arm):
    nodes = {node.name: node for node in resolve("grasp_sim", {"policy": "planned", "arm": arm})}
    folder = nodes["grasp"].parameters["policy_checkpoint"]
    assert sum(file.stat().st_size for file in Path(folder).iterdir()) < 5e6
    policy = load_planned_policy(folder, arm)
    noise = replace(
        RANDOMIZATION_LEVELS["default"], latency=0.0
    )  # a live arm waits for the first detection
    spaces = {
        "control_mode": policy.meta.control_mode,
        "action_space": policy.meta.action_space,
    }
    with closing(GraspEnv(arm=arm, noise=noise, **spaces)) as env:
        live = load_learned_grasp(env.robot, env.simulation.nominal_scene, folder)
        for episode in range(2):
            observation, info = env.reset(seed=11, options={"episode": episode})
            live.reset()
            policy.reset()
            over = False
            while not over:
                state = env.simulation.physics.state()
                for detection in info["detections"]:
                    live.on_detection(detection)
                live.update_joints(state.q, state.qd)
                command = live.command(info["time"], info["opening"], 1 / env.robot.rate)
                observation, _, terminated, truncated, info = env.step(policy.act(observation))
                np.testing.assert_allclose(
                    command.state.q, env.robot_action_space.target.q, atol=1e-5
                )
                over = terminated or truncated
            assert info["is_success"]


def test_graph_runs_grasp_planners_and_rejects_others(demonstrations, tmp_path):
    small = ["--horizon", "6", "--num-components", "4", "--width", "16", "--down-dims", "8"]
    arguments = ["--data", str(demonstrations), "--epochs", "2", *small]
    assert train_planner([*arguments, "--out", str(tmp_path / "planner")]) == 0
    values = {"policy": "planned", "policy_checkpoint": str(tmp_path / "planner")}
    nodes = {node.name: node for node in resolve("grasp_sim", values)}
    assert nodes["grasp"].parameters["policy"] == "planned"
    with pytest.raises(ValueError, match="policy:=learned takes a folder of 'invdyn train_grasp'"):
        resolve("grasp_sim", values | {"policy": "learned"})
    with pytest.raises(ValueError, match="policy:=planned takes a folder of 'invdyn train_plan"):
        resolve(
            "grasp_sim", values | {"policy_checkpoint": str(package_file("config/policies/ur5"))}
        )
    with pytest.raises(ValueError, match="planner for 'ur5', not for 'dofbot'"):
        resolve("grasp_sim", values | {"arm": "dofbot"})
    with pytest.raises(ValueError, match=r"no planned policy .* for panda.*train_planner"):
        find_policy("planned", "", "panda")
    meta = PlannerMetadata(
        "ur5", ("joint",), 2, 50.0, FlowMatchingConfig(horizon=4, down_dims=(8,))
    )
    save_planner(FlowPlanner(meta), tmp_path / "pendulum")
    with pytest.raises(ValueError, match="is not a grasp planner; train one"):
        load_learned_grasp(load_robot("ur5"), load_scene("ur5"), tmp_path / "pendulum")
