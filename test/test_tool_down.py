"""A tool that points down follows the hand over a table."""

import numpy as np
import pytest
from synthetic_person import follow_until_settled, person_landmarks, unit, with_noise

from invdyn_ros.robots.ik_tasks import DirectionTask
from invdyn_ros.robots.inverse_kinematics import PositionIKSolver
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter

MAX_TILT = {"ur5": 2.0, "dofbot": 25.0}  # [deg]; the joints of a DofBot end at a right angle
UPPER, FORE = 0.29, 0.26  # [m]


def person_with_hand_at(hand):
    """Landmarks of a person with a hand (3,) from the shoulder [m], the elbow below."""
    distance = np.linalg.norm(hand)
    along = (UPPER**2 + distance**2 - FORE**2) / (2 * distance)
    below = np.array([0.0, 0.0, -1.0]) - unit(hand) * unit(hand)[2] * -1
    elbow = along * unit(hand) + np.sqrt(UPPER**2 - along**2) * unit(below)
    return person_landmarks(elbow, hand - elbow)


@pytest.mark.parametrize("arm", MAX_TILT)
def test_tool_reaches_all_places_of_blocks_and_the_goal_upright(arm):
    robot, scene = load_robot(arm), load_scene(arm)
    retargeter = Retargeter(robot, RetargetConfig(tool="down"))
    places = [(x, y) for x in scene.area_x for y in scene.area_y]
    for place in (*places, scene.goal[:2]):
        tool = np.array([*place, retargeter.config.min_tool_height])
        hand = (tool - retargeter.mapping.shoulder) / retargeter.mapping.scale
        assert np.linalg.norm(hand) < 0.97 * (UPPER + FORE), "within reach of the person"
        retargeter.reset()
        result = follow_until_settled(retargeter, person_with_hand_at(hand), seconds=4)
        pose = robot.forward_kinematics(result.q)
        assert np.linalg.norm(pose[:3, 3] - tool) < 0.005
        assert np.degrees(np.arccos(-pose[2, 2])) < MAX_TILT[arm]


def test_hand_before_the_chest_is_where_the_tool_is_at_home():
    robot = load_robot("ur5")
    retargeter = Retargeter(robot, RetargetConfig(tool="down"))
    hand = (
        robot.forward_kinematics(robot.home)[:3, 3] - retargeter.mapping.shoulder
    ) / retargeter.mapping.scale
    np.testing.assert_allclose(hand, [0.33, 0.0, -0.1], atol=0.01)


def test_scale_can_be_chosen_also_for_a_tool_that_points_down():
    assert (
        Retargeter(load_robot("ur5"), RetargetConfig(tool="down", scale=0.7)).mapping.scale == 0.7
    )


def test_tool_of_a_human_like_arm_cannot_point_down():
    with pytest.raises(ValueError, match="must be 'free' for the human-like arm 'kuka_iiwa'"):
        Retargeter(load_robot("kuka_iiwa"), RetargetConfig(tool="down"))


def test_jacobian_of_the_direction_is_its_derivative():
    robot = load_robot("ur5")
    task = DirectionTask(robot.model(), robot.tip_link, np.array([0.0, 0.6, -0.8]), 1.0)
    configuration = PositionIKSolver(robot, (robot.tip_link,), 1.0, 0.0).configuration
    q = robot.home + 0.3
    configuration.update(q)
    jacobian, columns = task.compute_jacobian(configuration).copy(), []
    for step in 1e-6 * np.eye(robot.n):
        errors = []
        for sign in (1, -1):
            configuration.update(q + sign * step)
            errors.append(task.compute_error(configuration).copy())
        columns.append((errors[0] - errors[1]) / 2e-6)
    np.testing.assert_allclose(jacobian, np.column_stack(columns), atol=1e-7)


def test_tool_comes_down_slowly_where_it_may_meet_a_block():
    """As far as the hand drops at once; it rises as fast as the arm can."""
    robot, scene, dt = load_robot("ur5"), load_scene("ur5"), 1 / 30
    retargeter = Retargeter(robot, RetargetConfig(tool="down"))
    low, high = (
        person_with_hand_at(
            (np.array([*scene.goal[:2], height]) - retargeter.mapping.shoulder)
            / retargeter.mapping.scale
        )
        for height in (0.02, 0.25)
    )
    heights = []
    for k in range(300):
        person = with_noise(low if k < 200 else high, k)
        heights.append(robot.forward_kinematics(retargeter(person, k * dt).q)[2, 3])
    speed = np.gradient(heights, dt)
    near = np.array(heights) < 0.06
    assert near.any() and speed[near].min() > -0.13
    assert speed[~near].min() < -0.2 and speed[200:].max() > 0.2


@pytest.mark.parametrize("arm", ["ur5", "kuka_iiwa"])
def test_tool_points_where_the_hand_does_and_its_place_matters_more(arm):
    robot = load_robot(arm)
    retargeter = Retargeter(robot, RetargetConfig(tool="hand"))
    free = Retargeter(robot)
    for k, hand in enumerate(([1, 0.2, 0.1], [0.8, -0.4, -0.5])):
        person = person_landmarks([0.3, 0.2, -1], [1, 0.1, -0.2])
        for knuckle, side in ((17, 0.02), (19, -0.02)):
            person[knuckle, :3] = person[15, :3] + 0.09 * unit(hand) + [0, side, 0]
        result = follow_until_settled(retargeter, person, 10.0 * k)
        unaimed = follow_until_settled(free, person, 10.0 * k)
        assert result.target_distance < unaimed.target_distance + 1e-3
        R_base_person = retargeter.mapping.R_base_person
        axis = robot.forward_kinematics(result.q)[:3, 2]
        angle = np.degrees(np.arccos(axis @ R_base_person @ unit(hand)))
        assert angle < 20, angle
    person[[17, 19], 3] = 0.1  # hidden: the tool keeps its direction
    person[[17, 19], :3] = person[15, :3] - 0.09 * unit(hand)
    kept = follow_until_settled(retargeter, person, 16.0)
    assert axis @ robot.forward_kinematics(kept.q)[:3, 2] > 0.99
