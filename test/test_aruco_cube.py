"""Corners of markers in synthetic images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from invdyn_ros.perception.aruco_cube import detect_markers, face_image


def test_corners_of_drawn_marker_are_accurate_to_a_tenth_of_a_pixel() -> None:
    canvas = np.full((400, 400), 255, np.uint8)
    canvas[100:220, 150:270] = face_image(7, 120)
    ids, corners = detect_markers(cv2.GaussianBlur(canvas, (0, 0), 0.8))
    low = np.array([150, 100]) + 0.1 * 120 - 0.5  # edges lie between pixel centres
    square = low + 96 * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    assert ids.tolist() == [7]
    np.testing.assert_allclose(corners[0], square, atol=0.1)


@pytest.mark.parametrize("side", [60, 120, 240])
def test_shaded_margin_in_front_of_bright_wall_is_not_part_of_the_marker(side: int) -> None:
    canvas = np.full((400, 400), 230, np.uint8)
    canvas[80 : 80 + side, 90 : 90 + side] = (0.65 * face_image(7, side)).astype(np.uint8)
    ids, corners = detect_markers(cv2.GaussianBlur(canvas, (0, 0), 0.8))
    low = np.array([90, 80]) + 0.1 * side - 0.5
    square = low + 0.8 * side * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    assert ids.tolist() == [7]
    np.testing.assert_allclose(corners[0], square, atol=0.15)
