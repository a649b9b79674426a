"""Benchmarks of hand-eye calibration and block detection, compared to OpenCV."""

import cv2
import numpy as np
import pytest
from benchmark_report import report_of

from invdyn_ros.benchmarks.block_detection import (
    INVDYN,
    OPENCV,
    OPENCV_SUBPIXEL,
    TRACKED,
    is_flipped,
)
from invdyn_ros.benchmarks.hand_eye import BOUND, OPENCV_METHODS
from invdyn_ros.cli.benchmark import main


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
