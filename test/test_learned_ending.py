"""End of a learned policy's episode: placed as the camera sees it, or the time is over."""

from __future__ import annotations

import numpy as np
import pytest

from invdyn_ros.grasp.estimation.block_estimate import BlockDetection
from invdyn_ros.grasp.policies.grasp_command import DONE
from invdyn_ros.grasp.policies.learned import MAX_SECONDS, TIME_OVER, LearnedGrasp
from invdyn_ros.grasp.policies.network import PolicyMetadata
from invdyn_ros.grasp.policies.observation import ObservationBuilder
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

ARM, SCENE = load_robot("dofbot"), load_scene("dofbot")
GOAL, PERIOD = np.array(SCENE.goal), 1 / ARM.rate
CENTRE = np.array([np.mean(SCENE.area_x), np.mean(SCENE.area_y), SCENE.block_size / 2])


class Waiting:
    """Policy that lets the arm stand with an open gripper."""

    def __init__(self):
        size = ObservationBuilder(ARM, SCENE, ARM.n + 1).size
        self.meta = PolicyMetadata("dofbot", size, ARM.n + 1, (4,), "clip", "sac", "joint")

    def reset(self):
        pass

    def act(self, observation):
        return np.append(np.zeros(ARM.n), 1.0).astype(np.float32)


def run(block, seconds, q):
    """Run a policy whose arm starts at q (n,) and follows exactly; return (time, command)s."""
    grasp, commands = LearnedGrasp(ARM, SCENE, Waiting()), []
    q = q.copy()
    for k in range(round(seconds / PERIOD)):
        time = k * PERIOD
        if k % 5 == 0:
            grasp.on_detection(BlockDetection(time, block, 0.0, np.full(4, 1e-6)))
        grasp.update_joints(q, np.zeros(ARM.n))
        command = grasp.command(time, ARM.gripper.max_opening, PERIOD)
        commands.append((time, command))
        q = command.state.q if command.phase != "learned" else q
    return commands


@pytest.mark.parametrize(
    ("block", "seconds", "reason"), [(GOAL, 0.0, None), (CENTRE, MAX_SECONDS, TIME_OVER)]
)
def test_arm_retreats_up_and_home_when_placed_or_when_the_time_is_over(block, seconds, reason):
    low = ARM.home + np.array([0.0, -0.25, -0.1, -0.1, 0.0])
    commands = run(block, seconds + 7.0, low)
    assert all(c.phase == "learned" for t, c in commands if t < max(seconds - 0.1, 0.9))
    _, last = commands[-1]
    assert last.phase == DONE and last.hold_reason == reason
    np.testing.assert_allclose(last.state.q, ARM.home, atol=1e-6)
    q = np.array([c.state.q for _, c in commands])
    assert (np.abs(np.diff(q, axis=0)) <= ARM.velocity * PERIOD).all()
    height = [ARM.forward_kinematics(c.state.q)[2, 3] for _, c in commands]
    start = next(k for k, (_, c) in enumerate(commands) if c.phase == "retreat")
    assert min(height[start:]) > height[start] - 1e-3, "it touches nothing on its way"
    assert last.opening == ARM.gripper.max_opening


def test_a_policy_is_not_ended_before_its_time():
    assert {c.phase for _, c in run(CENTRE, 12.0, ARM.home)} == {"learned"}
