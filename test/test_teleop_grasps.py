"""Blocks that a teleoperating person grasps in simulation, one after the other."""

import numpy as np

from invdyn_ros.arms.domain_randomization import load_randomization
from invdyn_ros.data.recording import JointSamples, Recording
from invdyn_ros.evaluation.teleop_grasps import grasp_figures, teleop_grasps
from invdyn_ros.grasp.envs.grasp_simulation import GraspSimulation
from invdyn_ros.grasp.policies.success import is_relocated
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

UR5, SCENE = load_robot("ur5"), load_scene("ur5")
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def recording(places, openings, dt=0.1):
    """A recording with a still arm and a block (3,) and an opening [m] at each image."""
    times = dt * np.arange(len(places))
    rows = [
        (t, UR5.home, np.zeros(UR5.n), np.zeros(UR5.n), opening)
        for t, opening in zip(times, openings, strict=True)
    ]
    joints = JointSamples.from_rows(rows)
    blocks = {t: (np.array(place), UPRIGHT) for t, place in zip(times, places, strict=True)}
    return Recording(joints, JointSamples.from_rows([]), block_poses=blocks)


def test_each_block_is_judged_until_the_next_one_is_laid():
    start, raised, goal = (0.5, 0.0, 0.02), (0.5, 0.0, 0.08), SCENE.goal
    carried = (goal[0], goal[1], 0.08)
    places = [start, raised, carried, goal, goal, (0.45, 0.05, 0.02), (0.45, 0.05, 0.02)]
    openings = [0.085, 0.04, 0.04, 0.04, 0.085, 0.085, 0.085]
    first, second = teleop_grasps(recording(places, openings), SCENE)
    assert first.lifted and np.isclose(first.placed_time, 0.4) and first.start == 0.0
    assert not second.lifted and second.placed_time is None and np.isclose(second.start, 0.5)
    figures = grasp_figures(recording(places, openings), SCENE)
    assert (figures["episodes"], figures["placed"], figures["lifted"]) == (1, 1, 1)
    assert figures["seconds_to_place"]["p50"] == 0.4


def test_block_that_is_carried_or_dropped_is_not_another_one():
    for last, now in (
        ((0.5, 0.0, 0.1), (0.5, 0.0, 0.02)),
        ((0.5, 0.0, 0.08), (0.42, 0.0, 0.08)),
        ((0.5, 0.0, 0.02), (0.48, 0.0, 0.02)),
    ):
        assert not is_relocated(np.array(last), np.array(now), SCENE)
    assert is_relocated(np.array(SCENE.goal), np.array([0.5, 0.0, 0.02]), SCENE)


def test_next_block_is_laid_while_arm_and_time_go_on():
    with GraspSimulation(UR5, load_randomization("none"), SCENE) as simulation:
        simulation.next_episode()
        simulation.max_episode_seconds = 0.5
        first = simulation.physics.block_pose()[0]
        for _ in range(3):
            simulation.step(np.zeros(UR5.n), 0.05)
        q, time = simulation.physics.state().q, simulation.physics.time
        simulation.repeat_task()
        assert simulation.physics.time == time
        np.testing.assert_array_equal(simulation.physics.state().q, q)
        assert np.linalg.norm(simulation.physics.block_pose()[0] - first) > 0.005
        assert not simulation.is_over()
        assert not simulation.success_detector.lifted
