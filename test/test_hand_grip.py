from pathlib import Path

import numpy as np
import pytest

from invdyn_ros.benchmarks.scripted_hand import scripted_hand
from invdyn_ros.perception.camera import CameraConfig, open_camera
from invdyn_ros.teleop.hand import HandEstimator, HandRegion, hand_region
from invdyn_ros.teleop.hand_grip import HandGrip, HandGripConfig, hand_shape
from invdyn_ros.teleop.pose import Landmarks, PoseEstimator

DATA = Path(__file__).parents[2] / "shared" / "data"
HAND, PERSON = DATA / "hands" / "hand.mp4", DATA / "teleop" / "person.mp4"
FRAME_RATE = 30.0
# seen by eye: the first frame in which the fingers touch the palm, or thumb and index finger each
# other, and the first one in which they do not; in between, the thumb touches each other finger,
# each finger bends alone, and the hand turns edge-on
CHANGES = {254: True, 281: False, 309: True, 334: False, 606: True}
HARD_PARTS = (range(5, 40), range(245, 340), range(372, 384), range(500, 530), range(600, 621))
MAX_DELAY = 0.15  # [s]
REGION = HandRegion(np.array([290.0, 110.0]), 100.0, np.array([297.0, 152.0]))
OPEN, FIST, PINCH = scripted_hand(), scripted_hand(fist=1), scripted_hand(pinch=1)


def grips(hands, grip=None, dt=0.03):
    grip = grip or HandGrip()
    return [grip.update(hand, k * dt) for k, hand in enumerate(hands)]


@pytest.mark.parametrize("closed", [FIST, PINCH], ids=["fist", "pinch"])
def test_pinch_or_fist_closes_and_open_hand_opens_after_a_second_image(closed):
    assert grips([OPEN, closed, closed, OPEN, OPEN]) == [False, False, True, True, False]


def test_single_wrong_image_and_lost_hand_change_nothing():
    assert grips([OPEN, FIST, OPEN, PINCH, None, FIST, OPEN]) == [False] * 7
    assert grips([FIST, FIST, None, None, OPEN, FIST])[1:] == [True] * 5


def test_shape_between_both_thresholds_keeps_the_grip():
    half = scripted_hand(pinch=0.58)
    shape, config = hand_shape(half), HandGripConfig()
    assert config.pinch_close < shape.pinch < config.pinch_open
    assert not any(grips([OPEN, *[half] * 5]))
    assert all(grips([PINCH, PINCH, *[half] * 5])[1:])


def test_grip_does_not_depend_on_size_place_and_orientation_of_the_hand():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for hand in (OPEN, FIST, PINCH):
        moved = 0.8 * hand @ rotation.T + rng.normal(size=3)
        np.testing.assert_allclose(hand_shape(moved), hand_shape(hand))


@pytest.mark.parametrize("bad", [np.full((21, 3), np.nan), np.zeros((21, 3))])
def test_landmarks_of_no_hand_keep_the_grip(bad):
    assert hand_shape(bad) is None
    assert grips([FIST, FIST, bad, bad])[-1]


def test_thresholds_of_closing_must_be_below_those_of_opening():
    with pytest.raises(ValueError, match=r"fist_close 2.0 is not below fist_open 1.3"):
        HandGripConfig(fist_close=2.0)


@pytest.mark.slow
@pytest.mark.skipif(not HAND.exists(), reason="the recording hand.mp4 is absent")
def test_every_closing_and_opening_of_the_recorded_hand_is_found_soon_and_no_other():
    """In images of the size that the camera node publishes, and in the parts that are hardest.

    Beside the changes, the thumb passes the index finger, touches others, and the hand turns.
    """
    grip, changes, closed = HandGrip(), {}, False
    with HandEstimator() as estimator:
        for frame in open_camera(CameraConfig(video=str(HAND), max_size=480)):
            k = frame.index
            if any(k in part for part in HARD_PARTS):
                hand = estimator(frame.image, REGION)
                if grip.update(None if hand is None else hand.world, k / FRAME_RATE) != closed:
                    closed = not closed
                    changes[k] = closed
    assert list(changes.values()) == list(CHANGES.values())
    delays = (np.array(list(changes)) - list(CHANGES)) / FRAME_RATE
    assert (np.abs(delays) <= MAX_DELAY).all(), delays


@pytest.mark.skipif(not PERSON.exists(), reason="the recording person.mp4 is absent")
def test_hand_is_found_at_the_wrist_of_the_followed_arm():
    frames = [frame.image for frame in open_camera(CameraConfig(video=str(PERSON)))][120:160:8]
    num_detected = 0
    with PoseEstimator() as pose, HandEstimator() as estimator:
        for image in frames:
            landmarks = pose(image)
            region = hand_region(landmarks, "left")
            hand = estimator(image, region)
            if hand is not None:
                num_detected += 1
                distance = np.linalg.norm(hand.image[0] - landmarks.image[15])
                assert distance < 0.6 * region.half_size
                assert hand_shape(hand.world) is not None
    assert num_detected >= 4


def test_hand_of_invisible_wrist_is_not_searched():
    world, image = np.zeros((33, 4)), np.random.default_rng(0).uniform(0, 480, (33, 2))
    world[:, :3] = np.random.default_rng(1).normal(size=(33, 3))
    world[:, 3] = 0.9
    assert hand_region(Landmarks(world, image), "left") is not None
    world[15, 3] = 0.1
    assert hand_region(Landmarks(world, image), "left") is None
    assert hand_region(Landmarks(world, image), "right") is not None
