"""Retargeting: the arm follows the person's arm within its limits."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from synthetic_person import (
    DT,
    each_arm,
    follow_until_settled,
    moving_arm_directions,
    person_landmarks,
    unit,
)

from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.arm_geometry import human_like_arm
from invdyn_ros.teleop.hand_mapping import MOUNT_ROTATIONS
from invdyn_ros.teleop.retarget_config import RetargetConfig
from invdyn_ros.teleop.retarget_errors import retarget_errors
from invdyn_ros.teleop.retargeting import (
    HOLD_REASONS,
    UNREACHABLE_REASONS,
    Retargeter,
)

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"


def errors(robot, results):
    columns = ("q", "hand_target", "upper_arm_direction", "forearm_direction")
    return retarget_errors(robot, *(np.array([getattr(r, c) for r in results]) for c in columns))


@each_arm
def test_hand_of_static_person_is_reached_within_5_mm(robot):
    for t in np.arange(0, 12, 1.5):
        retargeter = Retargeter(robot)
        result = follow_until_settled(retargeter, person_landmarks(*moving_arm_directions(t)))
        assert result.reachable
        assert result.target_distance < 0.005
        error = errors(robot, [result])
        assert error.wrist.item() < 5.0
        if retargeter.human_like_arm:
            assert max(error.upper_arm.item(), error.forearm.item()) < 3.0


def test_iiwa_links_have_the_directions_of_the_arm_of_the_person():
    iiwa = load_robot("kuka_iiwa")
    for mount, R_base_person in MOUNT_ROTATIONS.items():
        upper, fore = unit([0.7, 0.2, 0.3]), unit([0.4, 0.5, 0.8])
        result = follow_until_settled(
            Retargeter(iiwa, RetargetConfig(mount=mount)), person_landmarks(upper, fore)
        )
        human = human_like_arm(iiwa)
        s, e, w = (iiwa.forward_kinematics(result.q, link)[:3, 3] for link in human[:3])
        assert np.degrees(np.arccos(unit(e - s) @ R_base_person @ upper)) < 3.0
        assert np.degrees(np.arccos(unit(w - e) @ R_base_person @ fore)) < 3.0


@pytest.mark.parametrize("side", ["left", "right"])
def test_hand_moves_in_the_direction_of_the_hand_of_the_person(side):
    robot = load_robot("ur5")
    retargeter = Retargeter(robot, RetargetConfig(side=side))
    upper, fore = unit([0.6, 0.0, -0.8]), unit([1.0, 0.0, 0.0])
    middle = follow_until_settled(retargeter, person_landmarks(upper, fore)).hand_target
    for axis in range(3):
        moved = follow_until_settled(
            retargeter, person_landmarks(upper, fore + 0.5 * np.eye(3)[axis] + [-0.2, 0, 0]), 100.0
        )
        if axis:
            assert (moved.hand_target - middle)[axis] > 0.03
        retargeter.reset()


@each_arm
def test_result_is_invariant_to_bone_lengths_position_and_heading(robot):
    upper, fore = moving_arm_directions(1.0)
    plain = follow_until_settled(Retargeter(robot), person_landmarks(upper, fore))
    for change in (
        {"lengths": (0.22, 0.35)},
        {"offset": (0.4, -0.2, 0.1)},
        {"yaw": 0.7},
        {"yaw": -2.5},
    ):
        other = follow_until_settled(Retargeter(robot), person_landmarks(upper, fore, **change))
        assert np.allclose(other.hand_target, plain.hand_target, atol=1e-6), change
        assert np.allclose(other.q, plain.q, atol=1e-6), change


@each_arm
def test_arm_follows_a_slow_hand_within_limits(robot):
    retargeter = Retargeter(robot)
    follow_until_settled(retargeter, person_landmarks(*moving_arm_directions(0.0)))
    results = [
        retargeter(person_landmarks(*moving_arm_directions(i * DT, 0.25)), 10 + i * DT)
        for i in range(300)
    ]
    q = np.array([r.q for r in results])
    speed = np.diff(q, axis=0) / DT
    assert (np.abs(speed) <= robot.velocity).all()
    assert (np.abs(np.diff(speed, axis=0)) / DT <= robot.acceleration * (1 + 1e-6)).all()
    assert np.allclose(np.array([r.qd for r in results])[1:], speed)
    error = errors(robot, results)
    assert all(r.reachable for r in results)
    assert np.percentile(error.wrist, 95) < 5.0
    if retargeter.human_like_arm:
        assert max(np.percentile(error.upper_arm, 95), np.percentile(error.forearm, 95)) < 3.0


@each_arm
def test_targets_are_no_faster_than_an_arm_that_uses_a_fraction_of_its_speed(robot):
    retargeter = Retargeter(robot, RetargetConfig(speed=0.2))
    results = [
        retargeter(person_landmarks(*moving_arm_directions(i * DT)), i * DT) for i in range(150)
    ]
    speed = np.abs([r.qd for r in results]) / robot.velocity
    assert 0.1 < speed.max() <= 0.2


@each_arm
def test_limits_hold_for_random_landmarks(robot):
    """Random directions, much faster than the arm, with gaps and low visibility."""
    rng = np.random.default_rng(2)
    retargeter, t, last = Retargeter(robot), 0.0, None
    for _ in range(150):
        dt = rng.uniform(0.02, 0.12)
        t += dt
        upper, fore = (unit(v) for v in rng.normal(size=(2, 3)))
        landmarks = (
            None
            if rng.random() < 0.1
            else person_landmarks(upper, fore, visibility=rng.uniform(0.4, 1))
        )
        result = retargeter(landmarks, t)
        assert (result.q >= robot.lower).all()
        assert (result.q <= robot.upper).all()
        assert (np.abs(result.qd) <= robot.velocity).all()
        if last is not None:
            step = np.abs(result.q - last.q)
            assert (step <= robot.velocity * dt + 1e-9).all()
            assert (np.abs(result.qd - last.qd) <= robot.acceleration * dt + 1e-9).all()
        assert result.hold_reason is None or result.hold_reason in HOLD_REASONS
        assert (
            result.unreachable_reason is None or result.unreachable_reason in UNREACHABLE_REASONS
        )
        last = result


def test_unreachable_hand_has_a_reason_and_stays_above_the_base():
    robot = load_robot("ur5")
    scaled = Retargeter(robot, RetargetConfig(scale=2.5))
    down = follow_until_settled(scaled, person_landmarks([0, 0, -1], [0, 0, -1]))
    assert down.unreachable_reason == "below the base"
    assert down.hand_target[2] < 0
    assert robot.forward_kinematics(down.q)[2, 3] > 0.04
    distant = follow_until_settled(scaled, person_landmarks([1, 0, 0.2], [1, 0, 0.2]), 100.0)
    assert distant.unreachable_reason == "out of reach"
    behind = follow_until_settled(
        Retargeter(robot), person_landmarks([-0.9, 0, -0.5], [-0.6, 0, -0.5])
    )
    assert behind.unreachable_reason == "inside the base"


def test_lowered_arm_is_unreachable_for_upright_iiwa():
    iiwa = load_robot("kuka_iiwa")
    hanging = person_landmarks([0, 0.1, -1], [0.3, 0, -1])
    assert follow_until_settled(Retargeter(iiwa), hanging).reachable
    assert follow_until_settled(
        Retargeter(iiwa, RetargetConfig(mount="table")), hanging
    ).unreachable_reason


@each_arm
def test_same_landmarks_give_the_same_motion(robot):
    runs = [
        [retargeter(person_landmarks(*moving_arm_directions(i * DT)), i * DT).q for i in range(40)]
        for retargeter in (Retargeter(robot), Retargeter(robot))
    ]
    assert np.array_equal(*runs)


def test_landmarks_of_another_shape_are_refused():
    with pytest.raises(
        ValueError, match=r"expected landmarks \(33, 4\) or \(33, 6\), got \(17, 3\)"
    ):
        Retargeter(load_robot("ur5"))(np.zeros((17, 3)), 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"side": "both"}, "side is 'both'; it must be 'left' or 'right'"),
        ({"mount": "ceiling"}, "mount is 'ceiling'; it must be 'auto', 'table' or 'wall'"),
        ({"upper_arm": 0.0}, "upper_arm is 0.0"),
        ({"velocity_fraction": 1.2}, "velocity_fraction is 1.2"),
        ({"min_visibility": -0.1}, "min_visibility is -0.1"),
        ({"scale": -1.0}, "scale is -1.0"),
        ({"depth_noise": 0.0}, "depth_noise is 0.0"),
        ({"prediction": 0.5}, "prediction is 0.5"),
    ],
)
def test_invalid_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Retargeter(load_robot("ur5"), RetargetConfig(**fields))


def test_scale_of_human_like_arm_is_refused():
    iiwa = load_robot("kuka_iiwa")
    with pytest.raises(ValueError, match="it must be 0, because the link lengths"):
        Retargeter(iiwa, RetargetConfig(scale=1.0))


def test_defaults_are_ros_parameter_types():
    for field in dataclasses.fields(RetargetConfig):
        assert isinstance(getattr(RetargetConfig(), field.name), (str, float, bool))


@pytest.fixture(scope="module")
def recorded_landmarks():
    """Return landmarks and times of the recorded person."""
    from invdyn_ros.perception.camera import CameraConfig, open_camera
    from invdyn_ros.teleop.pose import PoseEstimator

    with PoseEstimator() as estimator:
        frames = list(open_camera(CameraConfig(video=str(PERSON), rate=10.0)))
        detected = [estimator(frame.image) for frame in frames]
    return [
        (p and p.with_image_position(len(f.image)), f.time)
        for p, f in zip(detected, frames, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.skipif(not PERSON.exists(), reason="the recording person.mp4 is absent")
@pytest.mark.parametrize("side", ["left", "right"])
@each_arm
def test_arm_follows_the_recorded_person(robot, side, recorded_landmarks):
    retargeter = Retargeter(robot, RetargetConfig(side=side))
    results = [retargeter(landmarks, time) for landmarks, time in recorded_landmarks]
    active = [r for r in results if r.hold_reason is None]
    assert len(active) > 0.8 * len(results)
    assert np.mean([r.reachable for r in active]) > 0.9
    on_target = [r for r in active if r.target_distance < 0.005]
    assert errors(robot, on_target).wrist.max() < 5.0


def test_relative_mode_starts_where_tool_and_hand_are_and_moves_alike():
    robot = load_robot("ur5")
    upper, fore = unit([0.6, 0.0, -0.8]), unit([1.0, 0.0, 0.0])
    moved, moves = person_landmarks(upper, fore + np.array([0.0, 0.0, 0.3])), []
    for mode in ("absolute", "relative"):
        retargeter = Retargeter(robot, RetargetConfig(mode=mode))
        first = follow_until_settled(retargeter, person_landmarks(upper, fore))
        second = follow_until_settled(retargeter, moved, 6.0)
        moves.append(second.hand_target - first.hand_target)
    assert np.linalg.norm(moves[0]) > 0.03
    np.testing.assert_allclose(moves[1], moves[0], atol=2e-3)
    tip = robot.forward_kinematics(robot.home)[:3, 3]
    np.testing.assert_allclose(first.hand_target, tip, atol=2e-3)
    retargeter.note_engaged()  # the hand is elsewhere, the tool stays
    again = follow_until_settled(retargeter, person_landmarks(upper, fore), 12.0)
    np.testing.assert_allclose(again.hand_target, second.hand_target, atol=0.01)
    with pytest.raises(ValueError, match="must be 'absolute' for the human-like arm"):
        Retargeter(load_robot("kuka_iiwa"), RetargetConfig(mode="relative"))
