"""The arm holds with a reason while the person cannot be followed, and resumes afterwards."""

import numpy as np
from synthetic_person import (
    DT,
    each_arm,
    follow_until_settled,
    moving_arm_directions,
    person_landmarks,
    with_noise,
)

from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retargeting import Retargeter


@each_arm
def test_arm_holds_with_a_reason_and_resumes_afterwards(robot):
    retargeter = Retargeter(robot)
    good = person_landmarks(*moving_arm_directions(0.0))
    before = follow_until_settled(retargeter, good)
    hidden, broken = good.copy(), good.copy()
    hidden[15, 3] = 0.2
    broken[13, 0] = np.nan
    cases = [
        (None, 10.0, None, "no person"),
        (hidden, 10.1, None, "low visibility"),
        (broken, 10.2, None, "low visibility"),
        (good, 10.2, None, "repeated time"),
        (good, 10.15, None, "repeated time"),
        (good, 10.3, 11.0, "stale time"),
    ]
    for landmarks, t, now, reason in cases:
        result = retargeter(landmarks, t, now)
        assert result.hold_reason == reason
        assert not result.reachable
        assert np.isnan(result.hand_target).all()
        assert np.allclose(result.q, before.q, atol=1e-3)
    assert retargeter(with_noise(good, 1), 10.4, 10.45).hold_reason == "new person"
    after = follow_until_settled(retargeter, good, 10.45, 1.0)
    assert after.hold_reason is None
    assert np.allclose(after.q, before.q, atol=0.01)


def test_only_the_followed_arm_must_be_visible():
    robot = load_robot("ur5")
    landmarks = person_landmarks(*moving_arm_directions(0.0))
    landmarks[[14, 16], 3] = 0.0
    for side, reason in (("left", None), ("right", "low visibility")):
        retargeter = Retargeter(robot, RetargetConfig(side=side))
        assert follow_until_settled(retargeter, landmarks, seconds=1.0).hold_reason == reason


@each_arm
def test_moving_arm_brakes_within_limits_without_a_person(robot):
    retargeter = Retargeter(robot)
    person = person_landmarks(*moving_arm_directions(0.0))
    moving = follow_until_settled(retargeter, person, seconds=0.96)
    assert np.abs(moving.qd).max() > 0.1
    result = [moving] + [retargeter(None, 0.95 + i * DT) for i in range(20)]
    speed = np.array([r.qd for r in result])
    assert (np.abs(np.diff(speed, axis=0)) <= robot.acceleration * DT + 1e-9).all()
    assert (np.abs(speed[-1]) < 1e-9).all()


def test_restarted_source_is_followed_again():
    retargeter = Retargeter(load_robot("ur5"))
    last = follow_until_settled(
        retargeter, person_landmarks(*moving_arm_directions(0.0)), start=50.0
    )
    assert (
        retargeter(person_landmarks(*moving_arm_directions(0.0)), 0.0).hold_reason
        == "repeated time"
    )
    person = person_landmarks(*moving_arm_directions(0.0))
    again = follow_until_settled(retargeter, person, DT, 1.0)
    assert again.hold_reason is None
    assert np.allclose(again.q, last.q, atol=0.01)
