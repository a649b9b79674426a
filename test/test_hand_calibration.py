"""Calibration of a person's arm by a gesture: reaching out once within five seconds."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from node_probe import START, STATES, UR5, state
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import Header
from synthetic_person import person_landmarks, unit, with_noise

from invdyn_ros.benchmarks.gestures import NOISE_STD, bent_arm
from invdyn_ros.nodes.messages import landmarks_to_cloud, to_stamp
from invdyn_ros.nodes.recordings import last_calibration
from invdyn_ros.nodes.retarget import RetargetNode
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.hand_calibration import CALIBRATING, HandCalibration
from invdyn_ros.teleop.retargeting import RetargetConfig, Retargeter

RATE = 20.0  # [Hz] of the images
PLACE = np.array([0.5, 0.1, -0.25])  # of the resting hand, in lengths of an arm
BUILDS = {"small": (0.26, 0.24), "usual": (0.3, 0.27), "tall": (0.36, 0.32), "huge": (0.43, 0.42)}


def arm_directions(hand):
    """Return unit directions (2, 3) of an arm whose hand is at a place in lengths of the arm."""
    joints = bent_arm(0.5499 * np.asarray(hand), np.array([-0.3, 0.3, -1.0]))
    return np.array([unit(bone) for bone in np.diff(joints, axis=0)])


def reaching(time, farthest=(0.98, 0.1, -0.05)):
    """Return the place of a hand that rests, reaches out after 1.5 s, and comes back."""
    s = np.clip(min(time - 1.5, 3.9 - time) / 0.8, 0, 1)
    return PLACE + (np.array(farthest) - PLACE) * s**3 * (10 - 15 * s + 6 * s**2)


def make_gesture(retargeter, bones, hand=reaching, noise=0.0, start=0.0, seconds=5.7):
    """Let a person make a gesture once the arm follows; return the results."""
    rng, results = np.random.default_rng(1), []
    for k in range(round(seconds * RATE)):
        time = k / RATE
        landmarks = person_landmarks(*arm_directions(hand(max(time - 0.5, 0.0))), lengths=bones)
        landmarks = with_noise(landmarks, k)
        landmarks[:, :3] += noise * NOISE_STD * rng.standard_normal((33, 3))
        results.append(retargeter(landmarks, start + time))
    return results


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0], ids=["near", "usual", "far"])
def test_scale_and_neutral_place_are_those_of_the_person(build, noise):
    bones = BUILDS[build]
    retargeter = Retargeter(UR5, RetargetConfig(calibrate=True))
    radius = 0.369  # of the sphere of all positions of the hand of this arm [m]
    assert retargeter.mapping.bones.sum() == pytest.approx(radius, abs=1e-3)
    results = make_gesture(retargeter, bones, noise=noise)
    truth = np.array(bones) / sum(bones) @ arm_directions(PLACE)
    calibration = retargeter.calibration
    assert calibration.length == pytest.approx(sum(bones), rel=0.03)
    np.testing.assert_allclose(calibration.neutral, truth, atol=0.03)
    # the neutral place is home, the stretched arm within the reach
    home = UR5.forward_kinematics(UR5.home)[:3, 3]
    np.testing.assert_allclose(retargeter.targets(arm_directions(PLACE))[0], home, atol=0.02)
    expected = HandCalibration(bones, tuple(truth))
    ideal = Retargeter(UR5, calibration=expected).mapping
    assert retargeter.mapping.scale == pytest.approx(ideal.scale, rel=0.04)
    holds = [r.hold_reason for r in results]
    # an arm of 0.85 m is at the limit of what counts as that of a person
    assert 85 <= holds.count(CALIBRATING) <= 5 * RATE + 3 and holds[-1] is None


def test_given_scale_is_kept_and_the_stretched_arm_is_within_reach_without_one():
    calibration = HandCalibration((0.3, 0.27), tuple(PLACE))
    given = Retargeter(UR5, RetargetConfig(scale=0.5), calibration=calibration).mapping
    assert given.scale == 0.5 and given.bones.sum() == pytest.approx(0.5 * 0.57)
    for arm in ("ur5", "ur5e", "dofbot"):
        robot = load_robot(arm)
        retargeter = Retargeter(robot, calibration=calibration)
        farthest = np.linalg.norm(
            retargeter.mapping.shoulder - retargeter.workspace.shoulder
        ) + sum(retargeter.mapping.bones)
        assert farthest == pytest.approx(0.8 * retargeter._reach, rel=1e-3)


BAD = {
    "seen in": lambda t: None if 1.0 < t < 4.0 else reaching(t),
    "stretched to": lambda t: reaching(t, (0.6, 0.1, -0.1)),
    "did not rest": lambda t: np.array([0.1, 0.05, -0.98]),  # it hangs down
}


@pytest.mark.parametrize("reason", BAD)
def test_gesture_that_was_not_seen_well_leaves_the_proportions_and_a_reason(reason):
    retargeter = Retargeter(UR5, RetargetConfig(calibrate=True))
    scale = retargeter.mapping.scale
    for k in range(120):
        hand = BAD[reason](max(k / RATE - 0.5, 0.0))
        person = None
        if hand is not None:
            person = with_noise(person_landmarks(*arm_directions(hand)), k)
        result = retargeter(person, k / RATE)
    assert retargeter.calibration is None and reason in retargeter.calibration_problem
    assert retargeter.mapping.scale == scale and result.hold_reason is None
    retargeter.note_engaged()
    make_gesture(retargeter, BUILDS["tall"], start=10.0)
    assert retargeter.calibration.length == pytest.approx(0.68, rel=0.02)
    retargeter.note_engaged()
    assert make_gesture(retargeter, BUILDS["tall"], start=20.0, seconds=2)[-1].hold_reason is None


def test_human_like_arm_is_not_calibrated():
    with pytest.raises(ValueError, match="calibrate is true; it must be false"):
        Retargeter(load_robot("kuka_iiwa"), RetargetConfig(calibrate=True))


def test_node_says_what_to_do_and_reports_the_calibration(start_node):
    probe = start_node(RetargetNode, [], lockstep=True, calibrate=True)
    node, states = probe.tested_node, probe.advertise(STATES, JointState)
    clouds = probe.advertise("/pose/landmarks", PointCloud2)
    states.publish(state(START))
    probe.wait_until(lambda: node.measured is not None)
    reasons = set()
    for k in range(1, round(6 * RATE)):
        stamp = START + round(k * 1e9 / RATE)
        person = person_landmarks(*arm_directions(reaching(max(k / RATE - 0.5, 0.0))))
        states.publish(state(stamp))
        header = Header(stamp=to_stamp(stamp))
        clouds.publish(landmarks_to_cloud(with_noise(person, k), header))
        probe.wait_until(
            lambda header=header: (
                node.last_target is not None and node.last_target.header.stamp == header.stamp
            )
        )
        reasons.add(node.hold_reason)
    assert {CALIBRATING, None} <= reasons
    values = [KeyValue(key=k, value=v) for k, v in node.diagnostic_values.items()]
    assert last_calibration([DiagnosticStatus(values=values)]) == node.retargeter.calibration


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"bones": [0.3], "neutral": "abc"}', '{"bones": 1, "neutral": 2}']
)
def test_foreign_text_is_no_calibration(text: str) -> None:
    with pytest.raises(ValueError):
        HandCalibration.from_json(text)
    calibration = HandCalibration((0.3, 0.25), (0.4, -0.1, 0.0))
    assert HandCalibration.from_json(calibration.to_json()) == calibration
