"""Benchmarks of hand-eye calibration and block detection, compared to OpenCV."""

import cv2
import numpy as np
import pytest
from benchmark_report import report_of

from invdyn_ros.benchmarks.block_pose_evaluation import (
    INVDYN,
    OPENCV,
    OPENCV_SUBPIXEL,
    TRACKED,
    is_flipped,
)
from invdyn_ros.benchmarks.hand_eye import BOUND, OPENCV_METHODS
from invdyn_ros.benchmarks.photographed_blocks import (
    BLOCK_SIZE,
    LENSES,
    camera_lens,
    disc_kernel,
    line_kernel,
    photograph_blocks,
)
from invdyn_ros.cli.benchmark import main
from invdyn_ros.perception.aruco_cube import face_normals, marker_corners


@pytest.mark.slow
def test_hand_eye_error_is_near_the_bound_and_below_opencv(tmp_path):
    report = report_of(tmp_path, "hand_eye", "--trials", 20, "--images", 1)
    rendered = report["rows"][f"{INVDYN}, images"]
    assert rendered["mm p95"] < 1.0 and rendered["deg p95"] < 0.1
    # OpenCV 5 has none
    methods = [name for name, flag in OPENCV_METHODS.items() if hasattr(cv2, flag)]
    for mounting in ("eye_to_hand", "eye_in_hand"):
        ours, bound = (report["rows"][f"{name}, {mounting}"] for name in (INVDYN, BOUND))
        assert ours["mm p50"] < 1.0 and ours["deg p50"] < 0.1
        # medians of 20 trials vary by a quarter
        assert ours["mm p50"] < 1.5 * bound["mm p50"] and ours["deg p50"] < 1.5 * bound["deg p50"]
        for method in methods:
            ratio = report["ratio"][f"{INVDYN} to {method}, {mounting}"]
            assert max(ratio.values()) < 0.7


@pytest.mark.slow
def test_block_detection_error_is_below_opencv(tmp_path, capfd):
    plot = tmp_path / "new" / "errors.png"
    report = report_of(tmp_path, "block_detection", "--blocks", 24, "--frames", 2, "--plot", plot)
    rows = {
        name: report["rows"][f"{name}, all over 36 px"]
        for name in (INVDYN, OPENCV, OPENCV_SUBPIXEL)
    }
    ours = rows[INVDYN]
    assert ours["detected"] == 100 and ours["xy p95"] < 1.0 and ours["deg p95"] < 3.0
    assert ours["in 95%"] > 85 and "in 95%" not in rows[OPENCV]
    for peer in (OPENCV, OPENCV_SUBPIXEL):
        assert report["ratio"][f"{INVDYN} to {peer}, all over 36 px"]["deg p95"] < 1.0
    assert report["rows"][f"{TRACKED}, all over 20 px"]["n"] == 24
    assert cv2.imread(str(plot)).shape[0] > 300
    assert "flips high" in capfd.readouterr().out


def test_block_detection_is_measured_under_each_condition(tmp_path):
    options = "--blocks", 3, "--frames", 2, "--conditions", "k1 -0.38", "light 0.5"
    report = report_of(tmp_path, "block_detection", *options)
    for condition in ("k1 -0.38", "light 0.5"):
        assert report["rows"][f"{INVDYN}, {condition}"]["xy p95"] < 0.5
        assert report["rows"][f"{TRACKED}, {condition}"]["detected"] == 100
        assert report["ratio"][f"{INVDYN} to {OPENCV}, {condition}"]["xy p50"] < 1 / 3
    with pytest.raises(ValueError, match="'fog' is unknown; known are all, clear"):
        main(["block_detection", "--conditions", "fog"])


@pytest.mark.parametrize("name", LENSES)
def test_ray_of_each_pixel_is_projected_to_it(name):
    lens = camera_lens(name)
    pixels = np.stack(np.meshgrid(np.arange(0.0, 640, 13), np.arange(0.0, 480, 13)), axis=-1)
    np.testing.assert_allclose(lens.project(lens.undistort(pixels)), pixels, atol=2e-5)


def test_photographed_block_is_where_its_pose_says():
    """Bright faces with black markers, in front of the background of the same image without it."""
    for sample in photograph_blocks("clear", 3, seed=0):
        corners = marker_corners(BLOCK_SIZE) @ sample.T_camera_block[:3, :3].T
        normals = face_normals() @ sample.T_camera_block[:3, :3].T
        corners = corners + sample.T_camera_block[:3, 3]
        nearest = int(np.argmin(np.sum(normals * corners.mean(axis=1), axis=1)))
        outside = corners[nearest] + 0.1 * (corners[nearest] - corners[nearest].mean(axis=0))
        inside = corners[nearest] - 0.1 * (corners[nearest] - corners[nearest].mean(axis=0))
        white, black = (
            cv2.remap(
                sample.image[..., 0],
                *np.float32(sample.lens.project(points)).T,
                cv2.INTER_LINEAR,
            )
            for points in (outside, inside)
        )
        assert white.min() > black.max() + 30


@pytest.mark.parametrize("kernel", [disc_kernel(3.0), line_kernel(3.0, 0.4)])
def test_blur_has_its_standard_deviation(kernel):
    y, x = np.indices(kernel.shape) - np.array(kernel.shape)[:, None, None] // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    mean = np.array([(kernel * x).sum(), (kernel * y).sum()])
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    covariance = [[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)]
    largest = np.sqrt(np.linalg.eigvalsh(covariance)[-1])
    assert largest == pytest.approx(3.0, abs=0.1)


def test_pose_with_face_tilted_to_the_wrong_side_is_flipped():
    T_true = np.eye(4)
    T_true[:3, :3] = cv2.Rodrigues(np.array([np.pi - 0.3, 0.0, 0.0]))[0]
    T_true[:3, 3] = 0.0, 0.0, 1.0
    wrong, near = T_true.copy(), T_true.copy()
    wrong[:3, :3] = cv2.Rodrigues(np.array([np.pi + 0.28, 0.0, 0.0]))[0]
    near[:3, :3] = cv2.Rodrigues(np.array([np.pi - 0.5, 0.0, 0.0]))[0]
    assert is_flipped(wrong, T_true)
    assert not is_flipped(near, T_true) and not is_flipped(T_true, T_true)


def test_unknown_noise_is_refused_before_rendering():
    with pytest.raises(ValueError, match="noise is 'loud'"):
        main(["block_detection", "--noise", "loud"])
