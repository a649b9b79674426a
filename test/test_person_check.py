"""Only a plausible person is followed: no parts of bodies, hands, or other persons."""

from __future__ import annotations

from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_person import DT, moving_arm_directions, person_landmarks, with_noise

from invdyn_ros.perception.camera import CameraConfig, open_camera
from invdyn_ros.teleop.person_check import CONFIRMATION_TIME, PERSON_HOLD_REASONS, PersonCheck
from invdyn_ros.teleop.pose import PoseEstimator

DATA = Path(__file__).parents[2] / "shared" / "data"
PERSON, HAND = DATA / "teleop" / "person.mp4", DATA / "hands" / "hand.mp4"
needs_clips = pytest.mark.skipif(not PERSON.exists(), reason="the recordings are absent")
BAD = {
    "no person": None,
    "low visibility": ([15], 3, 0.1),
    "torso not seen": ([23, 24], 3, 0.1),
    "implausible person": ([11, 13, 15], 0, 0.8),  # shoulders of 0.9 m
}


@cache
def video(path, start, stop):
    """Return the images of a part of a video."""
    return [f.image for f in islice(open_camera(CameraConfig(video=str(path))), start, stop)]


def seated():
    """Return the images of the seated person."""
    return video(PERSON, 60, 100)


@pytest.fixture(scope="module")
def estimate():
    """Return a function that returns the landmarks of images."""
    with PoseEstimator() as estimator:

        def landmarks(images):
            estimator(np.full_like(images[0], 90))  # ends the tracking of another clip's person
            detected = [estimator(np.ascontiguousarray(image)) for image in images]
            return [
                p and p.with_image_position(len(i)) for p, i in zip(detected, images, strict=True)
            ]

        yield landmarks


def zoom(image, x, y, width, height):
    """Return a part of an image, as large as a webcam's."""
    return cv2.resize(image[y : y + height, x : x + width], (480, 480 * height // width))


def beside(image, shift):
    """Return an image with the person moved to the side [px]."""
    return cv2.warpAffine(
        image, np.float32([[1, 0, shift], [0, 1, 0]]), image.shape[1::-1], borderMode=1
    )


def reasons(landmarks, dt, side="left"):
    """Return the hold reason of each image."""
    check = PersonCheck(side, 0.5, 0.3)
    return [check.update(points, i * dt) for i, points in enumerate(landmarks)]


def person(k, position=(0.0, 0.0), scale=0.4, **changes):
    """Return landmarks (33, 6) of a synthetic person who moves an arm, in image k."""
    world = with_noise(person_landmarks(*moving_arm_directions(k * DT), **changes), k)
    return np.hstack([world, position + scale * world[:, 1:3] * [1, -1]])


def confirmed_check():
    """Return a check that follows, and the time and number of the next image."""
    check, k = PersonCheck("left", 0.5, 0.3), 0
    while check.update(person(k), k * DT) is not None:
        k += 1
    return check, k + 1


def test_person_is_followed_after_the_confirmation_time():
    check = PersonCheck("left", 0.5, 0.3)
    followed = [check.update(person(k), k * DT) for k in range(30)]
    first = followed.index(None)
    assert first * DT == pytest.approx(CONFIRMATION_TIME)
    assert set(followed[:first]) == {"new person"} and not any(followed[first:])


@pytest.mark.parametrize("reason", BAD)
def test_bad_landmarks_are_never_followed_and_a_short_gap_does_not_end_following(reason):
    def spoil(landmarks):
        if BAD[reason] is None:
            return None
        rows, column, value = BAD[reason]
        landmarks[rows, column] = landmarks[rows, column] * (column < 3) + value
        return landmarks

    check = PersonCheck("left", 0.5, 0.3)
    assert {check.update(spoil(person(k)), k * DT) for k in range(40)} == {reason}
    check, k = confirmed_check()
    for _ in range(3):  # hips out of the image, once seen, do not matter
        expected = None if reason == "torso not seen" else reason
        assert check.update(spoil(person(k)), k * DT) == expected
        k += 1
    assert check.update(person(k), k * DT) is None


@pytest.mark.parametrize(
    "other",
    [
        {"position": (0.3, 0.0)},
        {"scale": 0.55},
        {"yaw": np.pi},
    ],
    ids=["elsewhere", "nearer", "turned round"],
)
def test_another_person_is_not_followed_and_the_operator_is_again(other):
    check, k = confirmed_check()
    assert check.update(person(k, **other), k * DT) == "another person"
    times = [check.update(person(j, **other), j * DT) for j in range(k + 1, k + 40)]
    if "yaw" not in other:  # who turns round is the same
        assert set(times) == {"not the operator"}
    back = [check.update(person(j), j * DT) for j in range(k + 40, k + 60)]
    assert back[0] == "another person" and back[-1] is None
    assert back.index(None) * DT >= CONFIRMATION_TIME - 1e-9


def test_another_person_is_followed_once_the_operator_is_forgotten():
    check, k = confirmed_check()
    check.operator.reset()
    reasons = [check.update(person(j, position=(0.6, 0.0)), j * DT) for j in range(k, k + 20)]
    assert reasons[-1] is None


def test_operator_who_walks_away_slowly_is_recognised_there_and_at_the_usual_place():
    check, k = confirmed_check()
    for j in range(k, k + 200):
        assert check.update(person(j), j * DT) is None
    for j in range(k + 200, k + 230):  # to the edge of the image
        assert check.update(person(j, position=(0.01 * (j - k - 200), 0)), j * DT) is None
    for x in (0.29, 0.0):
        start = k + 230 + (10 if x else 40)
        for j in range(start - 10, start):
            assert check.update(None, j * DT) == "no person"
        reasons = [
            check.update(person(j, position=(x, 0)), j * DT) for j in range(start, start + 20)
        ]
        assert reasons[-1] is None, x


def test_person_who_was_away_is_a_new_one_whose_torso_must_be_seen():
    check, k = confirmed_check()
    for _ in range(8):
        assert check.update(None, k * DT) == "no person"
        k += 1
    hidden = person(k)
    hidden[[23, 24], 3] = 0.0
    assert check.update(hidden, k * DT) == "torso not seen"
    assert check.update(person(k + 1), (k + 1) * DT) == "new person"


def test_frozen_landmarks_are_noticed_within_a_quarter_of_a_second():
    check, k = confirmed_check()
    frozen = person(k)
    detected = [check.update(frozen, (k + i) * DT) for i in range(10)]
    assert detected.index("landmarks frozen") * DT <= 0.25
    assert set(detected[detected.index("landmarks frozen") :]) == {"landmarks frozen"}


def test_persons_of_all_sizes_are_followed():
    for size in (0.75, 1.0, 1.2):
        check = PersonCheck("right", 0.5, 0.3)
        for k in range(20):
            landmarks = person(k)
            landmarks[:, :3] *= size
            reason = check.update(landmarks, k * DT)
        assert reason is None, size


def test_any_array_of_numbers_is_judged():
    rng = np.random.default_rng(0)
    check = PersonCheck("left", 0.5, 0.3)
    for k in range(300):
        landmarks = rng.normal(0, 10.0 ** rng.uniform(-3, 3), (33, 6))
        landmarks[rng.random((33, 6)) < 0.02] = rng.choice([np.nan, np.inf, -np.inf, 0.0])
        assert check.update(landmarks, k * DT) in PERSON_HOLD_REASONS


@needs_clips
@pytest.mark.parametrize(
    "change",
    [
        lambda image: image[:, ::-1],
        lambda image: (0.3 * image).astype(np.uint8),
        lambda image: cv2.warpAffine(
            image,
            cv2.getRotationMatrix2D((240, 240), 20, 0.7),
            (480, 480),
            borderValue=(90, 90, 90),
        ),
    ],
    ids=["mirrored", "dark", "tilted and small"],
)
def test_recorded_person_is_followed_in_any_view(change, estimate):
    detected = reasons(estimate([change(image) for image in seated()[::3]]), 0.15)
    assert detected[:4] == ["new person"] * 4 and not any(detected[4:])


@needs_clips
@pytest.mark.parametrize(
    "images",
    [
        lambda: video(HAND, 0, 80)[::7],
        lambda: [zoom(image, 180, 38, 180, 135) for image in video(HAND, 0, 80)[::7]],
        lambda: [zoom(image, 120, 200, 100, 87) for image in seated()[::4]],
        lambda: [zoom(image, 107, 107, 160, 120) for image in seated()[::4]],
        lambda: [zoom(image, 160, 107, 67, 50) for image in seated()[::4]],
        lambda: [zoom(image, 100, 280, 180, 200) for image in seated()[::4]],
        lambda: [zoom(image, 293, 167, 187, 187) for image in seated()[::8]],
        lambda: [image[::-1] for image in seated()[::4]],
    ],
    ids=["hand", "hand near", "forearm", "bust", "face", "legs", "chairs", "upside down"],
)
def test_parts_of_a_person_and_things_are_not_followed(images, estimate):
    landmarks = estimate(images())
    assert all(reasons(landmarks, 0.1, "left")) and all(reasons(landmarks, 0.1, "right"))


@needs_clips
def test_person_who_leaves_is_followed_again_after_a_hold_but_not_elsewhere(estimate):
    here = estimate(seated()[:30])
    detected = reasons([*here[:14], *[None] * 8, *here[14:]], 0.05)
    assert detected[10:14] == [None] * 4 and detected[14:22] == ["no person"] * 8
    assert detected[22:32] == ["new person"] * 10 and detected[-1] is None
    images = seated()[:14] + [beside(image, 120) for image in seated()[14:36]]
    detected = reasons(estimate(images), 0.05)
    changed = detected.index("another person")
    assert changed < 20 and None not in detected[changed:]
    assert detected[-1] == "not the operator"
