"""Planners, and the actions of their plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from invdyn_ros.benchmarks.pendulum_task import rollout
from invdyn_ros.cli import run_verb
from invdyn_ros.cli.train_planner import main
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.mlp import MLPConfig
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.planner.flow_matching import FlowMatchingConfig
from invdyn_ros.models.planner.planner import FlowPlanner, PlannerMetadata, load_planner
from invdyn_ros.models.planner.receding_horizon import (
    Candidates,
    PlannedActions,
    RecedingHorizonConfig,
    RecedingHorizonPlanner,
    action_smoothness,
    goal_distance,
    plan_actions,
)
from invdyn_ros.models.planner.segments import action_segments, state_segments
from invdyn_ros.sources.pendulum import PendulumConfig, simulate_pendulum

RATE, HORIZON = 50.0, 10


def constant_velocity(seed: int) -> Trajectory:
    """A joint that moves at constant velocity."""
    random = np.random.default_rng(seed)
    time = np.arange(30) / RATE
    speed = random.uniform(-2, 2)
    q = random.uniform(-1, 1) + speed * time[:, None]
    qd = np.full_like(q, speed)
    return Trajectory(time, q, qd, 0 * q, 0 * q, ("joint",), "N m")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planner of motions at constant velocity, trained from the command line, and its data."""
    folder = tmp_path_factory.mktemp("planner")
    write_dataset(folder / "data", [constant_velocity(seed) for seed in range(60)], "toy", RATE)
    arguments = ["--data", str(folder / "data"), "--out", str(folder / "out"), "--epochs", "40"]
    small = [
        "--horizon",
        str(HORIZON),
        "--num-components",
        "2",
        "--width",
        "64",
        "--down-dims",
        "64",
    ]
    assert main([*arguments, *small]) == 0
    return folder


@pytest.fixture(scope="module")
def planner(folder: Path) -> FlowPlanner:
    return load_planner(folder / "out")


def sample_plans(
    planner: FlowPlanner, speed: float, count: int = 20, start: float = 0.3
) -> Tensor:
    """Plans with the condition of a constant speed."""
    move = torch.tensor([speed * HORIZON / RATE, 0.0])
    return planner(torch.tensor([start, speed]), move, count, torch.Generator().manual_seed(0))


def test_plans_of_straight_lines_are_straight_and_begin_in_the_present_state(
    planner: FlowPlanner,
) -> None:
    plans = sample_plans(planner, 1.0)
    assert plans.shape == (20, HORIZON + 1, 2)
    assert torch.equal(plans[:, 0], torch.tensor([0.3, 1.0]).expand(20, 2))
    q = plans[..., 0]
    line = 0.3 + torch.arange(HORIZON + 1) / HORIZON * (q[:, -1:] - 0.3)
    torch.testing.assert_close(q, line, atol=2e-3, rtol=0)


def test_plans_reach_the_state_of_the_condition(planner: FlowPlanner) -> None:
    for speed in (-1.5, 0.0, 1.5):
        end = sample_plans(planner, speed)[:, -1, 0]
        torch.testing.assert_close(
            end, torch.full_like(end, 0.3 + speed * HORIZON / RATE), atol=0.05, rtol=0
        )


def test_plans_are_invariant_to_full_turns(planner: FlowPlanner) -> None:
    after_two_turns = sample_plans(planner, 1.0, start=0.3 + 4 * torch.pi)
    torch.testing.assert_close(
        after_two_turns[..., 0] - 4 * torch.pi,
        sample_plans(planner, 1.0)[..., 0],
        atol=1e-4,
        rtol=0,
    )


def test_loaded_planner_gives_the_same_plans_and_depends_on_the_seed(
    planner: FlowPlanner, folder: Path
) -> None:
    again = load_planner(folder / "out")
    assert again.meta == planner.meta and again.meta.network.horizon == HORIZON
    assert torch.equal(sample_plans(again, 1.0), sample_plans(planner, 1.0))
    state, move = torch.tensor([0.3, 1.0]), torch.tensor([0.2, 0.0])
    other = planner(state, move, 20, torch.Generator().manual_seed(1))
    assert not torch.equal(other, planner(state, move, 20, torch.Generator().manual_seed(0)))


def test_few_components_represent_smooth_motion() -> None:
    parts = list(simulate_pendulum(PendulumConfig(episodes=10)))
    segments = state_segments(parts, 25)
    assert segments.sequence.shape == (10 * (251 - 25), 25, 2)
    network = FlowMatchingConfig(horizon=25, num_components=10)
    flow = FlowPlanner(PlannerMetadata("toy", ("joint",), 2, RATE, network))
    flow.standardise(segments)
    held = (segments.sequence.flatten(1) - flow.mean) @ flow.projection
    left = flow.mean + held @ flow.components - segments.sequence.flatten(1)
    assert float(left.square().mean() / segments.sequence.square().mean()) < 1e-5
    torch.testing.assert_close(held.std(0), torch.ones(10), atol=0.01, rtol=0)


def test_segments_pair_a_state_with_the_following_sequence() -> None:
    part = next(iter(simulate_pendulum(PendulumConfig(episodes=1, steps=20))))
    state = torch.as_tensor(np.concatenate([part.position, part.velocity], 1)).float()
    segments, actions = state_segments([part], 5), action_segments([part], 5)
    torch.testing.assert_close(segments.state[3] + segments.sequence[3], state[4:9])
    torch.testing.assert_close(segments.condition[3], state[8] - state[3])
    sent = torch.as_tensor(part.action[3:8]).float()
    torch.testing.assert_close(actions.sequence[3], sent)
    with pytest.raises(ValueError, match="has 22 samples, a state and 21 after it"):
        state_segments([part], 21)


class Point(InverseDynamics):
    """A mass on a rail: the action is its acceleration times its mass."""

    Config = MLPConfig

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        return (self.forward(motion, time).mean - action).square().mean()

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        return Prediction(2.0 * motion[..., 2 * self.n :], None)


def point(action_delay: float = 0.0) -> Point:
    return Point(ModelMetadata("mlp", "toy", ("joint",), "N m", RATE, action_delay, ""))


def random_accelerations(
    state: Tensor, condition: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Plans of random constant accelerations, one of which achieves the condition."""
    time = torch.arange(26)[:, None] / RATE
    push = 8 * torch.randn(count, 1, 1, generator=generator)
    push[0] = 2 * (condition[0] - state[1] * time[-1]) / time[-1] ** 2
    qd = state[1] + push * time
    q = state[0] + torch.cat([torch.zeros(count, 1, 1), qd[:, 1:].cumsum(1) / RATE], 1)
    return torch.cat([q, qd], -1)


def test_receding_horizon_reaches_a_goal_with_the_exact_inverse() -> None:
    goal, state = np.array([0.7, 0.0]), np.array([-0.5, 0.0])
    config = RecedingHorizonConfig(num_plans=200, n_action_steps=2)
    replanner = RecedingHorizonPlanner(
        PlannedActions(random_accelerations, point(), config), config
    )
    for _ in range(200):
        force = replanner(state, goal - state, goal_distance(goal))
        qd = state[1] + force[0] / 2.0 / RATE
        state = np.array([state[0] + qd / RATE, qd])
        assert np.isfinite(force).all()
    assert abs(state[0] - goal[0]) < 0.1 and abs(state[1]) < 0.5


def test_actions_of_a_plan_realise_it() -> None:
    plans = random_accelerations(torch.zeros(2), torch.tensor([1.0, 0.0]), 3, torch.Generator())
    actions = plan_actions(plans, point())
    torch.testing.assert_close(actions, 2 * torch.diff(plans[..., 1:], dim=1) * RATE)


def test_delayed_actions_are_those_of_the_later_motion() -> None:
    plans = torch.zeros(1, 11, 2)
    plans[0, :, 1] = torch.arange(11.0).square() / RATE  # accelerations 1, 3, 5, ...
    late = plan_actions(plans, point(action_delay=1.5 / RATE))[0, :, 0]
    torch.testing.assert_close(late[:5], 2 * torch.tensor([4.0, 6.0, 8.0, 10.0, 12.0]))
    assert late[-1] == late[-2] == 2 * 19.0  # after the plan, its last state continues


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 9, 2), r"plans have shape \(4, 9, 2\); expected \(5, T, 2\)"),
        ((5, 9, 3), r"plans have shape \(5, 9, 3\); expected \(5, T, 2\)"),
        ((5, 1, 2), r"shape \(5, 1, 2\); expected \(5, T, 2\), T at least 2"),
        ((5, 9, 2), "must be the current state"),
    ],
)
def test_plans_of_wrong_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    propose = PlannedActions(
        lambda *_: torch.ones(shape), point(), RecedingHorizonConfig(num_plans=5)
    )
    with pytest.raises(ValueError, match=message):
        propose(torch.zeros(2), torch.zeros(2), torch.Generator())


def test_state_of_wrong_size_is_refused_with_both_shapes(planner: FlowPlanner) -> None:
    with pytest.raises(ValueError, match=r"\(4,\) and \(2,\); the planner takes \(2,\)"):
        planner(torch.zeros(4), torch.zeros(2), 1, torch.Generator())


def test_scores_prefer_near_and_smooth_plans() -> None:
    plans, actions = torch.zeros(2, 5, 2), torch.zeros(2, 4, 1)
    plans[1, 2:, 0] = 1.0
    actions[0, :, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    candidates = Candidates(plans, actions, torch.zeros(2, 1))
    assert int(goal_distance(np.array([1.0, 0.0]))(candidates).argmin()) == 1
    assert int(action_smoothness(candidates).argmin()) == 1
    steady = Candidates(plans[:1], torch.ones(1, 4, 1), torch.ones(2, 1))
    assert float(action_smoothness(steady)) == 0.0
    jump = steady._replace(previous_actions=torch.zeros(2, 1))
    assert float(action_smoothness(jump)) > 0.0


def test_rollout_with_feedback_ends_at_the_goal() -> None:
    pendulum, goal = PendulumConfig(), np.array([1.0, 0.0])

    def act(state: np.ndarray, goal_state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lift = pendulum.mass * pendulum.gravity * np.sin(state[0])
        return np.array([lift + 30 * (goal_state[0] - state[0]) - 10 * state[1]]), np.empty((0, 2))

    done = rollout(pendulum, act, np.zeros(2), goal)
    assert done.final_distance < 0.01 and done.state.shape == (151, 2)
    still = rollout(replace(pendulum, mass=5.0), act, np.zeros(2), goal)
    assert still.final_distance > 0.1 and still.score < done.score


def test_bad_input_is_one_line(folder: Path, tmp_path: Path, capsys: Any) -> None:
    data, out = str(folder / "data"), str(folder / "out")
    assert run_verb("train_planner", ["--data", data, "--out", out]) == 2
    assert "exists; give another one, --resume" in capsys.readouterr().err
    arguments = ["--data", data, "--out", str(tmp_path / "new")]
    assert run_verb("train_planner", [*arguments, "--horizon", "40"]) == 2
    assert "no trajectory has 41 samples" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no planner folder"):
        load_planner(tmp_path / "none")
    with pytest.raises(ValueError, match=r"make one with 'invdyn train_planner'"):
        load_planner(folder / "data")
