"""Scripted person who grasps by teleoperation."""

import numpy as np
import pytest

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.benchmarks.person_body import PersonBody
from invdyn_ros.benchmarks.scripted_person import ScriptedPerson, ScriptedPersonConfig, View
from invdyn_ros.benchmarks.teleop_episode import run_episode
from invdyn_ros.evaluation.teleop_grasps import teleop_grasps
from invdyn_ros.grasp.learning.recorded_episodes import EpisodeReplayer
from invdyn_ros.grasp.policies.action_space import ActionSpaceConfig
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.person_check import PersonCheck

SCENE = load_scene("ur5")
EXACT = ScriptedPersonConfig(aim_error=0, sight_error=0, tremor=0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_body_with_the_noise_of_a_pose_network_is_a_person_to_follow(side):
    body, check = PersonBody(side, 1.0, np.random.default_rng(0)), PersonCheck(side, 0.5, 0.3)
    hand = np.array([0.35, 0.0, -0.1])
    reasons = [check.update(body.landmarks(hand, 1 / 30), k / 30) for k in range(60)]
    assert set(reasons[20:]) == {None}


def test_person_acts_on_what_was_there_a_reaction_time_ago():
    person = ScriptedPerson(SCENE, 1.5, np.array([0.3, 0, 0]), EXACT, np.random.default_rng(0))
    block, times = np.array([0.45, 0.0, 0.02]), []
    for k in range(60):
        tool = np.array([0.45, 0.0, 0.3 - 0.001 * k])
        person.look(View(k / 30, tool, block, 0.085))
        times.append(person._views[0].time)
    np.testing.assert_allclose(times[-1], 59 / 30 - 0.25, atol=1 / 30)


def test_ideal_tool_is_brought_to_the_block_and_the_block_to_its_goal():
    """Tool and gripper follow the hand at once, and the block the closed gripper."""
    hand, scale = np.array([0.33, 0.0, -0.1]), 1.5
    person = ScriptedPerson(SCENE, scale, hand, EXACT, np.random.default_rng(0))
    tool0, block, opening = np.array([0.45, 0.0, 0.28]), np.array([0.5, 0.05, 0.02]), 0.085
    tool, phases = tool0, []
    for k in range(1200):
        person.look(View(k / 30, tool, block.copy(), opening))
        moved, fingers = person.move(k / 30, 1 / 30)
        closes = np.linalg.norm(fingers[8] - fingers[0]) < 0.1
        before, tool = tool, tool0 + scale * (moved - hand)
        if opening < 0.05 and np.linalg.norm(before - block) < 0.02:
            block = block + tool - before
        opening = 0.04 if closes else 0.085
        phases.append(person.phase.name)
        if person.is_done:
            break
    assert person.is_done, phases[-1]
    assert np.linalg.norm(block - SCENE.goal) < 0.025
    order = list(dict.fromkeys(phases))
    assert order == ["reach", "descend", "close", "lift", "carry", "lower", "open", "retreat"]


@pytest.mark.slow
def test_person_places_a_block_through_retargeting_guard_and_physics():
    episode = run_episode("ur5", load_randomization("none"), seed=0)
    assert episode.lifted and episode.placed and not episode.faults
    assert episode.violations == episode.contacts == 0
    (grasp,) = teleop_grasps(episode.recording, SCENE)
    assert grasp.lifted and grasp.placed_time is not None
    replayed = EpisodeReplayer(load_robot("ur5"), SCENE, "joint", ActionSpaceConfig())(
        episode.grasp
    )
    assert replayed.placed and not replayed.estimated_reward
