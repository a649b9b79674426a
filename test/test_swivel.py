"""The elbow of a redundant arm turns to the side of the person's, and costs the hand nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pybullet_data
import pytest
from synthetic_person import DT, person_landmarks, unit, with_noise

from invdyn_ros.robots.ik_tasks import SwivelTask
from invdyn_ros.robots.inverse_kinematics import PositionIKSolver
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.arm_directions import ArmDirections
from invdyn_ros.teleop.arm_geometry import human_like_arm
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter
from invdyn_ros.teleop.swivel import swivel_error, swivel_links

UPPER, FORE = 0.29, 0.26  # [m]
HAND = np.array([0.35, 0.0, -0.1])  # [m] from the shoulder
STRAIGHT = person_landmarks([0.95, 0.0, -0.3], [0.95, 0.0, -0.3])


@pytest.fixture(scope="module")
def panda(tmp_path_factory):
    urdf = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
    file = tmp_path_factory.mktemp("panda") / "panda.yaml"
    file.write_text(f"urdf: {urdf}\n")
    return load_robot(str(file))


def person_with_elbow(side, hand=HAND):
    """Landmarks of a person with a hand (3,) from the shoulder [m], the elbow on a side (3,)."""
    distance, along = np.linalg.norm(hand), unit(hand)
    middle = (UPPER**2 + distance**2 - FORE**2) / (2 * distance)
    off = unit(side - along * (along @ side))
    elbow = middle * along + np.sqrt(UPPER**2 - middle**2) * off
    return person_landmarks(elbow, hand - elbow)


def follow(retargeter, landmarks, start, seconds=6.0):
    """Return the results of repeated landmarks."""
    times = start + np.arange(0, seconds, DT)
    return [retargeter(with_noise(landmarks, k), t) for k, t in enumerate(times)]


def swivel_angle(retargeter, q, landmarks):
    """Return the angle between the elbows of arm and person [deg]."""
    robot = retargeter.robot
    links = swivel_links(robot, retargeter.links[-1], retargeter.human_like_arm)
    person = ArmDirections("left", 0.3, None).update(landmarks, DT, 0.5)
    return np.degrees(swivel_error(robot, links, retargeter.mapping, person, q))


@pytest.mark.parametrize("mount", ["table", "wall"])
def test_elbow_turns_to_the_side_of_the_person_and_the_hand_stays(panda, mount):
    person = person_with_elbow([0.0, 1.0, 0.0])  # to the left
    angles, distances = [], []
    for elbow in (False, True):
        retargeter = Retargeter(panda, RetargetConfig(mount=mount, elbow=elbow))
        results = follow(retargeter, person, 0.0, 8.0)
        angles.append(swivel_angle(retargeter, results[-1].q, person))
        distances.append([r.target_distance for r in results[-60:]])
        speed = np.diff([r.q for r in results], axis=0) / DT
        assert (np.abs(speed) <= panda.velocity).all()
        change = np.diff(speed, axis=0) / DT
        assert (np.abs(change) <= panda.acceleration * (1 + 1e-6)).all()
    assert angles[0] > 60
    assert angles[1] < 10
    assert max(distances[1]) < max(*distances[0], 0.001)


def test_elbow_that_is_lost_returns_to_where_it_is_at_home_without_a_jump(panda):
    """A straight arm has no side of its elbow; the joints of the shoulder may be flipped."""
    elbow = swivel_links(panda, panda.tip_link).elbow
    places, lasting = [], []
    for option in (False, True):
        retargeter = Retargeter(panda, RetargetConfig(elbow=option))
        turned = follow(retargeter, person_with_elbow([0.0, 1.0, 0.0]), 0.0, 8.0)
        results = follow(retargeter, STRAIGHT, 8.0, 8.0)
        path = np.array([r.q for r in turned[-2:] + results])
        assert (np.abs(np.diff(path, axis=0)) <= panda.velocity * DT).all()
        acceleration = np.diff(path, n=2, axis=0) / DT**2
        assert (np.abs(acceleration) <= panda.acceleration * (1 + 1e-6)).all()
        ends = (turned[-1].q, results[-1].q)
        places.append([panda.forward_kinematics(q, elbow)[:3, 3] for q in ends])
        lasting.append(results[-1].target_distance)
    away, back = np.linalg.norm(np.subtract(*places), axis=1)
    assert away > 0.3
    assert back < 0.3 * away
    assert lasting[1] < max(lasting[0], 0.001)


def test_elbow_of_a_hidden_person_does_not_move(panda):
    retargeter = Retargeter(panda, RetargetConfig(elbow=True))
    person = person_with_elbow([0.0, 1.0, 0.0])
    follow(retargeter, person, 0.0, 2.0)
    person[13, 3] = 0.2
    held = follow(retargeter, person, 2.0, 2.0)
    assert held[-1].hold_reason and not held[-1].qd.any()


def test_elbow_is_found_by_kinematics(panda):
    iiwa = load_robot("kuka_iiwa")
    links = human_like_arm(iiwa)
    derived = swivel_links(iiwa, links.wrist)
    assert derived.shoulder == links.shoulder
    at = [iiwa.forward_kinematics(iiwa.home, n)[:3, 3] for n in (links.elbow, derived.elbow)]
    assert np.linalg.norm(at[0] - at[1]) < 0.25 * links.upper_arm + links.upper_arm / 2
    assert swivel_links(panda, panda.tip_link).elbow in ("panda_link3", "panda_link4")


def test_jacobian_of_the_swivel_is_its_derivative_where_the_hand_stays(panda):
    links = swivel_links(panda, panda.tip_link)
    task = SwivelTask(panda.model(), *links)
    configuration = PositionIKSolver(panda, (panda.tip_link,), 1.0, 0.0).configuration
    q = panda.home + 0.1
    configuration.update(q)
    line, offset, _ = task._elbow(configuration)
    task.direction = unit(unit(offset) + 0.2 * np.cross(line, unit(offset)))
    jacobian = task.compute_jacobian(configuration).copy()
    hand = np.zeros((3, panda.n))
    for k, step in enumerate(1e-6 * np.eye(panda.n)):
        ends = [panda.forward_kinematics(q + s * step)[:3, 3] for s in (1, -1)]
        hand[:, k] = (ends[0] - ends[1]) / 2e-6
    free = np.linalg.svd(hand)[2][3:]  # (4, n) motions of the joints with the hand at rest
    for motion in free:
        values = []
        for sign in (1, -1):
            configuration.update(q + sign * 1e-6 * motion)
            radius, angle = task.swivel(configuration)
            values.append(angle)
        expected = radius * (values[0] - values[1]) / 2e-6
        assert (jacobian @ motion).item() == pytest.approx(expected, abs=1e-5)


def test_arm_of_six_joints_has_none_to_spare_for_its_elbow():
    with pytest.raises(
        ValueError, match=r"elbow is true; it must be false for 'ur5', which has 6"
    ):
        Retargeter(load_robot("ur5"), RetargetConfig(elbow=True))


def test_option_changes_nothing_for_an_arm_like_that_of_a_person():
    iiwa, person = load_robot("kuka_iiwa"), person_with_elbow([0.0, 0.5, -1.0])
    paths = [
        [r.q for r in follow(Retargeter(iiwa, RetargetConfig(elbow=elbow)), person, 0.0, 2.0)]
        for elbow in (False, True)
    ]
    assert np.array_equal(*paths)
