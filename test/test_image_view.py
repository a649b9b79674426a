"""Turned and mirrored images; the choice of one of several persons."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from synthetic_person import FORWARD

from invdyn_ros.perception.camera import CameraConfig, open_camera
from invdyn_ros.teleop.image_view import EMPTY_IMAGES, ImageView, UprightSearch, torso_roll
from invdyn_ros.teleop.person_selector import MEMORY_IMAGES, PersonSelector
from invdyn_ros.teleop.pose import PoseEstimator, PoseEstimatorConfig

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_pixels_of_a_view_are_found_in_the_source_image(is_mirrored, turns):
    view, image = ImageView(is_mirrored, turns), np.zeros((30, 50, 3), np.uint8)
    image[7, 41] = 255
    (y, x), *_ = np.argwhere(view.apply(image)[..., 0])
    np.testing.assert_allclose(view.to_source([[x + 0.5, y + 0.5]], 50, 30), [[41.5, 7.5]])


def rolled(angle):
    """Return landmarks of a person who is turned clockwise in the image."""
    c, s = np.cos(angle), np.sin(angle)
    world = FORWARD.copy()
    world[:, 1:3] = FORWARD[:, 1:3] @ np.array([[c, s], [-s, c]]).T
    return world


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_search_turns_the_image_until_the_person_is_upright(turns):
    search = UprightSearch()
    changes = 0
    for _ in range(40):
        angle = (turns - search.turns) * np.pi / 2
        assert np.cos(torso_roll(rolled(angle)) - angle) > 0.99
        changes += search.update(rolled(angle))
    assert search.turns == turns and changes == 1


def test_search_keeps_the_rotation_of_a_leaning_person_and_tries_others_without_one():
    search = UprightSearch()
    assert not any(search.update(rolled(0.9)) for _ in range(100))
    turns = [search.turns for _ in range(5 * EMPTY_IMAGES) if search.update(None)]
    assert turns == [1, 2, 3, 0, 1]


def persons(*places):
    """Return landmarks in the image (33, 2) of persons at places (x, size) [px]."""
    return [np.array([x, 200]) + size * FORWARD[:, 1:3] * [1, -1] for x, size in places]


def test_selector_starts_with_the_nearest_person_and_keeps_to_it():
    select = PersonSelector()
    assert select(persons((100, 80), (300, 120))) == 1
    for step in range(50):  # the other one comes nearer, in another order
        assert select(persons((300 - step, 120), (100, 80 + 3 * step))) == 0
    assert select(persons((100, 200))) == 0, "somebody else, whom the arm does not follow"
    assert select(persons((100, 200), (255, 120))) == 1
    for _ in range(MEMORY_IMAGES + 1):
        select(persons((100, 200)))
    assert select(persons((250, 120), (100, 200))) == 1


@pytest.mark.slow
@pytest.mark.skipif(not PERSON.exists(), reason="the recording person.mp4 is absent")
def test_turned_and_mirrored_images_give_the_landmarks_of_the_upright_ones():
    images = [f.image for f in islice(open_camera(CameraConfig(video=str(PERSON))), 60, 90)]
    results = []
    for config, change in (
        (PoseEstimatorConfig(), lambda image: image),
        (PoseEstimatorConfig(rotate="auto"), lambda image: np.rot90(image, 1)),
        (PoseEstimatorConfig(mirror=True), lambda image: image[:, ::-1]),
    ):
        with PoseEstimator(config) as estimator:
            results.append([estimator(np.ascontiguousarray(change(i))) for i in images])
    upright, turned, mirrored = results
    np.testing.assert_allclose(mirrored[-1].world, upright[-1].world, atol=1e-3)
    np.testing.assert_allclose(480 - mirrored[-1].image[:, 0], upright[-1].image[:, 0], atol=1)
    assert turned[-1] is not None
    np.testing.assert_allclose(turned[-1].world[:, :3], upright[-1].world[:, :3], atol=0.1)
    x, y = upright[-1].image[11]
    np.testing.assert_allclose(turned[-1].image[11], [y, 480 - x], atol=12)
